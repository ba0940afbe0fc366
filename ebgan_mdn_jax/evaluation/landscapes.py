"""The shape of an energy over a grid of scalar actions."""

import chex
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def local_minima(energy: Array) -> Array:
    """Where ``energy [Q, B]`` on ascending actions is below both neighbours, ``[Q, B]``; at an end of the grid, below its one.

    Of actions of equal energy side by side the last one counts.
    """
    chex.assert_rank(energy, 2)
    wall = jnp.full_like(energy[:1], jnp.inf)
    before, after = jnp.concatenate([wall, energy[:-1]]), jnp.concatenate([energy[1:], wall])
    return (energy <= before) & (energy < after)


def steepest(energy: Array, spacing: float) -> Array:
    """Largest slope between neighbouring actions of ``energy [Q, B]``, on a grid of this spacing, a scalar; nats per action unit."""
    chex.assert_rank(energy, 2)
    return jnp.max(jnp.abs(energy[1:] - energy[:-1])) / spacing
