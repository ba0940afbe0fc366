"""The default EBGAN-MDN on all tasks beside an MDN with the same generator: gain of the generator, gain of the inference.

Command:  python -m experiments.sweep --config=default_functions   (or default_grid, default_two_link, default_ur5, default_routes)
Seeds:    32 (0 to 31), each with demonstrations of its own (`data.redraw`), the same for all lines, so that each is compared with `mdn`
          seed by seed
Settings: defaults: K = 64, generators of 3 x 128, 5,000 steps, the same on every task. "plain" is the same trained EBGAN-MDN without its
          energy at inference: the gain of the generator alone. On arms and routes "mean" takes means of components drawn by weight, the
          MDN's low-noise sampling; on the two-link arm "rerank" and "densest" choose among 32 candidates of one component, "resample"
          among 32 of the mixture. "longer" is an MDN of 15,000 steps, which take less time than 5,000 of EBGAN-MDN (training/seconds).
          Primary metrics, chosen before any run: w1; coverage on the grid; success@0.1 and success@10mm on the arms; success on routes.
Expected: no published number for these settings. The authors' code on the arm, 3 seeds: MDN 45.9 to 68.3 % and EBGAN-MDN 47.6 to 71.5 %
          success at 0.1, 76.5 to 86.7 and 84.5 to 92.0 % at 0.3; the paper's planning task, which it does not name, 75.4 %.
Run time: functions about 75 minutes, grid 20, routes 30, ur5 55, two_link 45, on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import RunSpec, run_spec

_PLAIN, _MEAN = "method.reweight=False", "method.sample_by=component_mean"
_LONGER = "train.steps=15000"
_WITHIN = (_PLAIN, "method.candidates=component")


def _run(task: str, method: str, *overrides: str, variant: str = "") -> RunSpec:
    return run_spec(task, method, 32, "data.redraw=True", *overrides, variant=variant)


def _generators(task: str) -> tuple[RunSpec, ...]:
    return (
        _run(task, "mdn"),
        _run(task, "ebgan_mdn", _PLAIN, variant="plain"),
        _run(task, "ebgan_mdn"),
    )


def _longer(task: str) -> RunSpec:
    return _run(task, "mdn", _LONGER, variant="longer")


def _reached(task: str) -> tuple[RunSpec, ...]:
    """Lines of a task where an action has to reach something, so that less noise helps."""
    return (
        *_generators(task),
        *(_run(task, method, _MEAN, variant="mean") for method in ("mdn", "ebgan_mdn")),
        _longer(task),
        _run(task, "mdn", _LONGER, _MEAN, variant="longer,mean"),
    )


FUNCTIONS = (
    *(run for task in ("hyperbola", "lines", "circle", "parabola", "inverse_sine") for run in _generators(task)),
    _longer("inverse_sine"),
)
GRID = _generators("gaussian_grid")
TWO_LINK = (
    *_reached("two_link"),
    _run("two_link", "ebgan_mdn", _PLAIN, "method.sample_by=resample", variant="resample"),
    *(_run("two_link", "ebgan_mdn", *_WITHIN, f"method.sample_by={way}", variant=way) for way in ("rerank", "densest")),
)
UR5, ROUTES = _reached("ur5"), _reached("multi_route")
