"""Which modes do samples reach, and how far off the modes are they?

All functions take ``samples [N, B, Da]`` at B observations and the true ``modes [M, B, Da]`` with ``mask [M, B]``, since the number of
modes may change with the observation. The paper's code for TMC and AMC is lost; the definitions follow from its numbers.
"""

import chex
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def distances(samples: Array, modes: Array, mask: Array) -> Array:
    """Euclidean distances ``[N, M, B]``; infinite to modes that do not exist."""
    chex.assert_rank([samples, modes, mask], [3, 3, 2])
    chex.assert_equal_shape_prefix((modes, mask), 2)
    chex.assert_equal_shape_suffix((samples, modes), 2)
    difference = jnp.expand_dims(samples, 1) - jnp.expand_dims(modes, 0)
    distance = jnp.sqrt(jnp.sum(difference**2, -1))
    return jnp.where(jnp.broadcast_to(mask, distance.shape), distance, jnp.inf)


def captured(distance: Array, tolerance: float) -> Array:
    """Modes ``[M, B]`` with at least one of the N samples within ``tolerance``, from `distances`."""
    return jnp.any(distance <= tolerance, axis=0)


def total_mode_coverage(distance: Array, mask: Array, tolerance: float) -> Array:
    """TMC: percentage of observations at which all modes are captured, a scalar."""
    return 100.0 * jnp.mean(jnp.all(captured(distance, tolerance) | ~mask, axis=0))


def average_modes_captured(distance: Array, tolerance: float) -> Array:
    """AMC: captured modes per observation, a scalar."""
    return jnp.mean(jnp.sum(captured(distance, tolerance), axis=0))


def mode_coverage(distance: Array, mask: Array, tolerance: float) -> Array:
    """Percentage of all modes, over all observations, that are captured, a scalar."""
    return 100.0 * jnp.sum(captured(distance, tolerance)) / jnp.sum(mask)


def nearest_mode_distance(distance: Array) -> Array:
    """Mean distance of a sample to the nearest mode, in action units, a scalar."""
    return jnp.mean(jnp.min(distance, axis=1))


def mode_shares(distance: Array, weight: Array | None = None) -> Array:
    """Shares ``[M, B]`` of the samples, of equal ``weight`` or those given ``[N, B]``, that have each mode as their nearest."""
    nearest = jnp.argmin(distance, axis=1)
    weight = jnp.full(nearest.shape, 1.0 / nearest.shape[0]) if weight is None else weight
    is_mode = nearest[None] == jnp.arange(distance.shape[1])[:, None, None]
    return jnp.sum(jnp.where(is_mode, weight[None], 0.0), axis=1)


def balanced(shares: Array, true_shares: Array, mask: Array, tolerance: float = 0.4) -> Array:
    """Percentage of observations with several modes at which all ``shares [M, B]`` are within ``tolerance`` times the true ones of them.

    NaN where no observation has several modes.
    """
    chex.assert_equal_shape([shares, true_shares, mask])
    right = jnp.all((jnp.abs(shares - true_shares) <= tolerance * true_shares) | ~mask, axis=0)
    several = jnp.sum(mask, axis=0) > 1
    return 100.0 * jnp.sum(right & several) / jnp.sum(several)


def downhill_to_mode(slope: Array, actions: Array, modes: Array, mask: Array, least_distance: float) -> Array:
    """Percentage of ``actions [Q, B, Da]`` off the modes at which ``-slope [Q, B, Da]``, of an energy, points to the nearest mode.

    "Points to": at an angle below 90 degrees. Actions within ``least_distance`` of a mode do not count.
    """
    chex.assert_equal_shape([slope, actions])
    distance = distances(actions, modes, mask)
    nearest = jnp.argmin(distance, axis=1)
    target = jnp.take_along_axis(modes, nearest[..., None], axis=0)
    downhill = jnp.sum(-slope * (target - actions), axis=-1) > 0
    off = jnp.min(distance, axis=1) > least_distance
    return 100.0 * jnp.sum(downhill & off) / jnp.sum(off)
