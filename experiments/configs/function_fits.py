"""Implicit against explicit regression of functions with jumps (Florence et al. 2021, arXiv 2109.00137, figure 2, and beyond it).

Command:  python -m experiments.sweep --config=function_fits
Seeds:    16 (0 to 15), each with 100 demonstrations of its own
Settings: networks of 3 x 64 (mean squared error: 4 x 64), 5,000 steps with the learning rate halved four times. IBC: 64 uniform negatives,
          of 1,024 candidates the lowest energy after 3 iterations. MDN: K = 8, the mean of the densest component. All act as deployed.
Expected: no published number. The paper's figure 2 shows that the energy jumps where the regression goes through all values between; the
          share of its actions in the middle of a jump should stay under 5 % and the regression's be over 20 %.
Run time: about 43 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import ArraysFigure, run_spec

_TASKS = ("step", "jumps_2", "jumps_4", "jumps_8", "jumps_16", "piecewise")
_REDRAW = "data.redraw=True"

RUNS = tuple(
    run
    for task in _TASKS
    for run in (
        run_spec(task, "explicit_bc", 16, _REDRAW),
        run_spec(task, "ibc", 16, _REDRAW, "method.num_candidates=1024"),
        run_spec(
            task,
            "mdn",
            16,
            _REDRAW,
            "method.generator.num_components=8",
            "method.generator.hidden=(64,64,64)",
            "method.act_by=mode",
        ),
        run_spec(task, "nearest_neighbour", 16, _REDRAW, "method.num_neighbours=1"),
    )
)

_SHOWN = ("step", "piecewise", "jumps_8")
FIGURES = (
    *(
        ArraysFigure(
            f"{task}_actions", "samples", tuple(f"{task}-{method}" for method in ("explicit_bc", "mdn", "ibc"))
        )
        for task in _SHOWN
    ),
    *(ArraysFigure(f"{task}_energy", "landscape", (f"{task}-ibc",)) for task in _SHOWN),
)
