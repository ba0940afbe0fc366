"""Training many members at once: members (seeds x hyperparameters), the scanned loop, devices, checkpoints."""
