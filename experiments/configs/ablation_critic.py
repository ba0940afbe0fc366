"""Ablation: the energy's training, InfoNCE with negatives or a discriminator between data and draws, under the same mixture generator.

Command:  python -m experiments.sweep --config=ablation_critic
Seeds:    16 on hyperbola and lines, 6 on two_link
Settings: `base.ablation`; the binary critic is a GAN's and has no negatives.
Expected: no published number.
Run time: about 22 minutes on one CPU core of two, both more than busy.
"""

from experiments.configs.base import CurvesFigure, ablation

RUNS = tuple(
    ablation(task, "ebgan_mdn", f"method.critic={critic}", variant=f"critic={critic}")
    for task in ("hyperbola", "lines", "two_link")
    for critic in ("info_nce", "binary")
)

FIGURES = (CurvesFigure("curves", ("nll", "gradient_cosine"), tasks=("hyperbola", "two_link")),)
