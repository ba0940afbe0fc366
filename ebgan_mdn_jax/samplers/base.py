"""What a sampler is: it moves N actions of every observation at once, towards or along ``exp(-E)``.

Rows are independent, with a key each (`collectives.row_keys`), so a row of a batch ends where the same row alone ends. Everything is
differentiable in what ``energy_fn`` closes over: run a chain inside a loss to back-propagate through it, outside to have none of that.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey, PyTree


class Chains(NamedTuple):
    """Where the chains are: ``action [N, B, Da]``, their ``energy [N, B]`` and its ``gradient [N, B, Da]``, after ``index`` steps."""

    action: Array
    energy: Array
    gradient: Array
    index: Array


class SamplerInfo(NamedTuple):
    """Means over the N chains, ``[B]``: of energy and gradient's Euclidean norm before the step, of what the step accepted and clipped.

    ``clip_share`` is of elements whose move the delta clip or the box cut short.
    """

    energy: Array
    gradient_norm: Array
    acceptance: Array
    clip_share: Array


class Sampler(NamedTuple):
    """A Markov chain over actions of ``num_steps`` steps; ``energy_fn`` is ``(obs [B, Do], action [N, B, Da]) -> [N, B]``."""

    num_steps: int
    init: Callable  # (energy_fn, obs [B, Do], action [N, B, Da]) -> Chains
    step: Callable  # (keys [B], energy_fn, obs, chains) -> (Chains, SamplerInfo)


def run(
    keys: PRNGKey,
    sampler: Sampler,
    energy_fn: Callable,
    obs: Array,
    action: Array,
    trace: Callable[[Chains], PyTree] = lambda chains: (),
) -> tuple[Chains, SamplerInfo, PyTree]:
    """Run all steps from ``action [N, B, Da]``, with ``keys [B]``.

    Returns:
      The last state, infos with T steps in front, and ``trace`` of the state after every step. A single chain whose last states serve
      as draws has ``trace=lambda chains: chains.action``, of which ``[burn_in::every, 0]`` are kept.
    """
    chex.assert_rank([action, obs], [3, 2])
    chex.assert_equal_shape_prefix([keys, obs], 1)
    chex.assert_axis_dimension(action, 1, obs.shape[0])

    def body(chains, index):
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
        chains, info = sampler.step(step_keys, energy_fn, obs, chains)
        return chains, (info, trace(chains))

    start = sampler.init(energy_fn, obs, action)
    chains, (infos, traced) = jax.lax.scan(body, start, jnp.arange(sampler.num_steps))
    return chains, infos, traced


def energy_and_gradient(energy_fn: Callable, obs: Array, action: Array) -> tuple[Array, Array]:
    """``E [N, B]`` and ``dE/da [N, B, Da]``, by one reverse pass: no action's energy depends on another action."""
    energy, pullback = jax.vjp(lambda action: energy_fn(obs, action), action)
    return energy, pullback(jnp.ones_like(energy))[0]


def row_noise(draw: Callable, keys: PRNGKey, shape: tuple[int, ...], dtype) -> Array:
    """``draw(key, shape, dtype)`` of every row on its own, ``[N, B, ...]`` for ``shape = (N, ...)``."""
    return jax.vmap(lambda key: draw(key, shape, dtype), out_axes=1)(keys)
