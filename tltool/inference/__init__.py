"""A trained checkpoint at work: predictions as tables and from Python."""
