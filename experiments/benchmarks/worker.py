"""A process that trains EBGAN-MDN members in one way, and for every line it is given does some steps and prints how many seconds they took.

`experiments.benchmarks.throughput` starts these: thread counts and allocators can only be set for a whole process.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BATCH, ROWS, ENERGY_STEPS, HIDDEN, COMPONENTS = 32, 512, 5, (64, 64), 2


class Size(NamedTuple):
    """Dimensions of observation and action, and N."""

    obs_dim: int
    action_dim: int
    num_negatives: int


SIZES = {"hyperbola": Size(1, 1, 32), "two_link": Size(2, 2, 256)}


def rows(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Observations and actions ``[rows, D]`` in [-1, 1]: their values make no difference to the time."""
    generator = np.random.default_rng(0)
    return tuple(generator.uniform(-1, 1, (ROWS, dim)).astype(np.float32) for dim in (size.obs_dim, size.action_dim))


def train_ours(size: Size, num_members: int, parallel: str = "seeds") -> Callable[[int], None]:
    """The library's compiled chunk, over all devices of the process."""
    import jax

    from ebgan_mdn_jax.methods import ebgan_mdn
    from ebgan_mdn_jax.methods.generator import GeneratorConfig
    from ebgan_mdn_jax.training import devices, loop, members
    from ebgan_mdn_jax.types import Batch, Horizon, Spec

    config = ebgan_mdn.Config(
        GeneratorConfig(COMPONENTS, "isotropic", hidden=HIDDEN),
        energy_hidden=HIDDEN,
        num_negatives=size.num_negatives,
        energy_steps=ENERGY_STEPS,
        alpha_schedule="constant",
    )
    box = [(sign,) * dim for dim in (size.obs_dim, size.action_dim) for sign in (-1.0, 1.0)]
    method = ebgan_mdn.make(config, Spec(*box), Horizon(10**6, ROWS // BATCH))
    layout = devices.make_layout(jax.devices(), parallel)
    group = members.make_members(method, range(num_members))
    chunk = loop.make_chunk(method, BATCH, 1, layout)
    states = [members.init_states(method, group.seed, layout.members)]
    data = devices.place(Batch(*(part[None] for part in rows(size))), layout.everywhere)
    hyper, folds = devices.place((group.hyper, np.zeros(num_members, np.int32)), layout.members)

    def run(num_steps):
        states[0], info = chunk(states[0], hyper, folds, data, np.int32(num_steps))
        jax.block_until_ready(info)

    return run


def train_torch(size: Size, num_members: int, threads: int, vectorised: bool) -> Callable[[int], None]:
    """PyTorch, one member after another."""
    import torch

    from experiments.benchmarks import torch_step

    torch.set_num_threads(threads)
    obs, action = map(torch.from_numpy, rows(size))
    steps = []
    for _ in range(num_members):
        networks = torch_step.make_networks(size.obs_dim, size.action_dim, COMPONENTS, HIDDEN)
        steps.append(torch_step.make_step(networks, size.num_negatives, ENERGY_STEPS, BATCH, vectorised))

    def run(num_steps):
        for step in steps:
            order = torch.randperm(ROWS)
            for index in range(num_steps):
                first = index * BATCH % ROWS
                batch = order[first : first + BATCH]
                step(obs[batch], action[batch], 1.0)

    return run


def main() -> None:
    """Read what to train from the command line, and numbers of steps from standard input."""
    given = json.loads(sys.argv[1])
    size, kind = SIZES[given["size"]], given["kind"]
    if kind == "ours":
        run = train_ours(size, given["members"], given["parallel"])
    else:
        run = train_torch(size, given["members"], given["threads"], kind == "torch")
    run(2)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
