"""Ablation: an entropy term that keeps the energy from narrowing the generator, and a warm-up by likelihood alone.

Command:  python -m experiments.sweep --config=ablation_entropy
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation`; h = 0, 0.1, 1 and a warm-up of 0 or half of training, all combinations members of one program.
Expected: no published number; the paper has neither. With h = 1 and the proposal taken out ("correct_proposal") both terms of the loss
          are least at the data's density, so the KL should fall; with the generator left in the energy, h = 1 widens the mixture.
Run time: 22 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, ablation

_GRID = ("hyper.entropy_weight=0,0.1,1", "hyper.warm_up=0,0.5")

RUNS = tuple(
    run
    for task in ("hyperbola", "two_link")
    for run in (
        ablation(task, "ebgan_mdn", *_GRID),
        ablation(task, "ebgan_mdn", *_GRID, "method.correct_proposal=True", variant="correct_proposal"),
    )
)

FIGURES = (SweepFigure("entropy", "entropy_weight", ("kl", "tmc", "success@0.1", "heldout_nll"), log=True),)
