r"""Denoising diffusion (Ho et al. 2020, arXiv 2006.11239) with implicit sampling (Song et al. 2021, arXiv 2010.02502), as a policy.

Actions are mixed with noise in T steps, of which t are enough to leave :math:`\bar\alpha_t` of their variance, and a network is trained to
tell the noise:

.. math::
  L = \mathbb E\,\big\|\epsilon(x_t, t, o) - z\big\|^2 / D_a, \qquad x_t = \sqrt{\bar\alpha_t}\, a + \sqrt{1 - \bar\alpha_t}\, z

with t uniform in 1..T and :math:`z \sim N(0, I)`. The network gives the noise itself, or with ``predict="action"`` the action without it,
from which the noise follows as :math:`(x_t - \sqrt{\bar\alpha_t}\,\hat a) / \sqrt{1 - \bar\alpha_t}`; the loss is the same (see `flow`).
Draws go back from noise in at most T steps (`integrators.ddim`), deterministically or with noise. Diffusion Policy (Chi et al. 2023,
arXiv 2303.04137) has ``predict="noise"``, and like here the cosine schedule, T = 100, predicted actions kept in a box, averaged weights.

Inside, actions are in half extents of the box of `Spec`, the units of ``clip``. Demonstrations may leave the box a little, so the default
keeps predictions in one 1.5 times as large (Diffusion Policy: 1, where actions are scaled by their range). Without any bound the first
step from predicted noise, which divides by :math:`\sqrt{\bar\alpha_T}` = 5e-4, magnifies every error of the network.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, denoisers
from ebgan_mdn_jax.methods.base import (
    Method,
    TrainState,
    Transport,
    base_keys,
    descend,
    moving_average,
    require_decay,
    step_decay,
)
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import integrators
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``train_steps`` is T; ``num_draws`` pairs of noise and time are drawn for each demonstration of a batch. An action takes ``num_steps``
    steps, each one evaluation of the network. ``eta`` is of `integrators.ddim`, ``clip`` its bound in half extents of the box, 0 for none.
    """

    denoiser: denoisers.DenoiserConfig = denoisers.DenoiserConfig()
    predict: Literal["noise", "action"] = "action"
    schedule: integrators.Schedule = "cosine"
    train_steps: int = 100
    num_draws: int = 8
    decay_every: int = 0
    num_steps: int = 100
    eta: float = 0.0
    clip: float = 1.5

    INFERENCE = ("num_steps", "eta", "clip")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "train_steps", "num_draws", "num_steps")
        require(
            self.num_steps <= self.train_steps,
            f"method.num_steps={self.num_steps}: there are but method.train_steps={self.train_steps}; take at most so many",
        )
        require(0 <= self.eta <= 1, f"method.eta={self.eta}: needs a share of the diffusion's noise from 0 to 1")
        require_at_least(0, self, "method", "clip")


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and its decay, and that of the moving average of weights (0: the weights themselves)."""

    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.5
    ema_decay: float = 0.999


class Params(NamedTuple):
    """Weights of the network that predicts noise, and their moving average, by which actions are drawn."""

    weights: PyTree
    average: PyTree


class Info(NamedTuple):
    """Logged: mean squared error per action dimension, of standard noise; at its optimum it is not 0."""

    loss: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it has no energy, and its density is not evaluated."""
    network = denoisers.make(config.denoiser, spec)
    units = unit_box(spec)
    alpha_bar = integrators.alpha_bars(config.schedule, config.train_steps)

    def noise_fn(weights, obs, action, time):
        """The noise in ``action [..., B, Da]`` at ``time [..., B]``, whole numbers."""
        predicted = network.apply(weights, obs, action, time.astype(action.dtype) / config.train_steps)
        if config.predict == "noise":
            return predicted
        left = jnp.asarray(alpha_bar, action.dtype)[time][..., None]
        return (action - jnp.sqrt(left) * predicted) / jnp.sqrt(1 - left)

    def init(key):
        key_init, key_state = base_keys(key)
        action = jnp.zeros((1, spec.action_dim))
        weights = network.init(key_init, jnp.zeros((1, spec.obs_dim)), action, jnp.zeros(1))
        return TrainState(Params(weights, weights), optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        keys = collectives.row_keys(jax.random.fold_in(state.key, state.step), batch.obs.shape[0], axis_name)
        key_time, key_noise = jax.vmap(jax.random.split, out_axes=1)(keys)
        shape, dtype = (config.num_draws, spec.action_dim), batch.action.dtype
        time = jax.vmap(lambda key: jax.random.randint(key, shape[:1], 1, len(alpha_bar)), out_axes=1)(key_time)
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, dtype), out_axes=1)(key_noise)  # [N, B, Da]
        left = jnp.asarray(alpha_bar, dtype)[time][..., None]
        action = jnp.broadcast_to(units.action(batch.action), noise.shape)
        noisy = jnp.sqrt(left) * action + jnp.sqrt(1 - left) * noise
        wanted, scale = noise, jnp.ones_like(left)
        if config.predict == "action":  # the same loss, of the network's own output
            wanted, scale = action, jnp.sqrt(left / (1 - left))

        def loss_fn(weights):
            error = network.apply(weights, batch.obs, noisy, time.astype(dtype) / config.train_steps) - wanted
            return jnp.mean((scale * error) ** 2), ()

        (loss, _), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.weights)
        rate = hyper.learning_rate * step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(optimizer, grads, state.opt_state, state.params.weights, rate)
        average = moving_average(state.params.average, weights, hyper.ema_decay, state.step)
        params = Params(weights, average)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(loss)

    def denoise(key, params, obs, start):
        def noise_at(action, time):
            return noise_fn(params.average, obs, action, jnp.full(action.shape[:-1], time))

        steps = alpha_bar, config.num_steps, config.eta, config.clip or None
        return units.action_to_data(integrators.ddim(key, noise_at, start, *steps))

    def sample(key, params, obs, num_samples):
        key_start, key_steps = jax.random.split(key)
        return Transport(spec.action_dim, functools.partial(denoise, key_steps)).draw(
            key_start, params, obs, num_samples
        )

    def act(key, params, obs):
        return sample(key, params, obs, 1)[0]

    return Method(
        Hyper(),
        init,
        step,
        sample,
        act,
        energy=None,
        log_prob=None,
        mixture=None,
        losses=("loss",),
        num_evaluations=config.num_steps,
        transport=Transport(spec.action_dim, functools.partial(denoise, None)) if config.eta == 0 else None,
    )
