r"""Distances between curves in the plane, given as points one after another.

The discrete Frechet distance (Eiter and Mannila 1994) of :math:`p_1, ..., p_n` and :math:`q_1, ..., q_m` is the length of the shortest
leash of two who walk along them, either of whom may wait, from the first points to the last:

.. math:: c_{ij} = \max\big(|p_i - q_j|, \min(c_{i-1,j}, c_{i-1,j-1}, c_{i,j-1})\big), \qquad F = c_{nm}.
"""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def timed_distance(a: Array, b: Array) -> Array:
    """Mean distance ``[B]`` of the points at the same times of curves ``[B, T, 2]``."""
    chex.assert_equal_shape([a, b])
    return jnp.mean(jnp.linalg.norm(a - b, axis=-1), axis=-1)


def frechet_distance(a: Array, b: Array) -> Array:
    """Discrete Frechet distance ``[B]`` of curves ``[B, n, 2]`` and ``[B, m, 2]``."""
    chex.assert_rank([a, b], 3)
    far = jnp.full(a.shape[0], jnp.inf, a.dtype)

    def next_point(above, point):
        """Costs ``[m, B]`` of the row of ``point [B, 2]``, from those of the row above; left of each row all is out of reach."""
        apart = jnp.linalg.norm(jnp.moveaxis(b, 1, 0) - point[None], axis=-1)
        corner = jnp.concatenate([far[None], above[:-1]])

        def along(left, column):
            apart, above, corner = column
            cost = jnp.maximum(apart, jnp.minimum(jnp.minimum(above, corner), left))
            return cost, cost

        _, row = jax.lax.scan(along, far, (apart, above, corner))
        return row, None

    # Before the first row only its corner is reached, at no cost: the first row is that of a walk along b.
    first = jnp.linalg.norm(jnp.moveaxis(b, 1, 0) - a[None, :, 0], axis=-1)
    costs, _ = jax.lax.scan(next_point, jax.lax.cummax(first, axis=0), jnp.moveaxis(a, 1, 0)[1:])
    return costs[-1]
