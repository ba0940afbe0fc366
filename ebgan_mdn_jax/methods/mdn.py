r"""Mixture density network (Bishop 1994): maximum likelihood of a conditional mixture.

.. math:: L = -\mathbb E \log \sum_{k=1}^K \pi_k(o)\, f\big(a; \mu_k(o), \sigma_k(o)\big)

Differs from the EBGAN-MDN authors' code (arXiv 2510.07562) in: the constant ``Da/2 log(2 pi)`` is kept; scales have a floor; "isotropic"
is truly one scale per component (theirs mixes components for Da > 1); a Laplace mixture is trained by its own likelihood.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure: the generator, epochs between decays, and how `sample` and `act` choose actions.

    They do so from the mixture that ``temperature`` and ``scale_exponent`` make of the trained one (`mixture.tempered`; IBC's MDN has an
    exponent of 4 on images); ``log_prob`` is of that.
    """

    generator: generators.GeneratorConfig = generators.GeneratorConfig()
    decay_every: int = 0
    sample_by: generators.Draw = "sample"
    act_by: generators.Draw = "sample"
    temperature: float = 1.0
    scale_exponent: float = 1.0

    INFERENCE = ("sample_by", "act_by", "temperature", "scale_exponent")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        for name in ("temperature", "scale_exponent"):
            value = getattr(self, name)
            require(value > 0, f"method.{name}={value}: needs a positive number")
            require(
                value == 1 or self.generator.latent_dim == 0,
                f"method.{name}={value} needs one mixture per observation: set method.generator.latent_dim=0, or leave it out",
            )
        require(
            self.scale_exponent == 1 or self.generator.covariance not in ("full", "tied", "low_rank"),
            f"method.scale_exponent={self.scale_exponent} needs scales: take a covariance of the axes, such as diagonal, or leave it out",
        )
        require(
            self.generator.independent_steps == 1 or (self.temperature, self.scale_exponent) == (1, 1),
            f"method.generator.independent_steps={self.generator.independent_steps}: leave out method.temperature and scale_exponent",
        )


class Hyper(NamedTuple):
    """Traced scalars; ``scale_floor`` is the least standard deviation of a component, in network units."""

    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.5
    scale_floor: float = 1e-3


class Params(NamedTuple):
    """Weights of the generator, and the floor they were trained with."""

    generator: PyTree
    scale_floor: Array


class Info(NamedTuple):
    """Logged: negative log-likelihood (nats, network units, with constant), entropy of the weights (nats)."""

    nll: Array
    weight_entropy: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``log_prob`` is the density of what `sample` draws, so None with a latent or another ``sample_by``."""
    generator = generators.make(config.generator, spec)

    def init(key):
        key_init, key_state = base_keys(key)
        weights = generator.init(key_init)
        params = Params(weights, jnp.asarray(Hyper().scale_floor, float))
        return TrainState(params, optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        keys = collectives.row_keys(key, batch.obs.shape[0], axis_name)
        scale_floor = jnp.asarray(hyper.scale_floor, state.params.scale_floor.dtype)
        weights = generators.started(generator, state, key, batch.action, axis_name)

        def loss_fn(weights):
            rows = generator.row_mixture(weights, batch.obs, keys, scale_floor)
            nll = losses.mixture_nll(rows, batch.action, config.generator.family)
            return jnp.mean(nll), jnp.mean(mixtures.weight_entropy(rows))

        (nll, entropy), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(weights)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(optimizer, grads, state.opt_state, weights, hyper.learning_rate * decay)
        params = Params(weights, scale_floor)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(nll, entropy)

    def mixture(params, obs):
        rows = generator.mixture(params.generator, obs, params.scale_floor)
        if (config.temperature, config.scale_exponent) == (1, 1):
            return rows
        return mixtures.tempered(rows, config.temperature, config.scale_exponent)

    def draw(key, params, obs, num_samples, how):
        if generator.mixture is None:
            return generator.draw(key, params.generator, obs, num_samples, params.scale_floor, how)
        key_draw = jax.random.split(key)[1]  # as of a generator with a latent, which takes the other
        return generators.choose(key_draw, mixture(params, obs), num_samples, config.generator.family, how)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    def log_prob(params, obs, action):
        return mixtures.log_prob(mixture(params, obs), action, config.generator.family)

    exact = generator.mixture is not None
    joint = mixture if exact and config.generator.independent_steps == 1 else None
    density = log_prob if exact and config.sample_by == "sample" else None
    return Method(Hyper(), init, step, sample, act, None, density, joint, ("nll",))
