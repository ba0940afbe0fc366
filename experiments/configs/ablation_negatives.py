"""Ablation: how many negatives? Quality and seconds against N.

Command:  python -m experiments.sweep --config=ablation_negatives
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation` with N = 8 to 256; R = 5.
Expected: no published number; the paper's code has 32 on its functions and 256 on the arm. An update costs about as much as its N + 2
          energies (`experiments.benchmarks.masking`), so 256 takes some 12 times as long as 8.
Run time: about 70 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, ablation, swept

RUNS = tuple(
    run
    for task in ("hyperbola", "two_link")
    for run in (
        ablation(task, "mdn"),
        *swept(task, "ebgan_mdn", "method.num_negatives", (8, 16, 32, 64, 128, 256)),
    )
)

FIGURES = (
    SweepFigure("hyperbola", "num_negatives", ("kl", "tmc", "training/seconds"), log=True, tasks=("hyperbola",)),
    SweepFigure(
        "two_link", "num_negatives", ("success@0.1", "heldout_nll", "training/seconds"), log=True, tasks=("two_link",)
    ),
)
