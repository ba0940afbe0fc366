"""Drawing negatives to train an energy with, choosing actions by a trained one, and going from noise to actions."""
