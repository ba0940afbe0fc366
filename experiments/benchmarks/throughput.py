"""Training throughput of EBGAN-MDN: this library against PyTorch, with the authors' loop over negatives and vectorised with care.

Command:  python -m experiments.benchmarks.throughput     (needs the extra "bench": a CPU build of torch)
Run time: about 6 minutes on 2 CPU cores.

Sizes: the hyperbola's (N = 32, one-dimensional) and two-link inverse kinematics' (N = 256, two-dimensional); R = 5, batch 32, two
hidden layers of 64, K = 2; one member and 16. All take turns, five rounds of about half a second each, and the medians are compared,
each side at its best of several settings:

* ours: one device that may use all cores; one that may use one; two devices, which share the minibatches of one member, or have half of 16
  members each.
* PyTorch, one thread or two, one member after another; for 16 members also two processes of one thread with half of them each. The
  vectorised form has the fused Adam and preallocated inputs, and runs with raised malloc thresholds, without which its large buffers are
  given back to the system and cleared again at every step.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import NamedTuple

from ebgan_mdn_jax.types import Spec, require
from experiments.benchmarks import measure
from experiments.benchmarks.worker import BATCH, COMPONENTS, ENERGY_STEPS, HIDDEN, SIZES

_SECONDS = 0.5  # of one turn, about
_THRESHOLDS = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class Setting(NamedTuple):
    """One way to train: ``processes`` workers at once, which share the members."""

    kind: str  # "ours", "torch" (vectorised) or "loop"
    name: str
    threads: int = 1
    processes: int = 1
    env: dict[str, str] = {}
    parallel: str = "seeds"


def settings(num_members: int) -> list[Setting]:
    """The ways that suit a number of members, on two cores."""
    chosen = [Setting("ours", "1 device, all cores"), Setting("ours", "1 device, 1 thread", env=_ONE_THREAD)]
    for kind, env in (("torch", _THRESHOLDS), ("loop", {})):
        chosen += [Setting(kind, f"{n} thread{'s' * (n > 1)}", n, env=env) for n in (1, 2)]
        if num_members > 1:
            chosen.append(Setting(kind, "2 processes, 1 thread", 1, 2, env))
    two = {"JAX_NUM_CPU_DEVICES": "2"} | _ONE_THREAD
    if num_members > 1:
        chosen.append(Setting("ours", "2 devices", env=two))
    else:  # collectives need a wider thread pool, which costs time where there are none
        chosen.append(Setting("ours", "2 devices sharing minibatches", env=two | {"NPROC": "16"}, parallel="shard_map"))
    return chosen


def rows(sizes=tuple(SIZES), member_counts=(1, 16), num_rounds=measure.NUM_ROUNDS, seconds=_SECONDS) -> list[dict]:
    """One row per size, number of members and setting; ``best`` marks the fastest of each kind."""
    require(
        importlib.util.find_spec("torch") is not None,
        "this benchmark needs torch: pip install 'ebgan_mdn_jax[bench]' --extra-index-url https://download.pytorch.org/whl/cpu",
    )
    table = []
    peak = measure.matmul_peak()
    for size in sizes:
        for count in member_counts:
            chosen = settings(count)
            times = _measure(size, count, chosen, num_rounds, seconds)
            best = {
                kind: min(t for s, t in zip(chosen, times, strict=True) if s.kind == kind)
                for kind in ("ours", "torch", "loop")
            }
            for setting, time in zip(chosen, times, strict=True):
                table.append(
                    {
                        "size": size,
                        "members": count,
                        "implementation": setting.kind,
                        "setting": setting.name,
                        "ms_per_member_step": 1e3 * time,
                        "best": "yes" if time == best[setting.kind] else "",
                        "time_over_ours": time / best["ours"],
                        "peak_share": step_flops(size) / time / peak,
                    }
                )
    return table


def step_flops(size: str) -> int:
    """FLOP of the matrix products of one step."""
    from ebgan_mdn_jax.methods import ebgan_mdn
    from ebgan_mdn_jax.methods.generator import GeneratorConfig

    obs_dim, action_dim, num_negatives = SIZES[size]
    config = ebgan_mdn.Config(
        GeneratorConfig(COMPONENTS, "isotropic", hidden=HIDDEN),
        HIDDEN,
        num_negatives=num_negatives,
        energy_steps=ENERGY_STEPS,
    )
    box = [(sign,) * dim for dim in (obs_dim, action_dim) for sign in (-1.0, 1.0)]
    return measure.ebgan_mdn_flops(config, Spec(*box), BATCH)


def _measure(size, count, chosen, num_rounds, seconds) -> list[float]:
    """Median seconds per member-step of each setting."""
    groups = [
        [_start(size, count // setting.processes, setting) for _ in range(setting.processes)] for setting in chosen
    ]
    try:
        for group in groups:
            for worker in group:
                line = worker.stdout.readline()
                require(
                    line == "ready\n", f"a worker of {size} with {count} members did not start: {line or 'no answer'}"
                )
        num_steps = [max(1, round(seconds / max(_turn(group, 2) / 2, 1e-6))) for group in groups]
        times = [[] for _ in groups]
        for _ in range(num_rounds):
            for group, num, values in zip(groups, num_steps, times, strict=True):
                values.append(_turn(group, num) / num / count)
    finally:
        for group in groups:
            for worker in group:
                worker.stdin.close()
                worker.wait()
    return [statistics.median(values) for values in times]


def _start(size, num_members, setting):
    given = {"size": size, "members": num_members, "kind": setting.kind, "threads": setting.threads}
    given["parallel"] = setting.parallel
    command = [sys.executable, "-m", "experiments.benchmarks.worker", json.dumps(given)]
    env = os.environ | setting.env | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _turn(group, num_steps) -> float:
    """Seconds until all workers of a group have done their steps."""
    for worker in group:
        print(num_steps, file=worker.stdin, flush=True)
    return max(float(worker.stdout.readline()) for worker in group)


if __name__ == "__main__":
    measure.command("throughput", rows)
