"""Drivers, configs and published results."""
