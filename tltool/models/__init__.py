"""Backbones and heads as plain modules."""
