"""Three searches for the action of lowest energy, by its dimension: what they find, and what they cost (Florence et al. 2021, figure 11).

    python -m experiments.search_dimensions

What they find: on the energy ``(10 |a - a*|)^2`` in the box [-1, 1], for 20 minima a* drawn uniformly from it, ``error`` is the mean
distance from a* of the best action found, in half extents of the box. What they cost: the ``action`` for one observation by a network of
one block of 2 x 256, as in the paper's code, its ``seconds`` the median of 5 rounds in which all take turns, and the ``memory_mb`` of all
that XLA holds besides arguments and result. Sizes and schedules are IBC's: 512 chains of 100 steps from 0.1 to 1e-5 with IBC's noise, or
16,384 candidates in 3 iterations.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import collectives, plotting
from ebgan_mdn_jax.methods import ibc
from ebgan_mdn_jax.methods.implicit import LangevinConfig
from ebgan_mdn_jax.samplers import autoregressive, base, derivative_free, langevin, selection
from ebgan_mdn_jax.types import Horizon, Spec
from experiments.benchmarks import measure

DIMENSIONS = (1, 2, 3, 5, 8, 16)
_NUM_TARGETS = 20
_NUM_CHAINS, _NUM_STEPS = 512, 100
_POPULATION = 16_384, 3, 0.33, 0.5  # candidates, iterations, sigma and its factor
_SEARCHES = {
    "langevin": {"search": "langevin", "num_candidates": _NUM_CHAINS, "langevin": LangevinConfig(_NUM_STEPS)},
    "derivative_free": {"num_candidates": _POPULATION[0]},
    "autoregressive": {"num_candidates": _POPULATION[0], "autoregressive": True},
}


def bowl(obs: jax.Array, action: jax.Array, seen: jax.Array | None = None) -> jax.Array:
    """``(10 |a - obs|)^2 [N, B]`` of ``action [N, B, Da]`` and ``obs [B, Da]``, over the coordinates ``seen [Da]`` if given."""
    squares = 100 * (action - obs[None]) ** 2
    return jnp.sum(squares if seen is None else squares * seen[None, None], axis=-1)


def find(name: str, key: jax.Array, target: jax.Array) -> jax.Array:
    """The actions ``[B, Da]`` that a search finds for minima at ``target [B, Da]``."""
    dim = target.shape[-1]
    key_start, key = jax.random.split(key)
    box, keys = ((-1.0,) * dim, (1.0,) * dim), collectives.row_keys(key, target.shape[0])
    if name == "langevin":
        start = jax.random.uniform(key_start, (_NUM_CHAINS, *target.shape), minval=-1.0)
        sampler = langevin.make(
            langevin.polynomial_schedule(0.1, 1e-5, 2, _NUM_STEPS), *box, noise="ibc", delta_clip=0.1
        )
        chains = base.run(keys, sampler, bowl, target, start)[0]
        return selection.lowest_energy(chains.action, chains.energy)

    def prefix_bowl(index, obs, action):
        return bowl(obs, action, jnp.arange(dim) <= index)

    def of_row(row):
        key, obs = row
        if name == "autoregressive":
            population = autoregressive.search(key, prefix_bowl, obs, *box, *_POPULATION)
        else:
            population = derivative_free.search(key, bowl, obs, *box, *_POPULATION)
        return selection.lowest_energy(population.action, population.energy)

    return jax.lax.map(of_row, (keys, target))


def error(name: str, dim: int, num_targets: int = _NUM_TARGETS) -> float:
    """Mean distance to the minimum of what a search finds."""
    key_target, key = jax.random.split(jax.random.key(dim))
    target = jax.random.uniform(key_target, (num_targets, dim), minval=-1.0)
    found = jax.jit(find, static_argnums=0)(name, key, target)
    return float(np.mean(np.linalg.norm(found - target, axis=-1)))


def deployed(name: str, dim: int) -> tuple[Callable[[], jax.Array], float]:
    """A call that finds an action by an untrained network, and the megabytes that it works in."""
    spec = Spec((-1.0,) * dim, (1.0,) * dim, (-1.0,) * dim, (1.0,) * dim)
    network = {"energy_hidden": (256, 256), "energy_residual": "preactivation", "energy_init": "normal_0.05"}
    method = ibc.make(ibc.Config(**network, **_SEARCHES[name]), spec, Horizon(1, 1))
    arguments = jax.random.key(1), method.init(jax.random.key(0)).params, jnp.zeros((1, dim))
    act = jax.jit(method.act).lower(*arguments).compile()
    return lambda: act(*arguments), act.memory_analysis().temp_size_in_bytes / 1e6


def rows(dimensions: Sequence[int] = DIMENSIONS) -> list[dict]:
    """A row per dimension and search."""
    table = []
    for dim in dimensions:
        calls = {name: deployed(name, dim) for name in _SEARCHES}
        seconds = measure.interleaved({name: call for name, (call, _) in calls.items()})
        table += [
            {"dimensions": dim, "search": name, "error": error(name, dim)}
            | {"seconds": seconds[name], "memory_mb": memory}
            for name, (_, memory) in calls.items()
        ]
    return table


def figure(table: Sequence[Mapping[str, str]]):
    """Error and seconds against the dimension."""
    panels = []
    for column, label in (("error", "distance to the minimum"), ("seconds", "seconds per action")):
        lines = {}
        for name in _SEARCHES:
            of_search = [row for row in table if row["search"] == name]
            x, y = (np.array([float(row[key]) for row in of_search]) for key in ("dimensions", column))
            lines[name] = plotting.Band(x, y, y, y)
        panels.append(plotting.Panel(column, "dimensions of the action", label, lines, log_x=True, ticks=True))
    return plotting.bands_figure(panels)


if __name__ == "__main__":
    measure.command("search_dimensions", rows, figure)
