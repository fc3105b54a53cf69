"""Numbers about predictions: accuracy and its interval, confusion, calibration, baselines."""
