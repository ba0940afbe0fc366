"""Ablation: dynamic scaling, the weight alpha of the generator's draw in the energy's denominator.

Command:  python -m experiments.sweep --config=ablation_alpha
Seeds:    16 on hyperbola and lines, 6 on two_link and multi_route
Settings: `base.ablation`; "constant" keeps alpha = 1, "weight" and "logit" let it fall linearly to a floor, as a weight of the exponential
          (ours) or of the logit (the authors' code). Floors 0, 0.1, 0.3 for "weight", 0.1 for "logit".
Expected: the paper's single runs on a task with two modes: dynamic scaling has the lowest KL (1.69) and W1 (0.0066), alpha = 1 the highest
          coverage (TMC 98.00 %, AMC 1.98); how they were measured is not said.
Run time: about 50 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import CurvesFigure, SweepFigure, ablation

_LINEAR = "method.alpha_schedule=linear"
_TASKS = ("hyperbola", "lines", "two_link", "multi_route")

RUNS = tuple(
    run
    for task in _TASKS
    for run in (
        ablation(task, "ebgan_mdn", variant="constant"),
        ablation(task, "ebgan_mdn", _LINEAR, "hyper.alpha_floor=0,0.1,0.3", variant="weight"),
        ablation(task, "ebgan_mdn", _LINEAR, "method.alpha_form=logit", variant="logit"),
    )
)

FIGURES = (
    SweepFigure("floor", "alpha_floor", ("kl", "success"), tasks=_TASKS),
    CurvesFigure("energy_loss", ("energy_loss",), tasks=_TASKS),
    CurvesFigure("positive_energy", ("positive_energy",), tasks=("two_link", "multi_route")),
)
