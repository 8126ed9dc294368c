"""Files, leaves and checkpoints: what outlives a process."""
