"""What a lecture claims about training networks, as experiments: run, drawn and judged."""
