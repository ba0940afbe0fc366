"""Distances between a conditional density and the true one, by quadrature on a grid of actions."""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, Spec


def action_grid(spec: Spec, num_points: int, margin: float = 0.15) -> tuple[Array, float]:
    """Cell centres ``[Q, Da]`` of the action box widened on each side by ``margin`` of its extent, and the volume of a cell.

    There are ``num_points`` per dimension.
    """
    axes, volume = [], 1.0
    for low, high in zip(spec.action_low, spec.action_high, strict=True):
        start, width = low - margin * (high - low), (1 + 2 * margin) * (high - low) / num_points
        axes.append(start + width * (jnp.arange(num_points) + 0.5))
        volume *= width
    return jnp.stack([axis.ravel() for axis in jnp.meshgrid(*axes, indexing="ij")], axis=-1), volume


def conditional_kl(log_true: Array, log_model: Array, volume: float) -> Array:
    """``KL(p(.|o) || q(.|o))`` in nats, averaged over observations, from log densities ``[Q, B]`` on `action_grid`.

    The true density is renormalised on the grid, so a cell cut by the edge of its support does no harm.
    """
    chex.assert_rank([log_true, log_model], 2)
    chex.assert_equal_shape([log_true, log_model])
    log_mass = jax.nn.log_softmax(log_true, axis=0)
    mass = jnp.exp(log_mass)
    log_ratio = jnp.where(mass > 0, log_mass - jnp.log(volume) - log_model, 0.0)
    return jnp.mean(jnp.sum(mass * log_ratio, axis=0))


def wasserstein_1d(samples: Array, grid: Array, log_true: Array) -> Array:
    """W1 between ``samples [N, B]`` and the true conditional ``log_true [Q, B]`` on ascending ``grid [Q]``, averaged over B.

    The N samples, sorted, are compared with the true quantiles at ``(i + 1/2) / N``.
    """
    chex.assert_rank([samples, grid, log_true], [2, 1, 2])
    chex.assert_shape(log_true, (grid.shape[0], samples.shape[1]))
    levels = (jnp.arange(samples.shape[0]) + 0.5) / samples.shape[0]
    cumulative = jnp.cumsum(jax.nn.softmax(log_true, axis=0), axis=0)
    index = jax.vmap(lambda c: jnp.searchsorted(c, levels), in_axes=1, out_axes=1)(cumulative)
    quantiles = grid[jnp.minimum(index, grid.shape[0] - 1)]
    return jnp.mean(jnp.abs(jnp.sort(samples, axis=0) - quantiles))
