"""Ablation of the default: the energy learns from the generator's draws, and the generator, an MDN, hears nothing of it.

Command:  python -m experiments.sweep --config=ablation_one_way
Seeds:    32 (0 to 31), each with demonstrations of its own (`data.redraw`)
Settings: defaults with `energy_weight=0`. All lines of a task are one training, so that the comparison of a seed with itself sees what the
          energy does at inference and nothing else. "plain" is the generator alone: an MDN. The others take weight from components by
          their density ratio, from those under exp(clip) of the mean: "clip=-1" is the default's, "clip=-3" leaves more of them alone. It
          was chosen among -1, -2 and -3, also with steeper cuts, by seeds 100 to 107. On functions W1 is of 1,000 draws for an
          observation in place of 200, whose noise hides differences of this size.
Expected: no published number. That the energy finds strays, which every mixture has a few of, and little more.
Run time: 60 minutes of one CPU core of two, the other busy.
"""

from experiments.configs.base import RunSpec, run_spec

_FUNCTIONS = ("hyperbola", "lines", "circle", "parabola", "inverse_sine")
_WAYS = {
    "plain": "method.reweight=False",
    **{f"clip={clip}": f"method.reweight_clip={clip}" for clip in (-1, -2, -3)},
}


def _lines(task: str, *overrides: str) -> tuple[RunSpec, ...]:
    settings = "data.redraw=True", "hyper.energy_weight=0", *overrides
    return tuple(run_spec(task, "ebgan_mdn", 32, *settings, way, variant=variant) for variant, way in _WAYS.items())


RUNS = (
    *(run for task in _FUNCTIONS for run in _lines(task, "evaluation.num_draws=1000")),
    *(run for task in ("gaussian_grid", "multi_route", "two_link", "ur5") for run in _lines(task)),
)
