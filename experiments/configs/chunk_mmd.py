"""A CVAE whose codes must match the prior only all together, by the MMD: does that keep modes that a KL loses? (Mazza et al. 2026, E1)

Command:  python -m experiments.sweep --config=chunk_mmd
Seeds:    4 (0 to 3)
Settings: those of `chunk_beta` with absolute error. Beta weighs the maximum mean discrepancy of a minibatch's codes to the prior; the
          authors' code has 1. All betas are members of one program.
Expected: no published number. No beta should cost information, and larger ones should bring draws onto the support.
Run time: to be measured.
"""

from experiments.configs.base import SweepFigure
from experiments.configs.chunk_beta import sweep

RUNS = tuple(
    sweep(task, latent_dim, "l1", "0.01,0.1,1,10,100", "method.regulariser=mmd", variant="mmd")
    for task, latent_dim in (("planar_circle", 2), ("radial_8", 4))
)

FIGURES = (SweepFigure("draws", "beta", ("information", "share_coverage@tau=0.5", "on_support", "bridge"), log=True),)
