"""Negatives of a joint energy of observation and action: pairs from chains that go on from step to step (Du & Mordatch 2019).

A conditional energy need not know how likely an observation is. A joint one, ``p(o, a) = exp(-E(o, a)) / Z``, has to push up the energy of
every observation that no demonstration has; Ta et al. (2022, arXiv 2207.05824) report that it overfits within a few epochs. The replay
buffer holds the ends of past chains; every step takes the next ``N B`` of them in turn, so that none is in use twice at once, starts a few
anew, runs its chains and puts their ends back. Pairs are in half extents of the boxes and stay within them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import base
from ebgan_mdn_jax.types import Spec, require


class JointSampler(NamedTuple):
    """Pure functions; the buffer ``[C, Do + Da]`` is the same on all devices."""

    init: Callable  # (key) -> buffer, uniform
    draw: Callable  # see `make`


def make(capacity: int, spec: Spec) -> JointSampler:
    """Build the sampler of a buffer of ``capacity`` pairs.

    Its ``draw(key, chain, energy_fn, buffer, step, num_rows, num_draws, restart_probability, axis_name)``, with ``energy_fn`` of
    observations in data units and actions in half extents of their box, returns observations ``[N, B, Do]`` and actions ``[N, B, Da]`` in
    data units, the new buffer and the infos of all steps. It raises `InputError` if the buffer cannot hold the pairs of a step.
    """
    bounds = zip((*spec.obs_low, *spec.action_low), (*spec.obs_high, *spec.action_high), strict=True)
    require(
        all(low < high for low, high in bounds),
        "method.replay_buffer: a joint energy needs observations that vary, and this task has some that do not; set it to 0",
    )
    units, obs_dim = unit_box(spec), spec.obs_dim
    width = obs_dim + spec.action_dim

    def init(key):
        return jax.random.uniform(key, (capacity, width), minval=-1.0, maxval=1.0)

    def draw(key, chain, energy_fn, buffer, step, num_rows, num_draws, restart_probability, axis_name=None):
        rows = collectives.row_indices(num_rows, axis_name)
        num_pairs = collectives.all_rows(rows, axis_name).shape[0] * num_draws
        require(
            num_pairs <= capacity,
            f"method.replay_buffer={capacity}: cannot hold the {num_pairs} pairs of a step; raise it, or lower method.num_negatives or "
            "train.batch_size",
        )
        first = step % (capacity // num_pairs) * num_pairs
        places = first + rows[:, None] * num_draws + jnp.arange(num_draws)[None]  # [B, N]

        def energy_of_pairs(_, pairs):
            return energy_fn(units.obs_to_data(pairs[..., :obs_dim]), pairs[..., obs_dim:])

        keys = collectives.row_keys(key, num_rows, axis_name)
        key_restart, key_uniform, key_chain = jax.vmap(lambda key: jax.random.split(key, 3), out_axes=1)(keys)
        fresh = 2 * base.row_noise(jax.random.uniform, key_uniform, (num_draws, width), buffer.dtype) - 1
        restart = base.row_noise(jax.random.uniform, key_restart, (num_draws, 1), buffer.dtype) < restart_probability
        start = jnp.where(restart, fresh, jnp.moveaxis(buffer[places], 1, 0))
        chains, infos, _ = base.run(key_chain, chain, energy_of_pairs, jnp.zeros((num_rows, 0), buffer.dtype), start)
        ends = collectives.all_rows(jnp.moveaxis(chains.action, 0, 1), axis_name)
        buffer = jax.lax.dynamic_update_slice(buffer, ends.reshape(num_pairs, width), (first, jnp.zeros_like(first)))
        obs, action = (
            units.obs_to_data(chains.action[..., :obs_dim]),
            units.action_to_data(chains.action[..., obs_dim:]),
        )
        return obs, action, buffer, infos

    return JointSampler(init, draw)
