"""Model card: what an exported model is, in Markdown, from its run and checkpoint alone."""
