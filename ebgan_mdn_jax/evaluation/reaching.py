"""How near do sampled joint angles bring the tip of an arm to its target? From distances ``error [N, B]`` of N draws at B targets."""

import chex
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array

TOLERANCES = (0.1, 0.3, 0.5)


def success(error: Array, tolerance: float) -> Array:
    """Percentage of draws whose tip is within ``tolerance`` of the target, a scalar."""
    return 100.0 * jnp.mean(error <= tolerance)


def tip_metrics(error: Array, tolerances: tuple[float, ...] = TOLERANCES) -> dict[str, Array]:
    """``success@tau`` per tolerance, and ``tip_error`` and ``tip_error_median`` over all draws, in units of length."""
    chex.assert_rank(error, 2)
    metrics = {f"success@{tolerance:g}": success(error, tolerance) for tolerance in tolerances}
    return metrics | {"tip_error": jnp.mean(error), "tip_error_median": jnp.median(error)}


def all_reached(hit: Array, exists: Array) -> Array:
    """Percentage of targets at which each of M kinds of solution that exist is hit by some draw.

    Args:
      hit: ``[N, M, B]``, is draw n a valid solution of kind m?
      exists: ``[M, B]``; targets without a solution are left out.

    Returns:
      A scalar; NaN where no target has a solution.
    """
    chex.assert_rank([hit, exists], [3, 2])
    counts = jnp.any(exists, axis=0)
    reached = jnp.all(jnp.any(hit, axis=0) | ~exists, axis=0) & counts
    return 100.0 * jnp.sum(reached) / jnp.sum(counts)
