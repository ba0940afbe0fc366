"""x

Command:  python -m experiments.sweep --config=pedestrians
Seeds: Expected: Run time:
"""

RUNS = ()
