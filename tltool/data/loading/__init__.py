"""Loading: datasets, samplers and loaders that give batches."""
