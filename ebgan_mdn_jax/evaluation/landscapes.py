"""The shape of an energy over a grid of scalar actions."""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def local_minima(energy: Array) -> Array:
    """Where ``energy [Q, B]`` on ascending actions has a minimum, ``[Q, B]``: it fell until there and rises from there on.

    Beyond the ends of the grid it is taken to be higher. Of a flat valley the last action counts.
    """
    chex.assert_rank(energy, 2)
    wall = jnp.ones_like(energy[:1])
    rise = jnp.concatenate([-wall, jnp.sign(energy[1:] - energy[:-1]), wall])
    last = jax.lax.associative_scan(lambda before, after: jnp.where(after == 0, before, after), rise)
    return (last[:-1] < 0) & (rise[1:] > 0)


def steepest(energy: Array, spacing: float) -> Array:
    """Largest slope between neighbouring actions of ``energy [Q, B]``, on a grid of this spacing, a scalar; nats per action unit."""
    chex.assert_rank(energy, 2)
    return jnp.max(jnp.abs(energy[1:] - energy[:-1])) / spacing
