"""Time to choose a chunk of set-points when an arm reaches among obstacles, for every policy of `configs.reaching`, and for the planner.

Command:  python -m experiments.benchmarks.reaching
Run time: about a minute on 2 CPU cores.

One observation at a time, as in a control loop; of networks as they start, which takes as long as of trained ones. ``p50_ms`` and
``p99_ms`` are over single calls, all policies taking turns.
"""

import functools

import jax
import numpy as np

from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Horizon
from experiments.benchmarks import measure
from experiments.config import make_config
from experiments.configs import CONFIGS


def rows(tasks: tuple[str, ...] = ("reach_two_link", "reach_ur5"), num_calls: int = 300) -> list[dict]:
    """Measure ``num_calls`` calls of each policy of these tasks, see `measure.latencies`."""
    key, calls = jax.random.key(0), {}
    for run in CONFIGS["reaching"]:
        if run.task not in tasks:
            continue
        spec = TASKS[run.task].spec
        config = make_config(run.task, run.method, overrides=run.overrides)
        method = METHODS[run.method].make(config.method, spec, Horizon(config.train.steps, 1))
        params = jax.jit(method.init)(key).params
        name = run.task, run.name.removeprefix(f"{run.task}-")
        calls[name] = functools.partial(jax.jit(method.act), key, params, np.zeros((1, spec.obs_dim), np.float32))
        planner, conditional = TASKS[run.task].baseline
        calls.setdefault(
            (run.task, planner),
            functools.partial(jax.jit(conditional.act), key, np.zeros((1, spec.obs_dim), np.float32)),
        )
    table = []
    for (task, policy), seconds in sorted(measure.latencies(calls, num_calls).items()):
        p50, p99 = np.percentile(seconds, [50, 99])
        table.append({"task": task, "policy": policy, "p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99})
    return table


if __name__ == "__main__":
    measure.command("reaching", rows)
