"""What `ibc` contrasts demonstrations with: actions from any mix of samplers, or pairs of a joint energy's own chains."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.methods import implicit, joint, marginal
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import base, negatives
from ebgan_mdn_jax.types import Array, PyTree, Spec

# Folded into the key of a step, for its chains, its derivative-free search and the draws of the marginal sampler; the last two into that of
# the initial weights, for the marginal sampler's and for the replay buffer.
_CHAINS, _SEARCH, _MARGINAL, _REPLAY = 0x43484149, 0x53454152, 0x4D415247, 0x5245504C


class Drawn(NamedTuple):
    """Negatives of a step.

    ``obs [B, Do]``, or one for each of them ``[N, B, Do]``; ``action [N, B, Da]``; ``passed [P, B, Da]``, where chains were before they
    ended, in half extents of the box (P is 0 unless the gradient penalty asks for it); what training carries on to the next step; means
    over all chains, and the marginal sampler's loss.
    """

    obs: Array
    action: Array
    passed: Array
    extra: PyTree
    acceptance: Array
    clip_share: Array
    marginal_loss: Array


class CounterExamples(NamedTuple):
    """Pure functions."""

    init: Callable  # (key) -> extra of `TrainState`
    draw: Callable  # (key, state, batch, hyper, learning_rate, axis_name) -> Drawn


def make(config, spec: Spec, optimizer: optax.GradientTransformation, search: implicit.Search) -> CounterExamples:
    """Build the sampler of an `ibc.Config`'s negatives."""
    units = unit_box(spec)
    num_chains, num_searched, num_data, num_marginal = config.negative_counts
    num_uniform = config.num_negatives - num_searched - num_data - num_marginal
    marginal_sampler = marginal.make(
        config.marginal_hidden, config.energy_init, config.marginal_loss, spec.action_dim, optimizer
    )
    joint_sampler = joint.make(config.replay_buffer, spec) if config.replay_buffer else None
    traced = config.langevin.one_chain or config.penalty_points == "chains"

    def init(key):
        if joint_sampler:
            return joint_sampler.init(jax.random.fold_in(key, _REPLAY))
        return marginal_sampler.init(jax.random.fold_in(key, _MARGINAL)) if num_marginal else ()

    def step_sizes(hyper):
        return hyper.step_size, hyper.last_step_size

    def descend(keys, weights, code, starts, hyper):
        sizes, noise = step_sizes(hyper), config.langevin.noise
        chain = implicit.make_chain(config.langevin, hyper, spec.action_dim, sizes, noise, hyper.noise_scale)
        starts, num = units.action(starts), starts.shape[0]
        starts = starts[:1] if config.langevin.one_chain else starts
        chains, infos, states = base.run(
            keys, chain, search.in_box(weights), code, starts, lambda chains: chains.action if traced else ()
        )
        if not traced:
            return units.action_to_data(chains.action), starts[:0], infos
        states = jnp.concatenate([starts, states.reshape(-1, *starts.shape[1:])])
        passed = states[:-num] if config.penalty_points == "chains" else starts[:0]
        return units.action_to_data(states[-num:]), passed, infos

    def draw_pairs(key, state, batch, hyper, axis_name):
        weights, dim = state.params.energy, spec.obs_dim + spec.action_dim
        chain = implicit.make_chain(
            config.langevin, hyper, dim, step_sizes(hyper), config.langevin.noise, hyper.noise_scale
        )

        def energy_fn(obs, action):
            return search.in_box(weights)(search.encode(weights, obs), action)

        obs, action, buffer, infos = joint_sampler.draw(
            key, chain, energy_fn, state.extra, state.step, batch.obs.shape[0], config.num_negatives,
            hyper.restart_probability, axis_name,
        )  # fmt: skip
        acceptance, clip_share = jnp.mean(infos.acceptance), jnp.mean(infos.clip_share)
        return Drawn(obs, action, action[:0], buffer, acceptance, clip_share, jnp.zeros(()))

    def draw(key, state, batch, hyper, learning_rate, axis_name=None):
        if joint_sampler:
            return draw_pairs(key, state, batch, hyper, axis_name)
        weights, extra, marginal_loss, infos = state.params.energy, state.extra, jnp.zeros(()), []
        drawn = negatives.draw(key, batch.action, spec, num_uniform, num_data, axis_name)
        code, passed = search.encode(weights, batch.obs), drawn[:0]

        def keys_for(purpose):
            return collectives.row_keys(jax.random.fold_in(key, purpose), batch.obs.shape[0], axis_name)

        if num_chains:
            found, passed, info = descend(keys_for(_CHAINS), weights, code, drawn[:num_chains], hyper)
            drawn = jnp.concatenate([found, drawn[num_chains:]])
            infos.append(info)
        if num_searched:

            def search_row(key, code):
                return search.populate(key, weights, code, hyper, num_searched, config.search_iterations).action

            drawn = jnp.concatenate([drawn, jnp.moveaxis(jax.vmap(search_row)(keys_for(_SEARCH), code), 0, 1)])
        if num_marginal:
            noise = "langevin" if config.langevin.noise == "ibc" else config.langevin.noise
            chain = implicit.make_chain(config.langevin, hyper, spec.action_dim, step_sizes(hyper), noise, 1.0)
            draws, info = marginal_sampler.draw(keys_for(_MARGINAL), chain, extra, num_marginal)
            extra, marginal_loss = marginal_sampler.step(
                extra, units.action(batch.action), draws, learning_rate, axis_name
            )
            drawn = jnp.concatenate([drawn, units.action_to_data(draws)])
            infos.append(info)
        acceptance = jnp.mean(jnp.stack([info.acceptance for info in infos])) if infos else jnp.ones(())
        clip_share = jnp.mean(jnp.stack([info.clip_share for info in infos])) if infos else jnp.zeros(())
        return Drawn(batch.obs, drawn, passed, extra, acceptance, clip_share, marginal_loss)

    return CounterExamples(init, draw)
