"""The EBGAN-MDN paper's comparison (arXiv 2510.07562) on the multi-valued functions, with intervals and the baselines that it lacks.

Command:  python -m experiments.sweep --config=paper_functions
Seeds:    16 (0 to 15)
Settings: `base.paper_comparison`; of the Bayesian MDN also Langevin dynamics of the weights ("sgld").
Expected: the paper reports TMC 99.4 % (EBGAN-MDN), 65 (cGAN) and 0 (explicit BC), single numbers. Its code, 3 seeds: MDN 96 to 98 % on the
          hyperbola and 93 to 94 on the lines, EBGAN-MDN 94 to 99 and 14 to 91.
Run time: about 55 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import PAPER_METHODS, ArraysFigure, paper_comparison, run_spec

_TASKS = ("hyperbola", "lines", "circle", "parabola", "inverse_sine")

RUNS = tuple(
    run
    for task in _TASKS
    for run in (
        *paper_comparison(task),
        run_spec(task, "bayesian_mdn", 16, "method.posterior=sgld", variant="sgld", preset="paper"),
    )
)

# The six methods of the paper.
FIGURES = (
    *(
        ArraysFigure(f"{task}_samples", "samples", tuple(f"{task}-{method}" for method in PAPER_METHODS[:6]))
        for task in ("hyperbola", "lines")
    ),
    *(ArraysFigure(f"{task}_energy", "landscape", (f"{task}-ebgan_mdn",)) for task in ("hyperbola", "lines")),
    ArraysFigure("hyperbola_energy_ibc", "landscape", ("hyperbola-ibc",)),
)
