"""Training on several ranks: agreement between them, and sharded weights."""
