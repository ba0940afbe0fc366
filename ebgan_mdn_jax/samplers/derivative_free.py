"""The derivative-free optimiser of implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137, algorithm 1).

A population of C actions per observation starts uniform in the box. An iteration resamples it by ``softmax(-E)``, adds Gaussian noise,
clamps it to the box and shrinks the noise. Reweighting by ``exp(-E)`` again and again concentrates: up to the noise, the population has
density ``exp(-t E)`` after t iterations. It is a search for the minimum; only without iterations is it a sample of the box.

The public code, and EBGAN-MDN's copy of it, return energies from before the last resampling beside the actions from after it, so that
"the lowest" is an arbitrary one. Here the population that is returned is the one that was scored.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey

# Energies evaluated together: bounds the memory of a search whatever the number of observations.
_MOST_TOGETHER = 2**16


class Population(NamedTuple):
    """Candidates ``action [C, Da]`` of one observation and their ``energy [C]``."""

    action: Array
    energy: Array


def search(
    key: PRNGKey,
    energy_fn: Callable,
    obs: Array,
    low: tuple[float, ...],
    high: tuple[float, ...],
    num_candidates: int,
    num_iterations: int,
    sigma: Array | float,
    shrink: Array | float,
) -> Population:
    """Search the box for low energies at one observation.

    Args:
      key: of this observation.
      energy_fn: ``(obs [B, Do], action [C, B, Da]) -> [C, B]``.
      obs: ``[Do]``.
      low: of the box, ``Da`` values.
      high: of the box.
      num_candidates: C.
      num_iterations: of resampling and noise; 0 returns the uniform candidates.
      sigma: deviation of the first iteration's noise, in half extents of the box.
      shrink: factor on sigma from one iteration to the next.

    Returns:
      The final population, scored.
    """
    chex.assert_rank([obs, sigma, shrink], [1, 0, 0])
    shape = (num_candidates, len(low))
    low, high = (jnp.broadcast_to(jnp.asarray(bound, obs.dtype), shape) for bound in (low, high))
    key_start, key_iterations = jax.random.split(key)

    def score(action):
        return Population(action, energy_fn(obs[None], action[:, None])[:, 0])

    def iterate(index, population):
        key_resample, key_noise = jax.random.split(jax.random.fold_in(key_iterations, index))
        action = population.action[resample(key_resample, -population.energy, num_candidates)]
        deviation = jnp.asarray(sigma * shrink**index, obs.dtype) * (high - low) / 2
        return score(jnp.clip(action + deviation * jax.random.normal(key_noise, shape, obs.dtype), low, high))

    start = score(low + (high - low) * jax.random.uniform(key_start, shape, obs.dtype))
    return jax.lax.fori_loop(0, num_iterations, iterate, start)


def resample(key: PRNGKey, logits: Array, num_draws: int) -> Array:
    """Indices ``[num_draws]`` drawn independently with probabilities ``softmax(logits [C])``.

    By the inverse of the cumulative sum; `jax.random.categorical` would draw C noises for each of them.
    """
    chex.assert_rank(logits, 1)
    cumulative = jnp.cumsum(jax.nn.softmax(logits))
    threshold = cumulative[-1] * jax.random.uniform(key, (num_draws,), logits.dtype)
    # A threshold rounded up to the total would be past the end.
    return jnp.minimum(jnp.searchsorted(cumulative, threshold, side="right"), logits.shape[0] - 1)


def map_rows(function: Callable, keys: PRNGKey, obs: Array, num_candidates: int, most_together: int = _MOST_TOGETHER):
    """``function(key, obs [Do])`` at every row of ``obs [B, Do]``, in blocks of rows with ``most_together`` candidates in all.

    What ``function`` returns should be small, such as the actions it chose from a population: C candidates are never held for all rows.
    """
    chex.assert_equal_shape_prefix((keys, obs), 1)
    rows_together, rows = max(most_together // num_candidates, 1), obs.shape[0]
    # A program for any number of rows, as `ebgan_mdn_jax.export` makes, has no blocks.
    rows_together = 1 if jax.export.is_symbolic_dim(rows) else min(rows_together, rows)
    if rows_together == 1:  # a batch size of 1 would be a vmap of size 1
        return jax.lax.map(lambda row: function(*row), (keys, obs))
    return jax.lax.map(lambda row: function(*row), (keys, obs), batch_size=rows_together)
