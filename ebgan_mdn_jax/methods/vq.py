r"""Vector-quantised policy: which of K actions, and where beside it.

After the behaviour transformers, BeT (Shafiullah et al. 2022, arXiv 2206.11251) and VQ-BeT (Lee et al. 2024, arXiv 2403.03181). An
encoder f gives an action, or a whole chunk, a latent, of which L codebooks of K codes e keep one code each: the first of the latent, every
further one of what is left of it (residual quantisation). A decoder g takes their sum back to an action.

.. math::
  k_l = \arg\min_k \|r_l - e_{lk}\|, \qquad r_1 = f(a), \quad r_{l+1} = r_l - e_{l k_l}, \qquad \hat z = \sum_l e_{l k_l}

A classifier p learns which codes an observation's actions have, and offsets :math:`\delta` what they lack, of the codes at hand alone:

.. math::
  L = \mathbb E\Big[ \tfrac1{D_a}\|a - g(\hat z)\|_1 + \tfrac\lambda{D_z} \|f(a) - \hat z\|^2
      - \sum_l w_l\,(1 - p(k_l|o))^\gamma \log p(k_l|o) + \tfrac\eta{D_a} \big\|a - g(\hat z) - \sum_l \delta_{l k_l}(o)\big\|_1 \Big]

The first term's gradient passes :math:`\hat z` as if it were f(a) ("straight through"), the second takes :math:`\hat z`, and the last
:math:`g(\hat z)`, as constants. Codes are moving averages of what they stand for, and restart where they stand for nothing (`codebook`).

A draw takes a code of each level by p, levels independently of one another as in VQ-BeT, and adds their offsets. So actions are finitely
many, without a density; the choice is discrete, and no smooth map has to part modes. With ``latent_dim=0`` codes are actions themselves, f
and g being the identity: BeT's bins, found by k-means as training goes.

Both papers have two stages, codes first and then a transformer that predicts them, for a window of observations. Here an MLP sees one
observation and learns with the codes at once. Their focal loss has a gamma of 2; at its optimum p is flatter than the actions'
frequencies, so that here it is 0, the cross-entropy. BeT's error of offsets is squared, VQ-BeT's absolute, and weighs far more than
the rest; here its weight is 1, so that what classifier and offsets share of the network serves both.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, networks
from ebgan_mdn_jax.methods import codebook
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require_at_least, require_choices

Draw = Literal["sample", "mode"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure: K is ``num_codes``, L ``num_levels``; encoder and decoder are there for a ``latent_dim`` above 0.

    Codes are drawn by their probability ("sample"), or each level's likeliest is taken ("mode").
    """

    num_codes: int = 16
    num_levels: int = 1
    latent_dim: int = 0
    encoder_hidden: tuple[int, ...] = (64, 64)
    decoder_hidden: tuple[int, ...] = (64, 64)
    hidden: tuple[int, ...] = (64, 64)
    init: networks.Init = "torch"
    decay_every: int = 0
    sample_by: Draw = "sample"
    act_by: Draw = "sample"

    INFERENCE = ("sample_by", "act_by")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "num_codes", "num_levels", "encoder_hidden", "decoder_hidden", "hidden")
        require_at_least(0, self, "method", "latent_dim")


class Hyper(NamedTuple):
    """Traced scalars: lambda is ``commitment``, gamma ``focal_gamma``, eta ``offset_weight``, w ``later_weight``, of the first level 1.

    ``codebook_decay`` and ``restart_below`` are of `codebook.learn`.
    """

    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.5
    commitment: float = 1.0
    focal_gamma: float = 0.0
    later_weight: float = 0.5
    offset_weight: float = 1.0
    codebook_decay: float = 0.99
    restart_below: float = 0.1


class Weights(NamedTuple):
    """What gradients train; ``encoder`` and ``decoder`` are () where codes are actions."""

    encoder: PyTree
    decoder: PyTree
    policy: PyTree


class Params(NamedTuple):
    """Weights, and the codes ``[L, K, Dz]``."""

    weights: Weights
    codes: Array


class Info(NamedTuple):
    """Logged: the loss and its four parts, without their weights, in network units and nats; and how many codes are in use.

    The last is the exponential of the entropy of a minibatch's codes, the mean of all levels.
    """

    loss: Array
    reconstruction: Array
    commitment: Array
    code_loss: Array
    offset: Array
    codes_used: Array


def focal(log_prob: Array, gamma: Array | float) -> Array:
    """Focal loss ``-(1 - p)^gamma log p`` (Lin et al. 2017) of the logarithm of the probability p of what happened, any shape."""
    rest = jnp.maximum(-jnp.expm1(log_prob), jnp.finfo(log_prob.dtype).tiny)
    return -jnp.exp(gamma * jnp.log(rest)) * log_prob


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it has no energy and no density."""
    num_levels, num_codes, dim = config.num_levels, config.num_codes, config.latent_dim or spec.action_dim
    encoder = networks.MLP(config.encoder_hidden, dim, config.init)
    decoder = networks.MLP(config.decoder_hidden, spec.action_dim, config.init)
    policy = networks.MLP(config.hidden, num_levels * num_codes * (1 + spec.action_dim), config.init)

    def encode(weights, action):
        return encoder.apply(weights.encoder, action) if config.latent_dim else action

    def decode(weights, latent):
        return decoder.apply(weights.decoder, latent) if config.latent_dim else latent

    def heads(weights, obs):
        """Logits ``[B, L, K]`` and offsets ``[B, L, K, Da]``."""
        outputs = policy.apply(weights.policy, obs).reshape(-1, num_levels, num_codes, 1 + spec.action_dim)
        return outputs[..., 0], outputs[..., 1:]

    def offset_of(offsets, found):
        """Offsets ``[N, B, Da]`` of codes ``found [N, B, L]``."""
        return jnp.sum(jnp.take_along_axis(offsets[None], found[..., None, None], axis=3)[..., 0, :], axis=2)

    def init(key):
        key_init, key_state = base_keys(key)
        key_encoder, key_decoder, key_policy = jax.random.split(key_init, 3)
        weights = Weights(
            encoder.init(key_encoder, jnp.zeros((1, spec.action_dim))) if config.latent_dim else (),
            decoder.init(key_decoder, jnp.zeros((1, dim))) if config.latent_dim else (),
            policy.init(key_policy, jnp.zeros((1, spec.obs_dim))),
        )
        params = Params(weights, jnp.zeros((num_levels, num_codes, dim)))
        usage = jnp.zeros((num_levels, num_codes))  # so that all codes restart at the first step
        return TrainState(params, optimizer.init(weights), usage, jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        rows = collectives.all_rows(encode(state.params.weights, batch.action), axis_name)
        current, codes, usage, codes_used = codebook.learn(
            key, state.params.codes, state.extra, rows, hyper.codebook_decay, hyper.restart_below
        )

        def loss_fn(weights):
            latent = encode(weights, batch.action)
            found = codebook.quantise(current, latent)
            quantised = codebook.look_up(current, found)
            decoded = decode(weights, codebook.straight_through(latent, quantised))
            reconstruction = jnp.mean(jnp.abs(batch.action - decoded))
            commitment = jnp.mean((latent - quantised) ** 2)
            logits, offsets = heads(weights, batch.obs)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), found[..., None], axis=-1)[..., 0]
            code_losses = jnp.mean(focal(log_prob, hyper.focal_gamma), axis=0)
            code_loss = code_losses[0] + hyper.later_weight * jnp.sum(code_losses[1:])
            offset = offset_of(offsets, found[None])[0]
            offset_error = jnp.mean(jnp.abs(batch.action - jax.lax.stop_gradient(decoded) - offset))
            loss = reconstruction + hyper.commitment * commitment + code_loss + hyper.offset_weight * offset_error
            return loss, (reconstruction, commitment, code_loss, offset_error)

        (loss, parts), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.weights)
        rate = hyper.learning_rate * step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(optimizer, grads, state.opt_state, state.params.weights, rate)
        state = state._replace(params=Params(weights, codes), opt_state=opt_state, extra=usage, step=state.step + 1)
        return state, Info(loss, *parts, codes_used)

    def draw(key, params, obs, num_samples, how: Draw):
        logits, offsets = heads(params.weights, obs)
        shape = (num_samples, *logits.shape[:-1])
        if how == "sample":
            found = jax.random.categorical(key, logits, shape=shape)
        else:
            found = jnp.broadcast_to(jnp.argmax(logits, axis=-1), shape)
        return decode(params.weights, codebook.look_up(params.codes, found)) + offset_of(offsets, found)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    return Method(Hyper(), init, step, sample, act, None, None, None, ("loss",))
