"""Lightning callbacks: fine-tuning phases, feature caching, health, checkpoints, progress."""
