"""Transforms: from a decoded image to the tensor that a backbone expects."""
