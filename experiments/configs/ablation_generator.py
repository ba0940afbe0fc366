"""Ablation: is it the energy or the mixture? A mixture generator against a network that reads noise, both in the energy's game.

Command:  python -m experiments.sweep --config=ablation_generator
Seeds:    16 on hyperbola and lines, 6 on two_link
Settings: `base.ablation`; EBGAN's latent has 2 dimensions.
Expected: no published number. Nothing in EBGAN's loss keeps its draws apart, so fewer modes than with a mixture.
Run time: 15 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import ablation

RUNS = tuple(
    ablation(task, method) for task in ("hyperbola", "lines", "two_link") for method in ("mdn", "ebgan", "ebgan_mdn")
)
