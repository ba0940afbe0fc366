"""Ablation: noise on the demonstrations, once on their observations and once on their actions.

Command:  python -m experiments.sweep --config=ablation_noise
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation`; Gaussian noise of 0 to 0.3 in data units on the training rows, held-out rows and judgement as they are.
Expected: no published number.
Run time: about 35 minutes on 2 CPU cores, by one or two processes of this command.
"""

from experiments.configs.base import SweepFigure, swept

_SCALES = {"hyperbola": (0, 0.05, 0.1, 0.2, 0.3), "two_link": (0, 0.1, 0.3)}

RUNS = tuple(
    run
    for task, scales in _SCALES.items()
    for method in ("explicit_bc", "mdn", "cgan", "ebgan_mdn")
    for noisy in ("obs_noise", "action_noise")
    for run in swept(task, method, f"data.{noisy}", scales)
)

FIGURES = tuple(
    SweepFigure(f"{noisy}_{task}", noisy, metrics, tasks=(task,), levels=False)
    for noisy in ("obs_noise", "action_noise")
    for task, metrics in (("hyperbola", ("tmc", "precision", "w1")), ("two_link", ("success@0.1", "both_elbows")))
)
