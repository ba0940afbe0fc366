r"""EBGAN: an energy model and a generator without a density, trained against each other (the baseline of Li et al. 2025, arXiv 2510.07562).

EBGAN-MDN without its likelihood: ``x_g = G(z, o)`` is the output of a network that reads noise. One training step on a minibatch makes
R energy updates, each with fresh negatives ``x_j`` and draws, and then one generator update:

.. math::
  L_\theta = -\mathbb E \log\frac{e^{-E_\theta(o,a)}}{e^{-E_\theta(o,a)} + \sum_j e^{-E_\theta(o,x_j)} + \alpha_t e^{-E_\theta(o,x_g)}}
  \qquad
  L_\phi = \mathbb E\, E_\theta(o, G_\phi(z, o))

Gradients stop at ``x_g`` in the first loss and at theta in the second. Nothing in ``L_phi`` keeps draws apart: its minimum for a fixed
energy is the action of lowest energy, whatever z, and only the energy's rise at ``x_g`` drives the draws on to other modes.

Where we differ from the authors' code: ``latent_dim`` is 2, as for their arm (on the hyperbola it was 0: one action per observation);
alpha falls as in `ebgan_mdn`, where their script has 1 throughout (``alpha_schedule="constant"``); and the energy can be used after
training: "rerank" keeps the candidate of lowest energy. The related EBGAN of Zhao et al. (2017) has another, hinge loss.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks
from ebgan_mdn_jax.methods.adversary import Generator, alpha_at, descend_repeatedly, draw_pair, make_generator
from ebgan_mdn_jax.methods.base import Method, TrainState, Transport, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.samplers import negatives, selection
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require_at_least, require_choices

Inference = Literal["sample", "rerank"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``num_negatives`` is N, ``energy_steps`` is R, ``num_candidates`` the number that "rerank" chooses one action from. Importance
    resampling would need the generator's density.
    """

    generator_hidden: tuple[int, ...] = (64, 64)
    latent_dim: int = 2
    energy_hidden: tuple[int, ...] = (64, 64)
    init: networks.Init = "torch"
    num_negatives: int = 32
    energy_steps: int = 5
    alpha_schedule: Literal["linear", "constant"] = "linear"
    decay_every: int = 0
    sample_by: Inference = "sample"
    act_by: Inference = "sample"
    num_candidates: int = 32

    INFERENCE = ("sample_by", "act_by", "num_candidates")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(0, self, "method", "latent_dim")
        counts = ("num_negatives", "energy_steps", "num_candidates", "generator_hidden", "energy_hidden")
        require_at_least(1, self, "method", *counts)


class Hyper(NamedTuple):
    """Traced scalars: learning rates and their decay, alpha's first value and floor."""

    energy_learning_rate: float = 1e-3
    generator_learning_rate: float = 5e-4
    learning_rate_decay: float = 0.5
    alpha: float = 1.0
    alpha_floor: float = 0.1


class Params(NamedTuple):
    """Weights of both networks."""

    generator: PyTree
    energy: PyTree


class OptState(NamedTuple):
    """One optimiser state per network."""

    generator: PyTree
    energy: PyTree


class Info(NamedTuple):
    """Logged means over rows; of the energy updates, means over the R of them.

    Energies have no fixed zero, so they tell little by themselves; ``energy_score`` (`losses.energy_score`) tells how close draws are
    to the data.
    """

    energy_score: Array
    energy_loss: Array
    positive_energy: Array
    negative_energy: Array
    generator_energy: Array
    alpha: Array


class Losses(NamedTuple):
    """The terms that are minimised; each returns ``(scalar, aux)`` and takes the parameters it trains first."""

    energy: Callable  # (energy, generator, batch, key, alpha, axis_name) -> InfoNCE
    generator: Callable  # (generator, energy, batch, key, axis_name) -> mean energy of draws; aux is their energy score


def make_losses(config: Config, spec: Spec, generator: Generator, energy: Callable) -> Losses:
    """Build the loss terms from a generator and ``energy(params, obs [B, Do], action [..., B, Da]) -> [..., B]``."""

    def energy_loss(energy_params, generator_params, batch, key, alpha, axis_name=None):
        key_generator, key_negatives = jax.random.split(key)
        keys = collectives.row_keys(key_generator, batch.obs.shape[0], axis_name)
        generated = jax.lax.stop_gradient(generator.row_sample(generator_params, batch.obs, keys))
        drawn = negatives.draw(key_negatives, batch.action, spec, config.num_negatives, 0, axis_name)
        actions = jnp.concatenate([batch.action[None], drawn, generated[None]])
        energies = energy(energy_params, batch.obs, actions)
        loss = losses.info_nce(energies[0], energies[1:-1], energies[-1:], alpha)
        return jnp.mean(loss), (jnp.mean(energies[0]), jnp.mean(energies[1:-1]))

    def generator_loss(generator_params, energy_params, batch, key, axis_name=None):
        generated, other = draw_pair(key, generator, generator_params, batch.obs, axis_name)
        value = energy(jax.lax.stop_gradient(energy_params), batch.obs, generated)
        return jnp.mean(value), jnp.mean(losses.energy_score(jnp.stack([generated, other]), batch.action))

    return Losses(energy_loss, generator_loss)


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``optimizer`` gives the update direction of both networks."""
    generator = make_generator(config.generator_hidden, config.latent_dim, config.init, spec)
    energy_network = networks.EnergyMLP(config.energy_hidden, config.init)
    terms = make_losses(config, spec, generator, energy_network.apply)

    def init(key):
        key_init, key_state = base_keys(key)
        key_generator, key_energy = jax.random.split(key_init)
        energy_weights = energy_network.init(key_energy, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        params = Params(generator.init(key_generator), energy_weights)
        opt_state = OptState(*map(optimizer.init, params))
        return TrainState(params, opt_state, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        epoch = horizon.epoch(state.step)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        alpha = alpha_at(epoch, horizon, config, hyper)
        key_energy, key_generator = jax.random.split(jax.random.fold_in(state.key, state.step))

        def energy_loss_fn(params, key):
            return terms.energy(params, state.params.generator, batch, key, alpha, axis_name)

        (energy_params, energy_opt), (energy_loss, (positive_energy, negative_energy)) = descend_repeatedly(
            energy_loss_fn,
            optimizer,
            state.params.energy,
            state.opt_state.energy,
            jax.random.split(key_energy, config.energy_steps),
            hyper.energy_learning_rate * decay,
            axis_name,
        )
        (generator_energy, score), grads = collectives.synced_value_and_grad(terms.generator, axis_name)(
            state.params.generator, energy_params, batch, key_generator, axis_name
        )
        weights, generator_opt = descend(
            optimizer,
            grads,
            state.opt_state.generator,
            state.params.generator,
            hyper.generator_learning_rate * decay,
        )
        info = Info(score, energy_loss, positive_energy, negative_energy, generator_energy, alpha)
        state = state._replace(
            params=Params(weights, energy_params), opt_state=OptState(generator_opt, energy_opt), step=state.step + 1
        )
        return state, info

    def energy(params, obs, action):
        return energy_network.apply(params.energy, obs, action)

    transport = Transport(config.latent_dim, lambda params, obs, noise: generator.apply(params.generator, obs, noise))

    def rerank(key, params, obs):
        """Of ``num_candidates`` draws the one of lowest energy ``[B, Da]``."""
        candidates = transport.draw(key, params, obs, config.num_candidates)
        return selection.lowest_energy(candidates, energy(params, obs, candidates))

    def draw(key, params, obs, num_samples, how: Inference):
        if how == "sample":
            return transport.draw(key, params, obs, num_samples)
        # One sample after another: all at once would hold num_candidates times as many activations.
        return jax.lax.map(lambda key: rerank(key, params, obs), jax.random.split(key, num_samples))

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    lowered = ("energy_score", "generator_energy", "energy_loss")
    return Method(
        Hyper(),
        init,
        step,
        sample,
        act,
        energy,
        log_prob=None,
        mixture=None,
        losses=lowered,
        transport=transport if config.sample_by == "sample" else None,
    )
