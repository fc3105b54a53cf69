"""Training with Lightning: the task, its callbacks, checkpoints and run directories."""
