"""The EBGAN-MDN paper's comparison on inverse kinematics of a two-link arm, with analytic labels.

Command:  python -m experiments.sweep --config=paper_two_link
Seeds:    16 (0 to 15)
Settings: `base.paper_comparison`: K = 2, N = 64, R = 5, 9,900 steps
Expected: the paper reports "up to" 89.3 % success, tolerance unknown. Its code, 3 seeds, success at 0.1 / 0.3 / 0.5: MDN 45.9 to 68.3 /
          76.5 to 86.7 / 84.6 to 89.7 %, EBGAN-MDN 47.6 to 71.5 / 84.5 to 92.0 / 91.3 to 95.0 %.
Run time: about 55 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import PAPER_METHODS, ArraysFigure, paper_comparison

RUNS = paper_comparison("two_link")

FIGURES = (ArraysFigure("arms", "arms", tuple(f"two_link-{method}" for method in PAPER_METHODS[:6])),)
