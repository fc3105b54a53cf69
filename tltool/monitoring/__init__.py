"""What the activations, gradients and updates of a network do while it trains."""
