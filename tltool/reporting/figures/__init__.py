"""Figures: one palette, one function for each picture, drawn from plain data."""
