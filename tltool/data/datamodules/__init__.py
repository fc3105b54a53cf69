"""Datamodules: what images and labels there are, and how they are split."""
