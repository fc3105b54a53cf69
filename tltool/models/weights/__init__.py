"""Pretrained weights: files, installed packages, the hub, and what this machine has of them."""
