"""One observation, K paths: chunks of H planar actions, in the layouts of `envs.planar`, after Mazza et al. 2026 (arXiv 2605.22493).

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

import functools
import math
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.envs import planar_image
from ebgan_mdn_jax.evaluation import chunks, latents, support
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, Latents, PRNGKey, Spec, require

MOST_TRIES = 50
TAUS = (0.5, 0.1)
_MARGIN = 5.0  # of the action box, in standard deviations
_DRAWS_PER_MODE = 64  # of the rarest, so that an exact sampler misses half a share once in 300,000
_NEIGHBOURS = 500  # chunks, whose distances to each other are held in memory


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
    log_weights = jnp.log(_weights(obs, world)).T
    mode = jax.random.categorical(key_mode, log_weights, shape=(num_samples, obs.shape[0]))
    return env.to_actions(follow(key_path, world.layout, mode), world.actions)


def log_prob(obs: Array, action: Array, world: World) -> Array:
    """Of the mixture before clipping and rejection, ``[..., B]`` nats; displacements have the density of the positions they add up to."""
    points = env.positions(jnp.asarray(world.layout.paths[0, 0], float), action, world.actions)
    means = jnp.asarray(world.layout.chunks.reshape(len(world.weights), -1), action.dtype)
    means = jnp.broadcast_to(means, (obs.shape[0], *means.shape))
    exact = mixtures.Mixture(jnp.log(_weights(obs, world)).T, means, jnp.full_like(means, world.layout.noise))
    return mixtures.log_prob(exact, points[..., 1:, :].reshape(action.shape))


def modes(obs: Array, world: World) -> tuple[Array, Array]:
    """Noise-free chunks ``[K, B, 2 H]`` and which of them can be right ``[K, B]``."""
    chunk = env.to_actions(jnp.asarray(world.layout.paths, float), world.actions)
    weights = _weights(obs, world)
    return jnp.broadcast_to(chunk[:, None], (*weights.shape, chunk.shape[-1])), weights > 0


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, world: World
) -> dict[str, Array]:
    """All metrics, averaged over contexts as they occur; in %, but for the density's.

    Of S = ``num_samples`` draws, as published: ``collision``; ``reach``, ending near the end of a mode; ``long_enough``, half as long as
    demonstrations; ``success``, both without a collision; ``mode_hits`` and ``hit_entropy`` of those that hit nothing (``valid_``: that
    succeed), and ``behaviour_entropy``, ``valid_hit_entropy`` without its bias. Of ``num_draws`` draws, or S if that is more:
    ``on_support``, in the tube of a mode; ``bridge`` and ``astray``, the rest, by `chunks.between_modes`; ``share_coverage``, modes with at
    least tau times their share; ``share_error``. Of 500 draws and as many fresh demonstrations ``knn_precision`` and ``knn_recall``
    (`support.precision_recall`), which ask for no modes. ``heldout_nll`` in nats. Where each context has one mode there is no entropy, and
    no error of shares.

    With a context, ``success`` and what else is as published do not ask whether it allows the way that was taken, nor which one a bridge
    leads to; ``on_support``, shares and neighbours do.
    """
    layout, obs = world.layout, jnp.asarray(world.inputs, float)
    paths, weights = (jnp.asarray(values, float) for values in (layout.paths, world.weights))
    exists, obstacles = weights > 0, jnp.asarray(layout.obstacles, float)

    draws = policy.sample(key, obs, max(config.num_draws, config.num_samples))
    points = env.positions(paths[0, 0], draws, world.actions)
    distance = chunks.distances(points[..., 1:, :], paths[:, 1:])

    few, few_distance = jax.tree.map(lambda x: x[: config.num_samples], (points, distance))
    ends = chunks.outcomes(
        few, env.collides(few, obstacles), paths[:, -1], *leniency(layout, world.weights @ world.occurrence)
    )
    metrics = {name: 100.0 * jnp.mean(values, axis=0) for name, values in ends._asdict().items()}
    several = np.all(np.sum(world.weights > 0, axis=0) > 1)
    for prefix, valid in (("", ~ends.collision), ("valid_", ends.success)):
        metrics[f"{prefix}mode_hits@S={config.num_samples}"] = chunks.mode_hits(few_distance, valid, exists)
        if several:
            metrics[f"{prefix}hit_entropy@S={config.num_samples}"] = chunks.hit_entropy(few_distance, valid, exists)
    if several:
        entropy = chunks.hit_entropy(few_distance, ends.success, exists, corrected=True)
        metrics[f"behaviour_entropy@S={config.num_samples}"] = entropy

    member = chunks.on_mode(distance, layout.tube) & exists[None]
    share = chunks.mode_shares(member)
    between = chunks.between_modes(points[..., 1:, :], paths[:, 1:], distance, weights)
    off = ~jnp.any(member, axis=1)
    metrics["on_support"] = 100.0 * jnp.sum(share, axis=0)
    metrics["bridge"] = 100.0 * jnp.mean(off & between, axis=0)
    metrics["astray"] = 100.0 * jnp.mean(off & ~between, axis=0)
    metrics |= {f"share_coverage@tau={tau:g}": chunks.share_coverage(share, weights, tau) for tau in TAUS}
    if several:
        metrics["share_error"] = chunks.share_error(share, weights)
    fresh = sample(jax.random.fold_in(key, 2), obs, _NEIGHBOURS, world)
    pairs = draws[:_NEIGHBOURS].swapaxes(0, 1), fresh.swapaxes(0, 1)
    near = jax.lax.map(lambda pair: support.precision_recall(*pair), pairs)
    metrics |= dict(zip(("knn_precision", "knn_recall"), near, strict=True))
    metrics = {name: jnp.sum(values * jnp.asarray(world.occurrence, float)) for name, values in metrics.items()}
    if policy.latents is not None:
        metrics |= latent_metrics(jax.random.fold_in(key, 1), policy.latents, data.train, points, world)
    return metrics if is_clipped(layout) else metrics | heldout_nll(policy, data)


def latent_metrics(key: PRNGKey, codes: Latents, batch: Batch, points: Array, world: World) -> dict[str, Array]:
    """Of a policy's codes of its demonstrations: what `latents.measure` has, in half extents of the action box, and four more, in %.

    ``decoding_error``: of what posterior draws decode to, how much is nearest to another mode than the demonstration is;
    ``reconstructed``: how much is in the tube of the demonstration's mode. ``zero_on_support``: how often the action at z = 0 is in a
    tube. ``draw_variance``: the variance of the policy's own draws, ``points [N, C, H + 1, 2]`` in the C contexts, relative to that of
    demonstrations.
    """
    paths, contexts = jnp.asarray(world.layout.paths, float), len(world.inputs)
    group = _context(batch.obs, world)
    low, high = jnp.asarray(_box(world), float)
    unit = (high - low) / 2
    metrics, decoded, at_zero = latents.measure(key, codes, batch, group, contexts, unit)

    def distances(action):
        return chunks.distances(env.positions(paths[0, 0], action, world.actions)[..., 1:, :], paths[:, 1:])

    mode = jnp.argmin(distances(batch.action[None]).mean, axis=1)  # [1, B]
    of_own, exists = jnp.arange(paths.shape[0])[:, None] == mode, (jnp.asarray(world.weights) > 0)[:, group]
    distance, of_zero = distances(decoded), distances(at_zero[None])
    wrong = jnp.argmin(distance.mean, axis=1) != jnp.broadcast_to(mode, decoded.shape[:2])
    metrics["decoding_error"] = 100.0 * jnp.mean(wrong)
    for name, at, allowed in (("reconstructed", distance, of_own), ("zero_on_support", of_zero, exists)):
        inside = chunks.on_mode(at, world.layout.tube) & allowed[None]
        metrics[name] = 100.0 * jnp.mean(jnp.any(inside, axis=1))

    draws = env.to_actions(points, world.actions)
    variance = jnp.mean(jnp.var(draws / jnp.broadcast_to(unit, draws.shape), axis=0), axis=-1)
    metrics["draw_variance"] = 100.0 * jnp.sum(variance * jnp.asarray(world.occurrence, float))
    metrics["draw_variance"] /= metrics["spread@squared"]
    return metrics


def leniency(layout: env.Layout, weights: np.ndarray) -> tuple[float, float]:
    """Distance within which an end is reached, and least length of a way, as published, from the law of demonstrations before clipping.

    The larger of 0.1 and mean plus 5 deviations of how far they end from a mode's end (Rayleigh); half of their mean length (Rice). Noise
    lengthens a way of many short steps so much that half of it can be longer than the mode itself, which then fails without noise.
    """
    off = layout.noise * (np.sqrt(np.pi / 2) + 5 * np.sqrt(2 - np.pi / 2))
    steps = np.linalg.norm(np.diff(layout.paths, axis=1), axis=-1)
    scale = np.full(steps.shape[1], np.sqrt(2) * layout.noise)
    scale[0] = layout.noise  # the start has none
    lengths = np.sum(scipy.stats.rice.mean(steps / scale, scale=scale), axis=1)
    return float(max(0.1, off)), float(0.5 * lengths @ weights)


def is_clipped(layout: env.Layout) -> bool:
    """Whether some path is so close to the edge of the square that noise is cut off there, more than once in 300,000 coordinates."""
    return bool(np.min(np.minimum(layout.chunks, 1 - layout.chunks)) < 4.5 * layout.noise)


def make(
    name: env.Name,
    num_modes: int | None = None,
    chunk: int = 60,
    actions: env.Actions = "position",
    weights: tuple[float, ...] | None = None,
    flip: float | None = None,
    styles: int = 1,
    noise: float | None = None,
    image: bool = False,
) -> Task:
    """A task in one of the layouts.

    Judged by ``share_coverage@tau=0.5``: it falls when a mode is dropped, gets less than half of its weight, or loses half of its chunks to
    bridges; a policy that always takes one mode can be on support and successful throughout, and mode hits take one chunk for a mode.

    Args:
      name: see `envs.planar.make_layout`, as for ``num_modes``, ``styles`` and ``noise``.
      num_modes: K, where the layout lets one choose.
      chunk: H, steps from start to end.
      actions: "position" or "displacement".
      weights: probability of each mode; equal by default.
      flip: with a context: the probability that it names a wrong mode; None: without.
      styles: ways to pass each gap of the corridor.
      noise: standard deviation of a coordinate.
      image: whether the observation is an image; for methods with an encoder of images.

    Raises:
      InputError: if an argument is not among these, or the weights are not one for each mode and positive, or do not add up to 1.
    """
    layout = env.make_layout(name, num_modes, chunk, styles, noise)
    count = len(layout.paths)
    require(actions in get_args(env.Actions), f"actions={actions!r}: expected 'position' or 'displacement'")
    weights = np.full(count, 1 / count) if weights is None else np.asarray(weights, float)
    sound = weights.shape == (count,) and np.all(weights > 0) and abs(weights.sum() - 1) < 1e-6
    require(sound, f"weights={weights.tolist()}: expected {count} positive numbers that add up to 1")
    require(flip is None or 0 <= flip <= 1, f"flip={flip}: expected a probability")

    inputs, given_mode = np.float32(layout.paths[:1, 0]), np.ones((count, 1))
    if flip is not None:
        given_mode = np.where(np.eye(count, dtype=bool), 1 - flip, flip / (count - 1))
        inputs = np.concatenate([np.broadcast_to(inputs, (count, 2)), np.eye(count, dtype=np.float32)], axis=1)
    box = inputs.min(0), inputs.max(0)
    if image:
        named = layout.paths[:, None, chunk // 2] if flip is not None else np.zeros((1, 0, 2))
        inputs = planar_image.render(inputs[:, :2], named, layout.obstacles, np)
        box = np.zeros(inputs.shape[1]), np.ones(inputs.shape[1])
        alike = len(np.unique(inputs, axis=0)) < len(inputs)
        require(not alike, f"image={image}: some ways of {name} share their middle, so that a mark there names none")
    joint = weights[:, None] * given_mode
    world = World(layout, actions, inputs, joint.sum(0), joint / joint.sum(0), given_mode)
    density = None if is_clipped(layout) else functools.partial(log_prob, world=world)
    return Task(
        spec=Spec(*(tuple(map(float, side)) for side in box), *_box(world), planar_image.SHAPE if image else ()),
        num_demonstrations=1000,
        evaluation=EvaluationConfig(
            num_samples=200,
            num_draws=max(1000, math.ceil(_DRAWS_PER_MODE / world.weights[world.weights > 0].min() - 1e-6)),
        ),
        evaluate=functools.partial(evaluate, world=world),
        demonstrations=functools.partial(demonstrations, world=world),
        conditional=Conditional(functools.partial(sample, world=world), density),
        modes=functools.partial(modes, world=world),
        normalize=True,
        primary=f"share_coverage@tau={TAUS[0]:g}",
    )


def position_box(layout: env.Layout) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and largest position of demonstrations, within the square."""
    low = np.maximum(layout.chunks.min((0, 1)) - _MARGIN * layout.noise, 0.0)
    high = np.minimum(layout.chunks.max((0, 1)) + _MARGIN * layout.noise, 1.0)
    return tuple(map(float, low)), tuple(map(float, high))


def _box(world: World) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Least and largest action, one range for all steps of a coordinate, so that a network sees steps in one scale."""
    layout = world.layout
    chunk = layout.chunks.shape[1]
    if world.actions == "position":
        low, high = position_box(layout)
        return low * chunk, high * chunk
    most = np.abs(np.diff(layout.paths, axis=1)).max((0, 1)) + _MARGIN * np.sqrt(2) * layout.noise
    return tuple(map(float, np.tile(-most, chunk))), tuple(map(float, np.tile(most, chunk)))


def _context(obs: Array, world: World) -> Array:
    """Which of the inputs ``obs [B, Do]`` is each, ``[B]``."""
    inputs = jnp.asarray(world.inputs, obs.dtype)
    return jnp.argmin(jax.lax.map(lambda one: jnp.sum((obs - one[None]) ** 2, axis=1), inputs), axis=0)


def _weights(obs: Array, world: World) -> Array:
    """Probabilities ``[K, B]`` of the modes at ``obs [B, Do]``."""
    return jnp.asarray(world.weights, float)[:, _context(obs, world)]


def _apportion(num: int, weights: np.ndarray) -> np.ndarray:
    """Counts ``[K]`` that add up to ``num``, each within one of its share (largest remainders)."""
    share = num * weights
    counts = np.floor(share + 1e-9).astype(int)
    counts[np.argsort(counts - share, kind="stable")[: num - counts.sum()]] += 1
    return counts


VARIANTS: dict[str, Task] = {
    "planar_circle": make("circle"),
    "planar_circle_context": make("circle", flip=0.0),
    "planar_circle_image": make("circle", chunk=16, flip=0.0, image=True),
    **{f"planar_fading_{percent}": make("circle", chunk=16, flip=percent / 100) for percent in (0, 10, 25, 50)},
    "planar_sequential": make("sequential"),
    "planar_avoiding": make("avoiding"),
    **{f"radial_{k}": make("radial", k) for k in (8, 16, 32)},
    **{f"radial_{k}_short": make("radial", k, chunk=16) for k in (2, 4, 8, 16, 32, 64)},
    **{f"radial_{k}_short_displacement": make("radial", k, chunk=16, actions="displacement") for k in (2, 8, 32)},
    "radial_8_short_imbalanced": make("radial", 8, chunk=16, weights=(0.2, 0.05) * 4),
    "radial_8_short_rare": make("radial", 8, chunk=16, weights=(20 / 84, 1 / 84) * 4),
    **{f"radial_8_short_noisy_{k}": make("radial", 8, chunk=16, noise=0.006 * k) for k in (2, 4)},
    **{f"corridor_{k}": make("corridor", k) for k in (8, 16)},
}
