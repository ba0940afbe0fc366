"""Time to choose an action, for every method and every way it can choose one, at its default sizes on the hyperbola.

Command:  python -m experiments.benchmarks.inference
Run time: about 5 minutes on 2 CPU cores, most of it for the 16,384 candidates of IBC.

``evaluations`` are those of a network, one after another, all candidates at once (`Method.num_evaluations`; a generator and the energy that
judges it count as one). Batch 1 is a robot's control loop, batch 256 an evaluation. ``p50_ms`` and ``p99_ms`` are over single calls, all
ways taking turns.
"""

import functools
import typing

import jax
import numpy as np

from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.methods.base import Method
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Horizon
from experiments.benchmarks import measure


def methods() -> dict[tuple[str, str], Method]:
    """Every method of the registry with every value of its ``act_by``; by name and value."""
    found = {}
    for name, module in METHODS.items():
        hint = typing.get_type_hints(module.Config).get("act_by")
        for how in typing.get_args(hint) or ("",):
            config = module.Config(**({"act_by": how} if how else {}))
            found[name, how] = module.make(config, TASKS["hyperbola"].spec, Horizon(1, 1))
    return found


def rows(batch_sizes=(1, 256), num_calls: int = 300) -> list[dict]:
    """Measure ``num_calls`` calls of each way at each batch size, see `measure.latencies`."""
    key = jax.random.key(0)
    table = []
    for batch_size in batch_sizes:
        obs = np.zeros((batch_size, 1), np.float32)
        calls, found = {}, methods()
        for name, method in found.items():
            params = jax.jit(method.init)(key).params
            calls[name] = functools.partial(jax.jit(method.act), key, params, obs)
        seconds = measure.latencies(calls, num_calls)
        for (name, how), values in seconds.items():
            p50, p99 = np.percentile(values, [50, 99])
            table.append(
                {
                    "method": name,
                    "act_by": how,
                    "batch": batch_size,
                    "evaluations": found[name, how].num_evaluations,
                    "p50_ms": 1e3 * p50,
                    "p99_ms": 1e3 * p99,
                    "actions_per_s": batch_size / p50,
                    "time_over_mdn_sample": p50 / np.percentile(seconds["mdn", "sample"], 50),
                }
            )
    return table


if __name__ == "__main__":
    measure.command("inference", rows)
