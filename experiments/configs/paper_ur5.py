"""The EBGAN-MDN paper's comparison on inverse kinematics of a UR5, from the tool's position.

Command:  python -m experiments.sweep --config=paper_ur5
Seeds:    16 (0 to 15)
Settings: `base.paper_comparison`: K = 8, the solutions of a target, N = 64, R = 5, 9,925 steps. The paper's own settings are not known.
Expected: no published number.
Run time: about 140 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import paper_comparison

RUNS = paper_comparison("ur5")
