"""Kinematics of robot arms in pure JAX: where the tip is, and which joint angles bring it there."""
