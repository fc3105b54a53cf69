"""Checks before training, the health of a network while it trains, and advice: pure torch."""
