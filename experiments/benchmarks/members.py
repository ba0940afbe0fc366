"""How the time of a training step grows with the number of members: the hyperbola's EBGAN-MDN, K = 2, N = 32, R = 5, batch 32.

Command:  python -m experiments.benchmarks.members
Run time: about 2 minutes on 2 CPU cores.

Compilation is timed apart, without the persistent cache. ``peak_share`` compares the FLOP of the step's matrix products with a large
float32 product at the same precision, ``bandwidth_share`` the reading and writing of parameters and optimiser states alone with a large
copy: the rest of the traffic depends on what the compiler keeps in caches.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ebgan_mdn_jax.training.devices import place
from ebgan_mdn_jax.training.members import init_states, resize
from experiments.benchmarks import measure
from experiments.config import make_config
from experiments.program import Program, build, choose_layout, choose_members_per_step, compile_on

_OVERRIDES = ("method.generator.num_components=2", "method.alpha_schedule=constant")


def sizes() -> tuple[int, ...]:
    """Numbers of members that suit the machine."""
    return (1, 2, 4, 8, 16) if jax.default_backend() == "cpu" else (1, 4, 16, 64, 256, 1024)


def rows(counts, num_steps: int, overrides=_OVERRIDES) -> list[dict]:
    """Measure programs of ``counts`` members, ``num_steps`` steps a call."""
    programs = {}
    for count in counts:
        run = build(make_config("hyperbola", "ebgan_mdn", count, 0, overrides, preset="small"))
        layout = choose_layout(run.config, count, 1)
        programs[count] = compile_on(run, layout, choose_members_per_step(run, layout))
    calls = {count: call_of(program, num_steps) for count, program in programs.items()}
    seconds = measure.interleaved(calls)
    config = programs[counts[0]].run.config
    flops = measure.ebgan_mdn_flops(config.method, programs[counts[0]].run.task.spec, config.train.batch_size)
    peak, bandwidth = measure.matmul_peak(), measure.memory_bandwidth()
    table = []
    for count, program in programs.items():
        step = seconds[count] / num_steps
        table.append(
            {
                "members": count,
                "members_per_step": program.members_per_step,
                "ms_per_step": 1e3 * step,
                "ms_per_member_step": 1e3 * step / count,
                "member_steps_per_s": count / step,
                "time_over_1_member": step * num_steps / seconds[counts[0]],
                "compile_s": program.seconds,
                "program_mb": program.bytes_per_device / 1e6,
                "peak_share": count * flops / step / peak,
                "bandwidth_share": 2 * count * _state_bytes(program) / step / bandwidth,
                "peak_gflops": peak / 1e9,
                "bandwidth_gb_s": bandwidth / 1e9,
                "matmul_precision": jax.config.jax_default_matmul_precision or "default",
            }
        )
    return table


def call_of(program: Program, num_steps: int) -> Callable[[], Any]:
    """A call that trains all members for ``num_steps`` more steps."""
    run, layout = program.run, program.layout
    members, folds = resize((run.members, run.folds), program.num_padded)
    hyper, folds = place((members.hyper, folds), layout.members)
    data = place(run.dataset.train, layout.everywhere)
    states = [init_states(run.method, members.seed, layout.members)]

    def call():
        states[0], info = program.chunk(states[0], hyper, folds, data, np.int32(num_steps))
        return info

    return call


def _state_bytes(program: Program) -> int:
    state = jax.eval_shape(program.run.method.init, jax.random.key(0))
    return sum(leaf.size * 4 for leaf in jax.tree.leaves((state.params, state.opt_state)))


if __name__ == "__main__":
    measure.command("members", lambda: rows(sizes(), 200))
