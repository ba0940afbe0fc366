"""Ablation: which negatives? Uniform ones, other rows' actions or half of each; and how wide the box of uniform ones is.

Command:  python -m experiments.sweep --config=ablation_negative_kinds
Seeds:    16 on hyperbola and lines, 6 on two_link
Settings: `base.ablation`; the box is the task's times a factor. The arm's raw angles leave its box: one analytic row in eight does.
Expected: no published number. Without uniform negatives nothing lifts the energy away from the data; a box that the data leave gives
          them away to the energy.
Run time: about 25 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, ablation, swept

RUNS = (
    *(
        ablation(task, "ebgan_mdn", f"method.negatives={kind}", variant=f"negatives={kind}")
        for task in ("hyperbola", "lines", "two_link")
        for kind in ("uniform", "data", "mixed")
    ),
    *(
        run
        for task in ("hyperbola", "two_link")
        for run in swept(task, "ebgan_mdn", "method.negatives_box", (0.5, 1, 1.5, 2))
    ),
)

FIGURES = (SweepFigure("box", "negatives_box", ("kl", "success@0.1", "heldout_nll"), tasks=("hyperbola", "two_link")),)
