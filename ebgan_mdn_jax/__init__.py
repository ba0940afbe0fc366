"""Imitation learning when one observation has several valid actions.

Importing the package touches no device and needs neither TensorFlow Datasets nor matplotlib.
"""

__version__ = "0.1.0"
