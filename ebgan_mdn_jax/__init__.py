"""Imitation learning when one observation has several valid actions.

Layers, lowest first; no module imports from a layer above it::

    types, normalization, collectives < mixture, networks < losses < samplers < methods < training
    types, mixture < evaluation < tasks < data

Importing the package touches no device and needs neither TensorFlow Datasets nor matplotlib.
"""

__version__ = "0.1.0"
