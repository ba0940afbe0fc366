"""How well do chunks of planar positions keep to the modes of a task? Success and coverage as published, and stricter measures.

All functions take N chunks at B observations as positions ``points [N, B, H, 2]``, and ``modes [K, H, 2]``, noise-free; ``exists [K, B]``
says which modes an observation has, ``weights [K, B]`` how likely they are. Percentages ``[B]``; pure, to be jitted and vmapped.

`outcomes`, `mode_hits` and `hit_entropy` are the metrics of Mazza et al. 2026 (arXiv 2605.22493), after their code. They are lenient: a
chunk between two modes counts for the nearest one, one chunk is enough for a mode, and with close ends every end is near one. So there are
tubes: a chunk is on a mode if no position is further from the mode's than a radius. Chunks on no mode are bridges if they lie between
modes, and astray else.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


class Distances(NamedTuple):
    """From chunks to modes, ``[N, K, B]``: the mean over time, and the ``farthest``."""

    mean: Array
    farthest: Array


class Outcomes(NamedTuple):
    """Of rollouts, bool ``[N, B]``; ``success`` is to reach an end, go far enough and hit nothing."""

    collision: Array
    reach: Array
    long_enough: Array
    success: Array


def distances(points: Array, modes: Array) -> Distances:
    """Euclidean distances of chunks to all modes, point by point in time."""
    chex.assert_rank([points, modes], [4, 3])
    chex.assert_equal_shape_suffix([points, modes], 2)

    def to(mode):
        apart = jnp.linalg.norm(points - jnp.broadcast_to(mode, points.shape), axis=-1)
        return Distances(jnp.mean(apart, axis=-1), jnp.max(apart, axis=-1))

    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), jax.lax.map(to, modes))


def outcomes(points: Array, collision: Array, ends: Array, reach_radius: float, least_length: float) -> Outcomes:
    """What happens on the way and at the end.

    Args:
      points: ``[N, B, H + 1, 2]`` with the start, so that all of the way is measured.
      collision: bool ``[N, B]``, which of them hit something.
      ends: ``[K, 2]``, where modes end; any will do.
      reach_radius: distance to an end below which it is reached.
      least_length: of the way, to tell a closed loop from standing still.
    """
    chex.assert_shape(points, (*collision.shape, None, 2))
    to_ends = points[..., -1:, :] - jnp.broadcast_to(ends, (*collision.shape, *ends.shape))
    reach = jnp.any(jnp.linalg.norm(to_ends, axis=-1) < reach_radius, axis=-1)
    length = jnp.sum(jnp.linalg.norm(jnp.diff(points, axis=-2), axis=-1), axis=-1)
    long_enough = length >= least_length
    return Outcomes(collision, reach, long_enough, reach & long_enough & ~collision)


def mode_hits(distance: Distances, valid: Array, exists: Array) -> Array:
    """% of modes that are the nearest one, on average over time, to at least one of the ``valid [N, B]`` chunks."""
    count = _nearest_counts(distance, valid)
    return 100.0 * jnp.sum((count > 0) & exists, axis=0) / jnp.sum(exists, axis=0)


def hit_entropy(distance: Distances, valid: Array, exists: Array, corrected: bool = False) -> Array:
    """Entropy of the shares of valid chunks that have each mode as their nearest, in % of that of equal shares; 0 if none is valid.

    With successes as valid chunks this is D3IL's behaviour entropy (Jia et al. 2024, arXiv 2402.14606, equation 1). Counts of n chunks on m
    modes give too little, by about ``(m - 1) / 2n`` nats; ``corrected`` adds it, up to 100 % (Miller 1955). NaN where there is one mode.
    """
    count = _nearest_counts(distance, valid) * exists
    total = jnp.maximum(jnp.sum(count, axis=0), 1.0)
    share = count / total[None]
    entropy, most = -jnp.sum(jax.scipy.special.xlogy(share, share), axis=0), jnp.log(jnp.sum(exists, axis=0))
    if corrected:
        met = jnp.maximum(jnp.sum(count > 0, axis=0), 1)
        entropy = jnp.minimum(entropy + (met - 1) / (2 * total), most)
    return 100.0 * entropy / most


def on_mode(distance: Distances, radius: float) -> Array:
    """Which mode each chunk is on, bool ``[N, K, B]``: within its tube, and if tubes meet the one that it is deepest in."""
    return _is_least(distance.farthest) & (distance.farthest <= radius)


def mode_shares(member: Array) -> Array:
    """Shares ``[K, B]`` of all chunks that are on each mode, from `on_mode`, where only modes that exist count. Their sum is on support."""
    return jnp.mean(member, axis=0)


def share_coverage(share: Array, weights: Array, least: float) -> Array:
    """% of modes whose share of chunks, from `mode_shares`, is at least ``least`` times their weight."""
    chex.assert_equal_shape([share, weights])
    exists = weights > 0
    return 100.0 * jnp.sum((share >= least * weights) & exists, axis=0) / jnp.sum(exists, axis=0)


def share_error(share: Array, weights: Array) -> Array:
    """Total variation distance of the modes' shares among chunks on support to their weights, percentage points; 100 without any."""
    chex.assert_equal_shape([share, weights])
    total = jnp.sum(share, axis=0)
    apart = jnp.sum(jnp.abs(share - total[None] * weights), axis=0) / jnp.maximum(total, 1e-12)
    return jnp.where(total > 0, 50.0 * apart, 100.0)


def between_modes(points: Array, modes: Array, distance: Distances, weights: Array) -> Array:
    """Which chunks, bool ``[N, B]``, leave their nearest mode in the direction of others: blends of modes, among those on none.

    That is: from the nearest mode's positions at each time it is a way to those of the next nearest mode, or to the mean of all; of the
    squared distance to the nearest mode, summed over time, at least half must be explained by going part of that way, at each time
    another part. Blends are explained fully, and changes from one mode to another under way; independent noise by a quarter; what is far
    from everything, hardly. (That the two nearest modes are about equally far would not do: so they are for a chunk far away, and not for a
    blend of 30 and 70 %.)
    """
    nearest = modes[jnp.argmin(distance.mean, axis=1)]  # [N, B, T, 2]
    second = modes[jnp.argmin(jnp.where(_is_least(distance.mean), jnp.inf, distance.mean), axis=1)]
    mean = jnp.broadcast_to(jnp.einsum("kb,ktd->btd", weights, modes), points.shape)
    away = points - nearest

    def unexplained(way):
        part = jnp.sum(away * way, axis=-1) / jnp.maximum(jnp.sum(way**2, axis=-1), 1e-12)
        return jnp.sum((away - jnp.clip(part, 0.0, 1.0)[..., None] * way) ** 2, axis=(-2, -1))

    least = jnp.minimum(unexplained(second - nearest), unexplained(mean - nearest))
    return least <= 0.5 * jnp.sum(away**2, axis=(-2, -1))


def tube_gaps(modes: Array, radius: float) -> Array:
    """Euclidean distances ``[K, K]`` between tubes around ``modes [K, H, 2]``, as sets of chunks: the gap of `theory.isoperimetric_sum`.

    Positions are free of each other, so it is ``sqrt(sum_t max(0, |mu_i - mu_j|_t - 2 radius)^2)``.
    """
    apart = jax.vmap(lambda mode: jnp.linalg.norm(modes - jnp.broadcast_to(mode, modes.shape), axis=-1))(modes)
    return jnp.linalg.norm(jnp.maximum(apart - 2 * radius, 0.0), axis=-1)


def _nearest_counts(distance: Distances, valid: Array) -> Array:
    """Numbers ``[K, B]`` of valid chunks that have each mode as their nearest."""
    return jnp.sum(_is_least(distance.mean) & valid[:, None], axis=0).astype(distance.mean.dtype)


def _is_least(values: Array) -> Array:
    """Where along the second axis of ``values [N, K, B]`` the least one is, bool."""
    least = jnp.argmin(values, axis=1, keepdims=True)
    return least == jax.lax.broadcasted_iota(least.dtype, values.shape, 1)
