"""Training: batches, loop, checkpoints, tracking."""
