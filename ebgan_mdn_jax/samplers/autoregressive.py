"""The autoregressive derivative-free optimiser of implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137, algorithm 2).

There are as many energies as the action has coordinates, the j-th of the first j alone. An iteration goes through the coordinates: it
resamples the first j of all C actions by ``softmax(-E_j)``, then adds Gaussian noise to the j-th and clamps it to the box. So a candidate
has to be good in one more coordinate at a time, where `derivative_free` has to hit on all of them at once, for which the share of good
candidates falls exponentially with their number. In one dimension both are the same search.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.samplers.derivative_free import Population, resample
from ebgan_mdn_jax.types import Array, PRNGKey


def search(
    key: PRNGKey,
    prefix_energy_fn: Callable,
    obs: Array,
    low: tuple[float, ...],
    high: tuple[float, ...],
    num_candidates: int,
    num_iterations: int,
    sigma: Array | float,
    shrink: Array | float,
) -> Population:
    """Search the box for low energies at one observation.

    Args, but for these those of `derivative_free.search`:
      prefix_energy_fn: ``(j, obs [B, Do], action [C, B, Da]) -> [C, B]``, with j from 0: the energy of the coordinates up to the j-th, that
        one included; what the others are must not change it.
      num_iterations: through all coordinates; 0 returns the uniform candidates.

    Returns:
      The final population, scored by the energy of all coordinates.
    """
    chex.assert_rank([obs, sigma, shrink], [1, 0, 0])
    dim, shape = len(low), (num_candidates, len(low))
    low, high = (jnp.broadcast_to(jnp.asarray(bound, obs.dtype), shape) for bound in (low, high))
    key_start, key_iterations = jax.random.split(key)

    def score(index, action):
        return prefix_energy_fn(index, obs[None], action[:, None])[:, 0]

    def advance(step, action):
        iteration, index = step // dim, step % dim
        key_resample, key_noise = jax.random.split(jax.random.fold_in(key_iterations, step))
        kept = action[resample(key_resample, -score(index, action), num_candidates)]
        deviation = jnp.asarray(sigma * shrink**iteration, obs.dtype) * (high - low) / 2
        moved = jnp.clip(kept + deviation * jax.random.normal(key_noise, shape, obs.dtype), low, high)
        coordinate = jnp.broadcast_to(jnp.arange(dim), shape)
        return jnp.where(coordinate < index, kept, jnp.where(coordinate == index, moved, action))

    start = low + (high - low) * jax.random.uniform(key_start, shape, obs.dtype)
    action = jax.lax.fori_loop(0, num_iterations * dim, advance, start)
    return Population(action, score(dim - 1, action))
