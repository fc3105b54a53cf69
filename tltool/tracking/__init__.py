"""Where results go: the run folder, checkpoints, loggers, the report."""
