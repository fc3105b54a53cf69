"""Layers by name: activations, normalizations and initializers. Pure torch."""
