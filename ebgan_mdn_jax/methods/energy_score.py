r"""A generator trained by the energy score (Gneiting & Raftery 2007, section 4.3): no adversary, no density, no latent to infer.

One network maps an observation and noise ``z ~ N(0, I)`` to an action, ``x = G(z, o)``, and minimises over M draws per row

.. math:: L = \mathbb E\Big[\frac1M \sum_i \|x_i - a\| - \frac{1}{2 M (M - 1)} \sum_{i \ne j} \|x_i - x_j\|\Big]

whose mean is, up to a constant of the data, half the energy distance (Székely & Rizzo 2013) between the policy and the conditional at
each observation; a strictly proper scoring rule, so it is least for that conditional alone. The same loss trains distributional diffusion
(De Bortoli et al. 2025) and engression (Shen & Meinshausen 2024).

With ``network="lipschitz"`` the generator is an `orthonormal.LipschitzMLP` and no action moves by more than ``lipschitz`` times what z and
o together move by, in network units: all that a smooth map of noise cannot do (`theory.transport`) then holds strictly.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks, orthonormal
from ebgan_mdn_jax.methods.base import Method, TrainState, Transport, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure; ``num_draws`` is M, and ``init`` is of "mlp" (the other starts orthogonal).

    All randomness of a draw is in its latent, so with 0 dimensions there is none, and training regresses to the median.
    """

    network: Literal["mlp", "lipschitz"] = "mlp"
    hidden: tuple[int, ...] = (64, 64)
    latent_dim: int = 2
    num_draws: int = 8
    init: networks.Init = "torch"
    decay_every: int = 0

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(0, self, "method", "latent_dim")
        require_at_least(1, self, "method", "hidden")
        require_at_least(2, self, "method", "num_draws")
        if self.network == "lipschitz":
            orthonormal.require_even("method.hidden", self.hidden)


class Hyper(NamedTuple):
    """Traced scalars; ``lipschitz`` is L in network units, of ``network="lipschitz"`` alone."""

    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.5
    lipschitz: float = 8.0


class Params(NamedTuple):
    """Weights of the generator, and the constant they were trained with."""

    generator: PyTree
    lipschitz: Array


class Info(NamedTuple):
    """Logged: the loss, and ``spread``, the mean distance of two draws of a row, which is 0 where there is one action (network units)."""

    energy_score: Array
    spread: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it can only be sampled."""
    if config.network == "lipschitz":
        network = orthonormal.LipschitzMLP(config.hidden, spec.action_dim)
    else:
        network = networks.MLP(config.hidden, spec.action_dim, config.init)

    def generate(weights, obs, latent, lipschitz):
        """Actions ``[N, B, Da]`` of ``latent [N, B, latent_dim]``."""
        inputs = jnp.concatenate([latent, jnp.broadcast_to(obs, (*latent.shape[:-1], spec.obs_dim))], axis=-1)
        return network.apply(weights, inputs, *([lipschitz] if config.network == "lipschitz" else []))

    def init(key):
        key_init, key_state = base_keys(key)
        inputs = jnp.zeros((1, config.latent_dim + spec.obs_dim))
        weights = network.init(key_init, inputs, *([1.0] if config.network == "lipschitz" else []))
        params = Params(weights, jnp.asarray(Hyper().lipschitz, float))
        return TrainState(params, optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        keys = collectives.row_keys(key, batch.obs.shape[0], axis_name)
        shape = config.num_draws, config.latent_dim
        latent = jax.vmap(lambda key: jax.random.normal(key, shape, batch.obs.dtype), out_axes=1)(keys)
        lipschitz = jnp.asarray(hyper.lipschitz, state.params.lipschitz.dtype)

        def loss_fn(weights):
            draws = generate(weights, batch.obs, latent, lipschitz)
            spread = losses.spread(draws)
            return jnp.mean(losses.energy_score(draws, batch.action)), jnp.mean(spread)

        (score, spread), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.generator)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(
            optimizer, grads, state.opt_state, state.params.generator, hyper.learning_rate * decay
        )
        params = Params(weights, lipschitz)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(score, spread)

    transport = Transport(
        config.latent_dim, lambda params, obs, noise: generate(params.generator, obs, noise, params.lipschitz)
    )

    def act(key, params, obs):
        return transport.draw(key, params, obs, 1)[0]

    return Method(
        Hyper(),
        init,
        step,
        sample=transport.draw,
        act=act,
        energy=None,
        log_prob=None,
        mixture=None,
        losses=("energy_score",),
        transport=transport,
    )
