"""Inference: one predictor for everything that predicts, and tables of predictions."""
