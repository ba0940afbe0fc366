r"""Conditional GAN (Mirza & Osindero 2014): a generator ``x_g = G(z, o)`` against a discriminator with logit ``D(o, a)``.

One training step on a minibatch makes R discriminator updates, each with fresh draws, and then one generator update. With
``loss="non_saturating"`` (Goodfellow et al. 2014; sp is the softplus, ``-log sigmoid(x) = sp(-x)``):

.. math::
  L_D = \mathbb E\, \mathrm{sp}(-D(o, a)) + \mathrm{sp}(D(o, x_g)) \qquad L_G = \mathbb E\, \mathrm{sp}(-D(o, x_g))

whose best D is the log ratio of the data's density to the generator's. With ``loss="wasserstein"`` (Arjovsky et al. 2017) D is a critic:

.. math:: L_D = \mathbb E\, D(o, x_g) - D(o, a) \qquad L_G = -\mathbb E\, D(o, x_g)

Both can have a penalty :math:`w\,\mathbb E(\|\nabla_a D(o, \tilde a)\| - 1)^2`, at ``a~ = a`` ("real", the EBGAN-MDN authors' form, w = 1)
or at points drawn between a and ``x_g`` ("interpolated", WGAN-GP, Gulrajani et al. 2017, w = 10).

In one action dimension the penalty is a barrier: to change the sign of its slope, D has to be flat on the way. A critic that learned
the wrong sign can keep it, and then drives draws away from the data.

Where we differ from the EBGAN-MDN authors' code (arXiv 2510.07562): softplus of logits, exact at any of them, where theirs has
``log(sigmoid + 1e-10)``, whose gradient vanishes once D is sure; the penalty's gradient is with respect to the action only; their main
script has no penalty (``penalty="none"``), a latent of 2 dimensions for the arm and of 0 on the hyperbola.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks
from ebgan_mdn_jax.methods.adversary import Generator, descend_repeatedly, draw_pair, make_generator
from ebgan_mdn_jax.methods.base import Method, TrainState, Transport, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure; ``discriminator_steps`` is R. All randomness of a draw is in its latent, so with 0 dimensions there is none."""

    generator_hidden: tuple[int, ...] = (64, 64)
    latent_dim: int = 2
    discriminator_hidden: tuple[int, ...] = (64, 64)
    init: networks.Init = "torch"
    loss: Literal["non_saturating", "wasserstein"] = "non_saturating"
    penalty: Literal["none", "real", "interpolated"] = "real"
    discriminator_steps: int = 20
    decay_every: int = 0

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(0, self, "method", "latent_dim")
        require_at_least(1, self, "method", "discriminator_steps", "generator_hidden", "discriminator_hidden")
        require(
            self.loss != "wasserstein" or self.penalty != "none",
            "method.loss=wasserstein has no optimum without a penalty: use method.penalty=interpolated or real",
        )


class Hyper(NamedTuple):
    """Traced scalars: learning rates and their decay (1: none), weight of the penalty."""

    discriminator_learning_rate: float = 1e-3
    generator_learning_rate: float = 1e-3
    learning_rate_decay: float = 1.0
    penalty_weight: float = 1.0


class Params(NamedTuple):
    """Weights of both networks."""

    generator: PyTree
    discriminator: PyTree


class OptState(NamedTuple):
    """One optimiser state per network."""

    generator: PyTree
    discriminator: PyTree


class Info(NamedTuple):
    """Logged means over rows; of the discriminator updates, means over the R of them. ``penalty`` is without its weight.

    The generator's loss rises and falls with its opponent; ``energy_score`` (`losses.energy_score`) tells how close draws are to the data.
    """

    energy_score: Array
    generator_loss: Array
    discriminator_loss: Array
    penalty: Array
    real_logit: Array
    generated_logit: Array


class Losses(NamedTuple):
    """The terms that are minimised; each returns ``(scalar, aux)`` and takes the parameters it trains first."""

    discriminator: Callable  # (discriminator, generator, batch, key, penalty_weight, axis_name)
    generator: Callable  # (generator, discriminator, batch, key, axis_name); aux is the energy score


def gradient_penalty(logit: Callable, obs: Array, action: Array) -> Array:
    """``(|d logit / d action| - 1)^2 [B]`` of ``logit(obs [B, Do], action [B, Da]) -> [B]``, whose rows must not interact."""
    slope = jax.grad(lambda action: jnp.sum(logit(obs, action)))(action)
    square = jnp.sum(slope**2, axis=-1)
    flat = square == 0  # the norm has no derivative there
    norm = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, square)))
    return (norm - 1.0) ** 2


def make_losses(config: Config, generator: Generator, logit: Callable) -> Losses:
    """Build the loss terms from a generator and ``logit(params, obs [B, Do], action [..., B, Da]) -> [..., B]``."""
    wasserstein = config.loss == "wasserstein"

    def discriminator_loss(discriminator_params, generator_params, batch, key, penalty_weight, axis_name=None):
        key_generator, key_between = jax.random.split(key)
        keys = collectives.row_keys(key_generator, batch.obs.shape[0], axis_name)
        generated = jax.lax.stop_gradient(generator.row_sample(generator_params, batch.obs, keys))
        on_real, on_generated = logit(discriminator_params, batch.obs, jnp.stack([batch.action, generated]))
        loss = on_generated - on_real if wasserstein else jax.nn.softplus(-on_real) + jax.nn.softplus(on_generated)
        penalty = jnp.zeros_like(loss)
        if config.penalty != "none":
            points = batch.action
            if config.penalty == "interpolated":
                keys = collectives.row_keys(key_between, batch.obs.shape[0], axis_name)
                share = jax.vmap(lambda key: jax.random.uniform(key, (1,), points.dtype))(keys)
                points = share * batch.action + (1.0 - share) * generated
            penalty = gradient_penalty(lambda obs, action: logit(discriminator_params, obs, action), batch.obs, points)
        total = jnp.mean(loss + penalty_weight * penalty)
        return total, (jnp.mean(penalty), jnp.mean(on_real), jnp.mean(on_generated))

    def generator_loss(generator_params, discriminator_params, batch, key, axis_name=None):
        generated, other = draw_pair(key, generator, generator_params, batch.obs, axis_name)
        on_generated = logit(jax.lax.stop_gradient(discriminator_params), batch.obs, generated)
        loss = -on_generated if wasserstein else jax.nn.softplus(-on_generated)
        return jnp.mean(loss), jnp.mean(losses.energy_score(jnp.stack([generated, other]), batch.action))

    return Losses(discriminator_loss, generator_loss)


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``optimizer`` gives the update direction of both networks.

    It has no energy: D is a ratio of densities at best, and flat once training succeeds.
    """
    generator = make_generator(config.generator_hidden, config.latent_dim, config.init, spec)
    discriminator = networks.EnergyMLP(
        config.discriminator_hidden, config.init
    )  # its scalar is the logit, not an energy
    terms = make_losses(config, generator, discriminator.apply)

    def init(key):
        key_init, key_state = base_keys(key)
        key_generator, key_discriminator = jax.random.split(key_init)
        weights = discriminator.init(key_discriminator, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        params = Params(generator.init(key_generator), weights)
        opt_state = OptState(*map(optimizer.init, params))
        return TrainState(params, opt_state, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        key_discriminator, key_generator = jax.random.split(jax.random.fold_in(state.key, state.step))

        def discriminator_loss_fn(params, key):
            return terms.discriminator(params, state.params.generator, batch, key, hyper.penalty_weight, axis_name)

        (discriminator_params, discriminator_opt), (discriminator_loss, logs) = descend_repeatedly(
            discriminator_loss_fn,
            optimizer,
            state.params.discriminator,
            state.opt_state.discriminator,
            jax.random.split(key_discriminator, config.discriminator_steps),
            hyper.discriminator_learning_rate * decay,
            axis_name,
        )
        (generator_loss, score), grads = collectives.synced_value_and_grad(terms.generator, axis_name)(
            state.params.generator, discriminator_params, batch, key_generator, axis_name
        )
        weights, generator_opt = descend(
            optimizer,
            grads,
            state.opt_state.generator,
            state.params.generator,
            hyper.generator_learning_rate * decay,
        )
        state = state._replace(
            params=Params(weights, discriminator_params),
            opt_state=OptState(generator_opt, discriminator_opt),
            step=state.step + 1,
        )
        return state, Info(score, generator_loss, discriminator_loss, *logs)

    transport = Transport(config.latent_dim, lambda params, obs, noise: generator.apply(params.generator, obs, noise))

    def act(key, params, obs):
        return transport.draw(key, params, obs, 1)[0]

    lowered = ("energy_score", "generator_loss", "discriminator_loss")
    return Method(
        Hyper(),
        init,
        step,
        sample=transport.draw,
        act=act,
        energy=None,
        log_prob=None,
        mixture=None,
        losses=lowered,
        transport=transport,
    )
