"""Weights & Biases: logging of a run, the workspace of its project, and saved reports."""
