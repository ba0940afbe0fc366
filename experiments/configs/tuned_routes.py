"""The configuration of `tuned` on the routes, judged by rollouts.

Command:  python -m experiments.sweep --config=tuned_routes
Seeds:    16 (0 to 15); the primary metric is success
Settings: as `tuned`; "mean" takes means of components drawn by weight.
Expected: the paper reports 75.4 % success on a planning task that it does not name.
Run time: about 9 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import run_spec

_PLAIN, _MEAN = "method.reweight=False", "method.sample_by=component_mean"

RUNS = (
    run_spec("multi_route", "mdn", 16, preset="tuned"),
    run_spec("multi_route", "mdn", 16, _MEAN, variant="mean", preset="tuned"),
    run_spec("multi_route", "ebgan_mdn", 16, _PLAIN, variant="plain", preset="tuned"),
    run_spec("multi_route", "ebgan_mdn", 16, preset="tuned"),
    run_spec("multi_route", "ebgan_mdn", 16, _MEAN, variant="mean", preset="tuned"),
)
