"""The marginal action sampler of Ta et al. (2022, arXiv 2207.05824): an energy of actions alone, trained beside a policy's.

Its draws know nothing of the observation. They are the ends of many short Langevin chains from uniform starts, on which the energy is
trained. With `losses.contrastive_divergence` their density q goes to that of the demonstrated actions, p, as far as the chains follow
``exp(-E)``; as negatives they then make InfoNCE a bound on the mutual information of observation and action. Ta et al. train by
`losses.max_entropy`, whose fixed point for many draws of a row is ``p = q (1 + mean E - E)``: q is flatter than p, and not 0 where no
action is ever taken. Of a single draw it is contrastive divergence.

Actions are in half extents of their box, so it is [-1, 1].
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks
from ebgan_mdn_jax.methods.base import descend
from ebgan_mdn_jax.samplers import base
from ebgan_mdn_jax.types import PyTree


class Marginal(NamedTuple):
    """Weights of the energy of actions alone and the state of their optimiser."""

    energy: PyTree
    opt_state: PyTree


class MarginalSampler(NamedTuple):
    """Pure functions; rows have keys of their own, and none depends on another row."""

    init: Callable  # (key) -> Marginal
    draw: Callable  # (keys [B], sampler, Marginal, num_draws) -> [N, B, Da], SamplerInfo of all steps
    step: Callable  # (Marginal, action [B, Da], draws [N, B, Da], learning_rate, axis_name) -> (Marginal, mean loss)


def make(
    hidden: tuple[int, ...],
    init_name: networks.Init,
    loss: Literal["max_entropy", "contrastive_divergence"],
    action_dim: int,
    optimizer: optax.GradientTransformation,
) -> MarginalSampler:
    """Build the sampler; its chains are those of the `samplers.base.Sampler` given to ``draw``."""
    network = networks.EnergyMLP(hidden, init_name)
    loss_of = {"max_entropy": losses.max_entropy, "contrastive_divergence": losses.contrastive_divergence}[loss]

    def energy(weights, action):
        return network.apply(weights, jnp.zeros((action.shape[1], 0), action.dtype), action)

    def init(key):
        weights = network.init(key, jnp.zeros((1, 0)), jnp.zeros((1, action_dim)))
        return Marginal(weights, optimizer.init(weights))

    def draw(keys, sampler, marginal, num_draws):
        dtype = jax.tree.leaves(marginal.energy)[0].dtype
        key_start, key_chain = jax.vmap(jax.random.split, out_axes=1)(keys)
        start = 2 * base.row_noise(jax.random.uniform, key_start, (num_draws, action_dim), dtype) - 1
        no_obs = jnp.zeros((keys.shape[0], 0), dtype)
        chains, infos, _ = base.run(key_chain, sampler, lambda _, at: energy(marginal.energy, at), no_obs, start)
        return chains.action, infos

    def step(marginal, action, draws, learning_rate, axis_name=None):
        def loss_fn(weights):
            energies = energy(weights, jnp.concatenate([action[None], draws]))
            return jnp.mean(loss_of(energies[0], energies[1:])), ()

        (loss, _), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(marginal.energy)
        return Marginal(*descend(optimizer, grads, marginal.opt_state, marginal.energy, learning_rate)), loss

    return MarginalSampler(init, draw, step)
