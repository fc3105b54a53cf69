"""Advice before training: which backbone, which fine-tuning strategy, which learning rate."""
