"""What a chunk costs beside how good it is: the published lines of eight spokes in chunks of 16 positions.

Command:  python -m experiments.benchmarks.chunks
Run time: about 2 minutes on 2 CPU cores.

``evaluations`` are those of a network, one after another, all candidates at once (`Method.num_evaluations`); ``p50_ms`` and ``p99_ms`` are
over single draws of one chunk, all lines taking turns, with weights as they are before training. Scores are those of ``sweep``, in % and on
average over its seeds: of modes that keep half their share, of chunks on one, and of success as published.
"""

import functools

import jax
import numpy as np

from experiments.benchmarks import measure
from experiments.configs import CONFIGS
from experiments.plan import expand
from experiments.program import build
from experiments.publish import RESULTS
from experiments.summary import read_rows, run_label

TASK = "radial_8_short"
SWEEPS = ("chunk_modes", "chunk_flows", "chunk_codes")
_SCORES = {"coverage": "share_coverage@tau=0.5", "on_support": "on_support", "success": "success"}


def rows(num_calls: int = 300, sweeps: tuple[str, ...] = SWEEPS) -> list[dict]:
    """Measure ``num_calls`` draws of each line, see `measure.latencies`; times over the MDN's where ``chunk_modes`` is among the sweeps."""
    runs, loaded = {}, {}
    for sweep in sweeps:
        for name, config in expand([spec for spec in CONFIGS[sweep] if spec.task == TASK], num_seeds=1).items():
            runs[sweep, name] = build(config, loaded=loaded)
    calls, key = {}, jax.random.key(0)
    for line, run in runs.items():
        obs = np.asarray(run.dataset.heldout.obs[0, :1], np.float32)
        params = jax.jit(run.method.init)(key).params
        draw = jax.jit(lambda key, params, obs, run=run: run.method.sample(key, params, obs, 1))
        calls[line] = functools.partial(draw, key, params, obs)
    seconds = measure.latencies(calls, num_calls)
    scores = {
        sweep: {(row.run, row.metric): row.mean for row in read_rows(RESULTS / sweep / "table.csv")} for sweep in sweeps
    }
    of_mdn = np.percentile(seconds.get(("chunk_modes", f"{TASK}-mdn"), np.nan), 50)
    table = []
    for (sweep, name), values in seconds.items():
        p50, p99 = np.percentile(values, [50, 99])
        row = {
            "line": run_label(TASK, runs[sweep, name].config.method_name, name),
            "sweep": sweep,
            "evaluations": runs[sweep, name].method.num_evaluations,
            "p50_ms": 1e3 * p50,
            "p99_ms": 1e3 * p99,
            "time_over_mdn": p50 / of_mdn,
        }
        table.append(row | {score: scores[sweep].get((name, metric), "") for score, metric in _SCORES.items()})
    return table


if __name__ == "__main__":
    measure.command("chunks", rows)
