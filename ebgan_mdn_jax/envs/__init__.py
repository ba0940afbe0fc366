"""Environments to act in: pure functions of states, so that rollouts are scanned, vectorised and compiled."""
