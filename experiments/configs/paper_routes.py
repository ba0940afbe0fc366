"""The EBGAN-MDN paper's comparison on routes around an obstacle, judged by rollouts.

Command:  python -m experiments.sweep --config=paper_routes
Seeds:    16 (0 to 15)
Settings: `base.paper_comparison`: K = 10, N = 32, R = 2, 6,100 steps
Expected: the paper reports 75.4 % success on a planning task that it does not name.
Run time: about 75 minutes on one CPU core of two, the other more than busy; half of it is IBC's search.
"""

from experiments.configs.base import paper_comparison

RUNS = paper_comparison("multi_route")
