"""Ablation: several draws of the generator in the energy's denominator.

Command:  python -m experiments.sweep --config=ablation_generated
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation` with M = 1, 4, 16 draws beside N = 32 negatives.
Expected: no published number; the paper has M = 1.
Run time: to be measured; training takes about 2 minutes of one core, by the step times of `experiments.benchmarks`.
"""

from experiments.configs.base import SweepFigure, swept

RUNS = tuple(
    run for task in ("hyperbola", "two_link") for run in swept(task, "ebgan_mdn", "method.num_generated", (1, 4, 16))
)

FIGURES = (SweepFigure("draws", "num_generated", ("kl", "success@0.1", "heldout_nll"), log=True),)
