"""Fine-tuning: which parameters train, when, and with which learning rate."""
