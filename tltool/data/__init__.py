"""Datamodules, datasets, transforms, samplers: where the photos come from."""
