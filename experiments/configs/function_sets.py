"""Several values at once, and none but noise: implicit against explicit policies (Florence et al. 2021, arXiv 2109.00137, figures 2c, 3).

Command:  python -m experiments.sweep --config=function_sets
Seeds:    16 (0 to 15), each with 500 demonstrations of its own
Settings: networks of 3 x 64 (mean squared error: 4 x 64), 5,000 steps with the learning rate halved four times. IBC: 64 uniform negatives;
          "plain" draws from exp(-E) over 1,024 uniform candidates, without it they are searched in 3 iterations first, which sharpens.
          MDN: K = 8.
Expected: no published number. Both branches of a two-valued function should get 30 to 70 % of the draws ("balanced").
Run time: about 34 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import ArraysFigure, run_spec

_TASKS = ("split_circle", "hysteresis", "disjoint_sets", "noise_labels")
_CANDIDATES = "method.num_candidates=1024"
_MDN = ("method.generator.num_components=8", "method.generator.hidden=(64,64,64)")

RUNS = tuple(
    run
    for task in _TASKS
    for run in (
        run_spec(task, "explicit_bc", 16, "data.redraw=True"),
        run_spec(task, "ibc", 16, "data.redraw=True", _CANDIDATES),
        run_spec(task, "ibc", 16, "data.redraw=True", _CANDIDATES, "method.num_iterations=0", variant="plain"),
        run_spec(task, "mdn", 16, "data.redraw=True", *_MDN),
        run_spec(task, "nearest_neighbour", 16, "data.redraw=True"),
    )
)
FIGURES = tuple(
    ArraysFigure(
        f"samples_{task}", "samples", tuple(f"{task}-{line}" for line in ("explicit_bc", "ibc", "ibc-plain", "mdn"))
    )
    for task in _TASKS
)
