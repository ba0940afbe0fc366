"""Ablation: a latent input of the generator.

Command:  python -m experiments.sweep --config=ablation_latent
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation` with latents of 0 to 8 dimensions. With a latent there is no exact density, so no KL and no held-out likelihood.
Expected: no published number; the authors' code has none on the hyperbola, 2 dimensions on the arm and 1 on the 49-Gaussian grid.
Run time: 14 minutes of one CPU core, beside other work.
"""

from experiments.configs.base import SweepFigure, swept

RUNS = tuple(
    run
    for task in ("hyperbola", "two_link")
    for method in ("mdn", "ebgan_mdn")
    for run in swept(task, method, "method.generator.latent_dim", (0, 1, 2, 4, 8))
)

FIGURES = (SweepFigure("latent", "latent_dim", ("w1", "tmc", "success@0.1", "both_elbows")),)
