"""Ablation: how many demonstrations?

Command:  python -m experiments.sweep --config=ablation_demonstrations
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation` with 50 to 5,000 rows (the arm's own number is 3,142) and the same number of steps, so that fewer rows are seen
          more often; the learning rate halves after the same numbers of steps.
Expected: no published number.
Run time: about 30 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, ablation

# Rows, and the epochs that make 320 (hyperbola) or 792 (two_link) steps of 32 rows.
_ROWS = {
    "hyperbola": {50: 160, 200: 46, 500: 20, 1000: 10, 5000: 2},
    "two_link": {50: 396, 200: 113, 1000: 25, 3142: 8, 5000: 5},
}

RUNS = tuple(
    ablation(
        task,
        method,
        f"data.num_demonstrations={rows}",
        f"method.decay_every={epochs}",
        variant=f"num_demonstrations={rows}",
    )
    for task, decays in _ROWS.items()
    for method in ("explicit_bc", "mdn", "ebgan_mdn")
    for rows, epochs in decays.items()
)

FIGURES = (
    SweepFigure("hyperbola", "num_demonstrations", ("kl", "tmc", "heldout_nll"), log=True, tasks=("hyperbola",)),
    SweepFigure(
        "two_link", "num_demonstrations", ("success@0.1", "both_elbows", "heldout_nll"), log=True, tasks=("two_link",)
    ),
)
