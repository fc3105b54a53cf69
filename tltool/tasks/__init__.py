"""LightningModules: what is learned from a batch."""
