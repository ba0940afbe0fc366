"""How steep a function can a network follow that is itself nowhere steep? (Florence et al. 2021, arXiv 2109.00137, theorems 1 and 2)

Command:  python -m experiments.sweep --config=slopes
Seeds:    8 (0 to 7), each with 100 demonstrations of its own
Settings: networks of 3 x 64 (mean squared error: 4 x 64), 3,000 steps, learning rates halved four times, once as they are and once
          ("spectral") with every layer divided by its largest singular value, so that a policy moves no further than its observation and
          an energy no further than observation and action together. So small energies need a temperature to be told apart by: 0.03, fixed
          after 2 seeds of 0.3, 0.1 and 0.03 on slope_100. IBC: 64 uniform negatives, of 1,024 candidates the lowest after 3 iterations.
Expected: by the theorem, an energy of slope 1 can have any of these functions as its minimum; a policy of slope 1 is at best off by a
          mean of 0.125 (1 - 1 / S) on a function of slope S.
Run time: about 17 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import ArraysFigure, run_spec

_SHARED = ("data.redraw=True", "train.steps=3000")
_IBC = (*_SHARED, "method.num_candidates=1024")

RUNS = tuple(
    run
    for task in ("slope_1", "slope_10", "slope_100", "slope_1000")
    for run in (
        run_spec(task, "explicit_bc", 8, *_SHARED),
        run_spec(task, "explicit_bc", 8, *_SHARED, "method.spectral=True", variant="spectral"),
        run_spec(task, "ibc", 8, *_IBC),
        run_spec(task, "ibc", 8, *_IBC, "method.energy_spectral=True", "hyper.temperature=0.03", variant="spectral"),
    )
)

FIGURES = (
    ArraysFigure("slope_100_actions", "samples", ("slope_100-explicit_bc-spectral", "slope_100-ibc-spectral")),
    ArraysFigure("slope_100_energy", "landscape", ("slope_100-ibc-spectral",)),
)
