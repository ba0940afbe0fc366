"""Planar arms with revolute joints: forward kinematics for any number of links, closed-form inverse for two.

Angles are in radians and relative: link i points along ``theta_1 + ... + theta_i``. Lengths and positions share one unit. The base is the
origin, the last joint position the tip.
"""

import math
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey


def uniform_disc(key: PRNGKey, num: int, radius: float) -> Array:
    """Positions ``[num, 2]`` uniform on the disc around the base."""
    key_radius, key_turn = jax.random.split(key)
    distance = radius * jnp.sqrt(jax.random.uniform(key_radius, (num, 1)))
    turn = jax.random.uniform(key_turn, (num, 1), minval=-math.pi, maxval=math.pi)
    return jnp.concatenate([distance * jnp.cos(turn), distance * jnp.sin(turn)], axis=1)


def joints(angles: Array, lengths: Sequence[float]) -> Array:
    """Positions ``[..., n + 1, 2]`` of base, joints and tip for ``angles [..., n]``."""
    chex.assert_axis_dimension(angles, -1, len(lengths))
    heading = jnp.cumsum(angles, axis=-1)
    links = jnp.stack([jnp.cos(heading), jnp.sin(heading)], axis=-1) * jnp.broadcast_to(
        jnp.asarray(lengths, angles.dtype)[:, None], (*angles.shape, 2)
    )
    return jnp.concatenate([jnp.zeros_like(links[..., :1, :]), jnp.cumsum(links, axis=-2)], axis=-2)


def tip(angles: Array, lengths: Sequence[float]) -> Array:
    """Position ``[..., 2]`` of the tip for ``angles [..., n]``."""
    return joints(angles, lengths)[..., -1, :]


def inverse(target: Array, lengths: tuple[float, float]) -> tuple[Array, Array]:
    """Both solutions of a two-link arm.

    ``theta_1`` is not wrapped: it lies in (-3 pi / 2, 3 pi / 2] if the second link is not the longer one, else in (-2 pi, 2 pi].
    Where the target is out of reach, both solutions are the stretched (or folded) arm that comes nearest.

    Args:
      target: ``[..., 2]``.
      lengths: of the two links.

    Returns:
      ``angles [2, ..., 2]``, first the one with ``theta_2 >= 0``, then the one with ``theta_2 <= 0``; ``reachable [...]``.
    """
    chex.assert_axis_dimension(target, -1, 2)
    first, second = lengths
    distance = jnp.hypot(target[..., 0], target[..., 1])
    # tan^2(theta_2 / 2) = (1 - cos) / (1 + cos): unlike the arc cosine it keeps its digits near a stretched arm.
    stretch = jnp.maximum((distance - first + second) * (distance + first - second), 0.0)
    fold = jnp.maximum((first + second - distance) * (first + second + distance), 0.0)
    bend = 2.0 * jnp.arctan2(jnp.sqrt(fold), jnp.sqrt(stretch))
    inner = jnp.arctan2(second * jnp.sin(bend), first + second * jnp.cos(bend))
    direction = jnp.arctan2(target[..., 1], target[..., 0])
    up, down = (jnp.stack([direction - sign * inner, sign * bend], axis=-1) for sign in (1, -1))
    reachable = (distance <= first + second) & (distance >= abs(first - second))
    return jnp.stack([up, down]), reachable


def wrap(angle: Array) -> Array:
    """The same angle in [-pi, pi)."""
    # The remainder may round up to the whole turn.
    wrapped = jnp.mod(angle + math.pi, 2 * math.pi) - math.pi
    return jnp.where(wrapped >= math.pi, -math.pi, wrapped)


def to_sincos(angles: Array) -> Array:
    """``(sin theta_1, cos theta_1, sin theta_2, ...)``, ``[..., 2 n]``, of ``angles [..., n]``."""
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(*angles.shape[:-1], 2 * angles.shape[-1])


def from_sincos(pairs: Array) -> Array:
    """Angles ``[..., n]`` in [-pi, pi] of ``pairs [..., 2 n]``, which need not have length one."""
    pairs = pairs.reshape(*pairs.shape[:-1], pairs.shape[-1] // 2, 2)
    return jnp.arctan2(pairs[..., 0], pairs[..., 1])


def segments_cross(first: Array, second: Array) -> Array:
    """Do two segments ``[..., 2 ends, 2]`` properly cross? ``[...]``; touching does not count."""
    chex.assert_equal_shape([first, second])

    def parted(segment, ends):
        along = segment[..., 1, :] - segment[..., 0, :]
        sides = [_cross(along, ends[..., i, :] - segment[..., 0, :]) for i in (0, 1)]
        return sides[0] * sides[1] < 0

    return parted(first, second) & parted(second, first)


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
