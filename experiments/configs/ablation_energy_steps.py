"""Ablation: how many energy updates per generator update?

Command:  python -m experiments.sweep --config=ablation_energy_steps
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation` with R = 1, 5, 10; generator steps stay 1,600 and 4,000, so R = 5 makes 8,000 and 20,000 energy updates.
Expected: no published number; the paper's code has 5.
Run time: about 12 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, swept

RUNS = tuple(
    run for task in ("hyperbola", "two_link") for run in swept(task, "ebgan_mdn", "method.energy_steps", (1, 5, 10))
)

FIGURES = (
    SweepFigure("energy_steps", "energy_steps", ("kl", "success@0.1", "heldout_nll", "training/seconds"), log=True),
)
