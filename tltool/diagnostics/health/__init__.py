"""Health of a network while it trains: dead units, saturation, gradients, updates, alarms."""
