"""Drawing negatives to train an energy with, and choosing actions by a trained one."""
