r"""Conditional variational autoencoder (Sohn et al. 2015; Kingma & Welling 2014): a latent that tells an observation's actions apart.

With an encoder ``q(z|o,a) = N(m(o,a), diag s(o,a)^2)``, a prior ``z ~ N(0, I)`` that does not depend on the observation (one that does is
below), and a decoder ``p(a|z,o) = N(mu(z,o), diag sigma^2)``, it minimises

.. math::
  L = \mathbb E\, \mathbb E_{z \sim q}\big[-\log p(a|z,o)\big] + \beta\, \mathrm{KL}\big(q(z|o,a)\,\|\,N(0,I)\big)

with one reparameterised draw of z per row. At beta = 1 (another: Higgins et al. 2017) this bounds the negative log-likelihood from above.
The decoder's deviations sigma are one per action dimension, learned with the rest (Rybkin et al. 2021), or fixed: they say how
much detail the latent must carry. Where ``beta sigma^2`` exceeds the spread of actions the latent is not used at all.

Action chunking with transformers (ACT, Zhao et al. 2023, arXiv 2304.13705) has in place of ``-log p`` the absolute error, the mean over an
action's elements (``reconstruction="l1"``; "squared" likewise): its decoder is ``a = mu(z,o)``. With its beta of 10 this weighs the KL, a
sum over the latent's dimensions, far more than the likelihood does. When deployed it decodes ``z = 0``. `theory.information` has what beta
allows.

With ``regulariser="mmd"`` (Wasserstein autoencoders, Tolstikhin et al. 2018, arXiv 1711.01558) beta weighs, in place of the KL of each row,
how far the codes of a whole minibatch are from draws of the prior (`discrepancies.mmd`), with "sinkhorn" likewise by optimal transport
(`discrepancies.sinkhorn`): a code may then say anything, if only all together look like the prior. That is all observations' codes
together; a task with one observation is where this matches what draws there need.

With ``prior="learned"`` the prior is ``N(n(o), diag t(o)^2)`` of a network like the encoder's (Sohn et al. 2015). Codes are then taken in
its units, ``(z - n) / t``, in which it is N(0, I) and the KL is the one above. Encoder and decoder see the observation too, and could do
the same: with networks that are large enough such a prior lowers no minimum. One that is not Gaussian could.

With ``prior="flow"`` codes are drawn by flow matching (`methods.flow`; LAT-Flow of Mazza et al. 2026, arXiv 2605.22493): a velocity is
learned from the codes of demonstrations, which do not learn from it. The KL stays that to N(0, I), and may be weighed far less, since codes
no longer have to lie where N(0, I) draws. Theirs learns from the posteriors' means; here from draws of them, as the decoder does.

The EBGAN-MDN authors (arXiv 2510.07562) list no settings for their CVAE; networks, Adam and StepLR(20, 0.5) are those of their
others. The learning rate is ours: with 1e-3, 100 epochs of 500 rows end long before the deviations have settled.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, denoisers, discrepancies, networks
from ebgan_mdn_jax.methods.base import Method, TrainState, Transport, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.methods.flow import interpolate
from ebgan_mdn_jax.samplers import integrators
from ebgan_mdn_jax.types import Array, Horizon, Latents, PyTree, Spec, require, require_at_least, require_choices

Draw = Literal["sample", "mean", "zero"]
Reconstruction = Literal["gaussian", "l1", "squared"]
Regulariser = Literal["kl", "mmd", "sinkhorn"]
_FLOW_FREQUENCIES, _FLOW_DRAWS = 8, 8


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    `sample` and `act` draw z from the prior, and then from the decoder ("sample") or its mean ("mean"); "zero" is the mean at the prior's.
    With a "flow" z takes ``flow_steps`` Euler steps; "zero" then decodes 0, which is no mean of such codes.
    ``initial_scale`` is the decoder's deviation in network units: a fixed one keeps it, a learned one starts from it. Started wide, as
    wide as the actions spread, a learned one explains them before the latent can, and training ends there. Only a "gaussian" decoder has
    deviations.
    """

    encoder_hidden: tuple[int, ...] = (64, 64)
    decoder_hidden: tuple[int, ...] = (64, 64)
    latent_dim: int = 2
    prior: Literal["standard", "learned", "flow"] = "standard"
    reconstruction: Reconstruction = "gaussian"
    regulariser: Regulariser = "kl"
    scale: Literal["learned", "fixed"] = "learned"
    initial_scale: float = 0.1
    init: networks.Init = "torch"
    decay_every: int = 0
    sample_by: Draw = "sample"
    act_by: Draw = "sample"
    flow_steps: int = 20

    INFERENCE = ("sample_by", "act_by", "flow_steps")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "latent_dim", "encoder_hidden", "decoder_hidden", "flow_steps")
        require(self.initial_scale > 0, f"method.initial_scale={self.initial_scale}: needs a positive deviation")


class Hyper(NamedTuple):
    """Traced scalars; ``scale_floor`` is the least learned deviation of the decoder, in network units, ``blur`` that of "sinkhorn"."""

    learning_rate: float = 5e-3
    learning_rate_decay: float = 0.5
    beta: float = 1.0
    scale_floor: float = 1e-3
    blur: float = 0.1


class Weights(NamedTuple):
    """What is trained: the networks, and ``log_scale [Da]`` (the logarithm of the deviation above its floor).

    ``prior``: that of a learned prior, or the velocity of a flow; () where the prior is standard.
    """

    encoder: PyTree
    decoder: PyTree
    prior: PyTree
    log_scale: Array


class Params(NamedTuple):
    """Weights, and the floor they were trained with."""

    weights: Weights
    scale_floor: Array


class Info(NamedTuple):
    """Logged: ``loss = reconstruction + beta kl``, its two parts (network units; nats, with constant), the decoder's mean deviation.

    The loss has the other regulariser in place of the KL where there is one. ``flow``: the loss of a prior that is one, which is no part
    of ``loss``; else 0.
    """

    loss: Array
    reconstruction: Array
    kl: Array
    scale: Array
    flow: Array


def standard_normal_kl(mean: Array, log_scale: Array) -> Array:
    """``KL(N(mean, diag exp(log_scale)^2) || N(0, I))``, ``[B]`` nats of ``[B, dims]``."""
    chex.assert_equal_shape([mean, log_scale])
    return 0.5 * jnp.sum(mean**2 + jnp.exp(2.0 * log_scale) - 1.0 - 2.0 * log_scale, axis=-1)


def gaussian_nll(action: Array, mean: Array, scale: Array) -> Array:
    """``-log N(action; mean, diag scale^2)``, ``[B]`` nats of ``[B, Da]``, with the constant."""
    chex.assert_equal_shape([action, mean, scale])
    return jnp.sum(0.5 * ((action - mean) / scale) ** 2 + jnp.log(scale) + 0.5 * math.log(2 * math.pi), axis=-1)


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; its density is an integral over z, so ``log_prob`` is None."""
    encoder = networks.MLP(config.encoder_hidden, 2 * config.latent_dim, config.init)
    decoder = networks.MLP(config.decoder_hidden, spec.action_dim, config.init)
    learned, flowing = config.prior == "learned", config.prior == "flow"
    if flowing:
        prior = denoisers.DenoisingMLP(config.encoder_hidden, _FLOW_FREQUENCIES, config.init)
        prior_inputs = jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, config.latent_dim)), jnp.zeros(1)
    else:
        prior = networks.MLP(config.encoder_hidden, 2 * config.latent_dim, config.init)
        prior_inputs = (jnp.zeros((1, spec.obs_dim)),)

    def scale_of(weights, scale_floor):
        """Deviations ``[Da]`` of the decoder."""
        if config.reconstruction != "gaussian":
            return jnp.zeros_like(weights.log_scale)
        if config.scale == "fixed":
            return jnp.full_like(weights.log_scale, config.initial_scale)
        return scale_floor + jnp.exp(weights.log_scale)

    def prior_of(weights, obs):
        """Mean and logarithm of the deviation of the learned prior, ``[..., Dz]`` both."""
        return jnp.split(prior.apply(weights.prior, obs), 2, axis=-1)

    def decode(weights, latent, obs):
        """Of a latent in units of the prior."""
        if learned:
            mean, log_scale = prior_of(weights, obs)
            latent = mean + jnp.exp(log_scale) * latent
        return decoder.apply(weights.decoder, jnp.concatenate([latent, obs], axis=-1))

    def encode(weights, obs, action):
        """Mean and logarithm of the deviation of the posterior, in units of the prior."""
        mean, log_scale = jnp.split(encoder.apply(weights.encoder, jnp.concatenate([obs, action], axis=-1)), 2, axis=-1)
        if learned:
            prior_mean, prior_log_scale = prior_of(weights, obs)
            mean, log_scale = (mean - prior_mean) * jnp.exp(-prior_log_scale), log_scale - prior_log_scale
        return mean, log_scale

    def reconstruction_loss(action, prediction, scale):
        if config.reconstruction == "l1":
            return jnp.mean(jnp.abs(action - prediction), axis=-1)
        if config.reconstruction == "squared":
            return jnp.mean((action - prediction) ** 2, axis=-1)
        return gaussian_nll(action, prediction, jnp.broadcast_to(scale, prediction.shape))

    def init(key):
        key_init, key_state = base_keys(key)
        key_encoder, key_decoder = jax.random.split(key_init)
        weights = Weights(
            encoder.init(key_encoder, jnp.zeros((1, spec.obs_dim + spec.action_dim))),
            decoder.init(key_decoder, jnp.zeros((1, config.latent_dim + spec.obs_dim))),
            prior.init(jax.random.fold_in(key_init, 2), *prior_inputs) if learned or flowing else (),
            jnp.full((spec.action_dim,), math.log(config.initial_scale), float),
        )
        params = Params(weights, jnp.asarray(Hyper().scale_floor, float))
        return TrainState(params, optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def flow_loss(weights, keys, obs, latent):
        """Of the prior's velocity, for codes ``latent [B, Dz]`` that do not learn from it."""
        keys = jax.vmap(lambda key: jax.random.fold_in(key, 2))(keys)
        time, between, direction = interpolate(keys, jax.lax.stop_gradient(latent), _FLOW_DRAWS, "uniform")
        return jnp.mean((prior.apply(weights.prior, obs, between, time) - direction) ** 2)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        keys = collectives.row_keys(key, batch.obs.shape[0], axis_name)
        noise = jax.vmap(lambda key: jax.random.normal(key, (config.latent_dim,), batch.obs.dtype))(keys)
        scale_floor = jnp.asarray(hyper.scale_floor, state.params.scale_floor.dtype)

        def loss_fn(weights):
            mean, log_scale = encode(weights, batch.obs, batch.action)
            latent = mean + jnp.exp(log_scale) * noise
            prediction = decode(weights, latent, batch.obs)
            scale = scale_of(weights, scale_floor)
            reconstruction = jnp.mean(reconstruction_loss(batch.action, prediction, scale))
            kl = jnp.mean(standard_normal_kl(mean, log_scale))
            penalty = kl
            if config.regulariser != "kl":
                draws = jax.vmap(
                    lambda key: jax.random.normal(jax.random.fold_in(key, 1), latent.shape[1:], latent.dtype)
                )(keys)
                both = [collectives.all_rows(rows, axis_name) for rows in (latent, draws)]
                if config.regulariser == "mmd":
                    penalty = discrepancies.mmd(*both)
                else:
                    penalty = discrepancies.sinkhorn(*both, hyper.blur)
            loss = reconstruction + hyper.beta * penalty
            flow = flow_loss(weights, keys, batch.obs, latent) if flowing else jnp.zeros_like(loss)
            return loss + flow, Info(loss, reconstruction, kl, jnp.mean(scale), flow)

        (_, info), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.weights)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(
            optimizer, grads, state.opt_state, state.params.weights, hyper.learning_rate * decay
        )
        params = Params(weights, scale_floor)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), info

    def decode_each(params, latent, obs):
        """Of ``latent [..., B, Dz]`` in units of the prior."""
        return decode(params.weights, latent, jnp.broadcast_to(obs, (*latent.shape[:-1], obs.shape[-1])))

    def mean_of(params, obs, latent):
        """Of ``latent [N, B, Dz]``, standard normal draws."""
        if flowing:
            latent = integrators.euler(
                lambda z, time: prior.apply(params.weights.prior, obs, z, jnp.full(z.shape[:-1], time)),
                latent,
                config.flow_steps,
            )
        return decode_each(params, latent, obs)

    means, gaussian = Transport(config.latent_dim, mean_of), config.reconstruction == "gaussian"

    def draw(key, params, obs, num_samples, how: Draw):
        key_latent, key_noise = jax.random.split(key)
        if how == "zero":
            return decode_each(params, jnp.zeros((num_samples, obs.shape[0], config.latent_dim), obs.dtype), obs)
        mean = means.draw(key_latent, params, obs, num_samples)
        if how == "mean" or not gaussian:
            return mean
        scale = jnp.broadcast_to(scale_of(params.weights, params.scale_floor), mean.shape)
        return mean + scale * jax.random.normal(key_noise, mean.shape, mean.dtype)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    latents = Latents(
        lambda params, obs, action: encode(params.weights, obs, action),
        decode_each,
        lambda params, obs, action: standard_normal_kl(*encode(params.weights, obs, action)),
    )
    return Method(
        Hyper(),
        init,
        step,
        sample,
        act,
        energy=None,
        log_prob=None,
        mixture=None,
        losses=("loss", "flow") if flowing else ("loss",),
        latents=latents,
        num_evaluations=config.flow_steps + 1 if flowing else 1,
        transport=means if config.sample_by == "mean" or (config.sample_by == "sample" and not gaussian) else None,
    )
