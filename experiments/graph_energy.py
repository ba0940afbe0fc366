"""The energy that has any function for its minimum: the distance to its graph (Florence et al. 2021, arXiv 2109.00137, theorem 1).

    python -m experiments.graph_energy

``E(o, a)``, the distance from the point (o, a) to the closed graph of a function, single-valued or not, changes by no more than the point
moves, and is least exactly where a is a right action at o. Here the graph is given by points of spacing h along the observation, and a is
sought on a grid of the same spacing. At up to 101 observations spread over the box, each half way between two points of the graph, where
that is worst, and none within h of a jump:

* ``error``: the largest distance from the action of least energy to the nearest right one, in units of h;
* ``height``: the largest energy of any right action, of which a multi-valued function has several, in units of h;
* ``lipschitz``: the largest change of E over the distance that (o, a) moves, over 10,000 pairs of points, one in the box and one up to 0.07
  away.

Of a function of slope s the error can be ``(1 + s) / 2``, half a cell of the grid of actions and s h / 2 to the next point, and the height
``sqrt(1 + s^2) / 2``.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Array
from experiments.benchmarks import measure

SPACINGS = (0.1, 0.01, 0.001)
_FUNCTIONS = ("step", "jumps_8", "piecewise", "hyperbola", "lines", "parabola", "hysteresis")
_NUM_OBS, _NUM_PAIRS = 101, 10_000


def distance_to_graph(graph: np.ndarray) -> Callable[[Array, Array], Array]:
    """The energy ``(obs [B, Do], action [N, B, Da]) -> [N, B]`` of a graph given by points ``[G, Do + Da]``."""
    points = jnp.asarray(graph, jnp.float32)

    def energy(obs, action):
        at = jnp.concatenate([jnp.broadcast_to(obs[None], (*action.shape[:-1], obs.shape[-1])), action], axis=-1)

        def of_row(at):  # [N, Do + Da]; differences, as a product would round where the distance is small
            return jnp.sqrt(jnp.min(jnp.sum((at[:, None] - points[None]) ** 2, axis=-1), axis=1))

        return jnp.moveaxis(jax.lax.map(of_row, jnp.moveaxis(at, 1, 0)), 0, 1)

    return energy


def values(name: str, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """The right actions ``[M, B]`` at ``obs [B]``, which of them there are, and where the function jumps."""
    task, at = TASKS[name], jnp.asarray(obs)[:, None]
    if task.modes is None:
        segments = task.evaluate.keywords["segments"]
        return np.asarray(segments(at)).T, np.ones((1, obs.size), bool), segments.edges
    actions, mask = task.modes(at)
    edges = (-0.4, 0.4) if name == "hysteresis" else ()
    return np.asarray(actions[..., 0]), np.asarray(mask), edges


def row(name: str, spacing: float) -> dict:
    """Errors of one function at one spacing."""
    num = round(2 / spacing)
    along = np.linspace(-1, 1, num + 1)
    actions, mask, edges = values(name, along)
    graph = np.stack([np.broadcast_to(along, actions.shape)[mask], actions[mask]], axis=-1)
    energy = jax.jit(distance_to_graph(graph))

    obs = along[np.linspace(0, num - 1, _NUM_OBS).astype(int)] + spacing / 2
    obs = np.unique([x for x in obs if all(abs(x - edge) > spacing for edge in edges)])
    right, mask, _ = values(name, obs)
    low, high = right[mask].min() - 0.5, right[mask].max() + 0.5
    grid = np.arange(low, high, spacing) + np.random.default_rng(0).uniform(0, spacing)
    of_grid = energy(
        jnp.asarray(obs)[:, None], jnp.broadcast_to(jnp.asarray(grid)[:, None, None], (grid.size, obs.size, 1))
    )
    away = np.where(mask[None], np.abs(grid[:, None, None] - right[None]), np.inf)  # [Q, M, B]
    chosen = np.argmin(of_grid, axis=0)
    error = np.take_along_axis(away.min(axis=1), chosen[None], axis=0).max()
    height = np.asarray(energy(jnp.asarray(obs)[:, None], jnp.asarray(right)[..., None]))[mask].max()

    first, moved = jax.random.uniform(jax.random.key(0), (2, _NUM_PAIRS, 2), minval=-1.0)
    second = first + 0.05 * moved
    change = [energy(points[:, :1], points[None, :, 1:])[0] for points in (first, second)]
    slope = jnp.abs(change[0] - change[1]) / jnp.linalg.norm(first - second, axis=-1)
    found = {"error": float(error / spacing), "height": float(height / spacing), "lipschitz": float(jnp.max(slope))}
    return {"function": name, "spacing": spacing} | found


def rows(functions: Sequence[str] = _FUNCTIONS, spacings: Sequence[float] = SPACINGS) -> list[dict]:
    """A row per function and spacing."""
    return [row(name, spacing) for name in functions for spacing in spacings]


if __name__ == "__main__":
    measure.command("graph_energy", rows)
