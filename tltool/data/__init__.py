"""Datamodules, datasets, transforms and loaders: where the images come from."""
