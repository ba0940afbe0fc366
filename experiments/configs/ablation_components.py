"""Ablation: how many components? Fewer, as many and more than the task has modes.

Command:  python -m experiments.sweep --config=ablation_components
Seeds:    16 on hyperbola and lines, 6 on two_link
Settings: `base.ablation` with K = 1 to 20. The number of modes is 2, 3 and 2.
Expected: the paper shows images only: K = 1 is one wide Gaussian, 2 and 3 fit two modes. What a third component does on two modes shows in
          the number of effective components, the exponential of the mean weight entropy. Held-out likelihood and BIC have their least
          value at the K that they would choose.
Run time: about 65 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import SweepFigure, swept

RUNS = tuple(
    run
    for task in ("hyperbola", "lines", "two_link")
    for method in ("mdn", "ebgan_mdn")
    for run in swept(task, method, "method.generator.num_components", (1, 2, 3, 5, 10, 20))
)

FIGURES = (
    SweepFigure("quality", "num_components", ("kl", "tmc", "success@0.1", "both_elbows"), log=True),
    SweepFigure("choice", "num_components", ("heldout_nll", "bic", "effective_components"), log=True),
)
