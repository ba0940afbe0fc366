"""What demonstrations of planar chunks are drawn from, in the layouts of `envs.planar`, after Mazza et al. 2026 (arXiv 2605.22493).

A demonstration follows one mode's path from the start to its end, with independent noise ``N(0, sigma^2)`` on each coordinate of each
position, clipped to the unit square, and drawn again, up to 50 times, while it hits an obstacle. The action is the whole chunk ``[2 H]``:
the positions to go to, or the displacements, whose noise then is ``sqrt(2) sigma`` a step and negatively correlated from one to the next
(a policy that draws them independently walks away from every mode). The observation is the start, the same in all rows, and where there
is a context also a one-hot vector that names the mode, or with probability ``flip`` another one: a control whose multimodality is to fade
as the context tells more. As an image (`envs.planar_image`) it shows the same: obstacles, the start, and the middle of the way that the
context names.

The exact conditional can be sampled. Its density is the mixture of K Gaussians before clipping and rejection: exact for the circle, up to
the chance of a collision for the others (a mode's true density is higher by one over the share that is accepted). At both ends of
"sequential" clipping leaves atoms, so that task has no density.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.types import Array, Batch, PRNGKey

MOST_TRIES = 50
_MARGIN = 5.0  # of the action box, in standard deviations


class World(NamedTuple):
    """A layout with its modes' probabilities, NumPy: C contexts, or 1 where there are none, and their modes.

    ``inputs [C, Do]`` are the observations, no two alike, ``occurrence [C]`` how often each is seen, ``weights [K, C]`` the modes'
    probabilities there, and ``given_mode [K, C]`` the contexts' probabilities given the mode.
    """

    layout: env.Layout
    actions: env.Actions
    inputs: np.ndarray
    occurrence: np.ndarray
    weights: np.ndarray
    given_mode: np.ndarray


def follow(key: PRNGKey, layout: env.Layout, mode: Array) -> Array:
    """Noisy positions ``[..., H + 1, 2]`` along the paths of ``mode [...]``, collision-free but for what 50 tries did not mend."""
    obstacles, paths = jnp.asarray(layout.obstacles, float), jnp.asarray(layout.paths, float)[mode]

    def attempt(carry):
        index, points, hit = carry
        noise = layout.noise * jax.random.normal(jax.random.fold_in(key, index), paths.shape)
        fresh = jnp.clip(paths + noise.at[..., 0, :].set(0.0), 0.0, 1.0)
        return index + 1, jnp.where(hit[..., None, None], fresh, points), hit & env.collides(fresh, obstacles)

    none = 0, paths, jnp.ones(mode.shape, bool)
    return jax.lax.while_loop(lambda carry: (carry[0] < MOST_TRIES) & jnp.any(carry[2]), attempt, none)[1]


def demonstrations(key: PRNGKey, num: int, world: World) -> Batch:
    """Each mode as often as its weight says, to within one row, in random order."""
    key_order, key_context, key_path = jax.random.split(key, 3)
    counts = _apportion(num, world.weights @ world.occurrence)
    mode = jax.random.permutation(key_order, jnp.asarray(np.repeat(np.arange(len(counts)), counts)))
    context = jax.random.categorical(key_context, jnp.log(jnp.asarray(world.given_mode, float))[mode])
    action = env.to_actions(follow(key_path, world.layout, mode), world.actions)
    return Batch(jnp.asarray(world.inputs, float)[context], action)


def sample(key: PRNGKey, obs: Array, num_samples: int, world: World) -> Array:
    """Draws ``[N, B, 2 H]`` of the exact conditional."""
    key_mode, key_path = jax.random.split(key)
    log_weights = jnp.log(weights_at(obs, world)).T
    mode = jax.random.categorical(key_mode, log_weights, shape=(num_samples, obs.shape[0]))
    return env.to_actions(follow(key_path, world.layout, mode), world.actions)


def log_prob(obs: Array, action: Array, world: World) -> Array:
    """Of the mixture before clipping and rejection, ``[..., B]`` nats; displacements have the density of the positions they add up to."""
    points = env.positions(jnp.asarray(world.layout.paths[0, 0], float), action, world.actions)
    means = jnp.asarray(world.layout.chunks.reshape(len(world.weights), -1), action.dtype)
    means = jnp.broadcast_to(means, (obs.shape[0], *means.shape))
    exact = mixtures.Mixture(jnp.log(weights_at(obs, world)).T, means, jnp.full_like(means, world.layout.noise))
    return mixtures.log_prob(exact, points[..., 1:, :].reshape(action.shape))


def modes(obs: Array, world: World) -> tuple[Array, Array]:
    """Noise-free chunks ``[K, B, 2 H]`` and which of them can be right ``[K, B]``."""
    chunk = env.to_actions(jnp.asarray(world.layout.paths, float), world.actions)
    weights = weights_at(obs, world)
    return jnp.broadcast_to(chunk[:, None], (*weights.shape, chunk.shape[-1])), weights > 0


def is_clipped(layout: env.Layout) -> bool:
    """Whether some path is so close to the edge of the square that noise is cut off there, more than once in 300,000 coordinates."""
    return bool(np.min(np.minimum(layout.chunks, 1 - layout.chunks)) < 4.5 * layout.noise)


def position_box(layout: env.Layout) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and largest position of demonstrations, within the square."""
    low = np.maximum(layout.chunks.min((0, 1)) - _MARGIN * layout.noise, 0.0)
    high = np.minimum(layout.chunks.max((0, 1)) + _MARGIN * layout.noise, 1.0)
    return tuple(map(float, low)), tuple(map(float, high))


def action_box(world: World) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and largest action, one range for all steps of a coordinate, so that a network sees steps in one scale."""
    layout = world.layout
    chunk = layout.chunks.shape[1]
    if world.actions == "position":
        low, high = position_box(layout)
        return low * chunk, high * chunk
    most = np.abs(np.diff(layout.paths, axis=1)).max((0, 1)) + _MARGIN * np.sqrt(2) * layout.noise
    return tuple(map(float, np.tile(-most, chunk))), tuple(map(float, np.tile(most, chunk)))


def context_of(obs: Array, world: World) -> Array:
    """Which of the inputs ``obs [B, Do]`` is each, ``[B]``."""
    inputs = jnp.asarray(world.inputs, obs.dtype)
    return jnp.argmin(jax.lax.map(lambda one: jnp.sum((obs - one[None]) ** 2, axis=1), inputs), axis=0)


def weights_at(obs: Array, world: World) -> Array:
    """Probabilities ``[K, B]`` of the modes at ``obs [B, Do]``."""
    return jnp.asarray(world.weights, float)[:, context_of(obs, world)]


def _apportion(num: int, weights: np.ndarray) -> np.ndarray:
    """Counts ``[K]`` that add up to ``num``, each within one of its share (largest remainders)."""
    share = num * weights
    counts = np.floor(share + 1e-9).astype(int)
    counts[np.argsort(counts - share, kind="stable")[: num - counts.sum()]] += 1
    return counts
