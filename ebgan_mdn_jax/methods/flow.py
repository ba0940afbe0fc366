r"""Conditional flow matching on straight paths (Lipman et al. 2023, arXiv 2210.02747; rectified flow, Liu et al. 2023, arXiv 2209.03003).

A velocity :math:`v` that carries noise :math:`x_0 \sim N(0, I)` at time 0 to actions at time 1 is found by regression on the straight lines
between them:

.. math::
  L = \mathbb E\,\big\|v(x_t, t, o) - (a - x_0)\big\|^2 / D_a, \qquad x_t = (1 - t)\, x_0 + t\, a

Its optimum is the mean of :math:`a - x_0` given :math:`x_t` and o, and the solution of :math:`\dot x = v(x, t, o)` from a draw of
:math:`x_0` then is a draw of an action. A policy takes few Euler steps, and is a smooth map of the noise: between separate modes it must be
steep, or leave something there (`theory.bridge_mass_bound`).

The network gives the velocity itself, or with ``predict="action"`` the action that it leads to, a mean of demonstrations, from which the
velocity follows as :math:`(\hat a - x_t) / (1 - t)`; the loss is the same (Li & He 2025, arXiv 2511.13720, whose least divisor of 0.05 is
here, too). Noise has as many dimensions as a chunk and has to be cancelled in all of them, where the chunks of a task's modes are few:
small networks learn the latter.

Time is uniform, or :math:`t = s\,(1 - u)` with :math:`u \sim \mathrm{Beta}(1.5, 1)` and s = 0.999, which favours noisy actions (Black et
al. 2024, arXiv 2410.24164). Lipman et al. leave noise of deviation ``sigma_min`` on actions; here it is 0. Inside, actions are in half
extents of the box of `Spec`. The density of a draw, one trace of a Jacobian per step, is not evaluated.
"""

import dataclasses
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
from ebgan_mdn_jax.types import Array, Horizon, PRNGKey, PyTree, Spec, require_at_least, require_choices

Time = Literal["uniform", "beta"]
_LEAST_LEFT = 0.05  # of 1 - t, as a divisor


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``num_draws`` pairs of noise and time are drawn for each demonstration of a batch. An action takes ``num_steps`` Euler steps, each one
    evaluation of the network.
    """

    denoiser: denoisers.DenoiserConfig = denoisers.DenoiserConfig()
    predict: Literal["velocity", "action"] = "action"
    time: Time = "uniform"
    num_draws: int = 8
    decay_every: int = 0
    num_steps: int = 20

    INFERENCE = ("num_steps",)

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "num_draws", "num_steps")


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and its decay, and that of the moving average of weights (0: the weights themselves)."""

    learning_rate: float = 2e-3
    learning_rate_decay: float = 0.5
    ema_decay: float = 0.999


class Params(NamedTuple):
    """Weights of the velocity, and their moving average, by which actions are drawn."""

    weights: PyTree
    average: PyTree


class Info(NamedTuple):
    """Logged: mean squared error per action dimension, in half extents; at its optimum it is the variance of directions, not 0."""

    loss: Array


def draw_time(key: PRNGKey, num: int, time: Time, dtype) -> Array:
    """Times ``[N]`` to train at, see the module; the Beta distribution is drawn by its quantile function, ``u^(2/3)`` of a uniform u."""
    uniform = jax.random.uniform(key, (num,), dtype)
    return uniform if time == "uniform" else 0.999 * (1 - uniform ** (1 / 1.5))


def interpolate(keys: PRNGKey, target: Array, num_draws: int, time: Time) -> tuple[Array, Array, Array]:
    """Points on straight lines from noise to ``target [B, D]``, ``num_draws`` (N) for each row with its key, ``keys [B]``.

    Returns:
      Times ``[N, B]``; the points ``[N, B, D]``; and the lines' directions ``[N, B, D]``, target less noise.
    """
    key_time, key_noise = jax.vmap(jax.random.split, out_axes=1)(keys)
    shape, dtype = (num_draws, target.shape[-1]), target.dtype
    times = jax.vmap(lambda key: draw_time(key, num_draws, time, dtype), out_axes=1)(key_time)
    noise = jax.vmap(lambda key: jax.random.normal(key, shape, dtype), out_axes=1)(key_noise)
    target = jnp.broadcast_to(target, noise.shape)
    return times, (1 - times)[..., None] * noise + times[..., None] * target, target - noise


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it has no energy, and its density is not evaluated."""
    network = denoisers.make(config.denoiser, spec)
    units = unit_box(spec)

    def velocity_fn(weights, obs, action, time):
        predicted = network.apply(weights, obs, action, time)
        if config.predict == "velocity":
            return predicted
        return (predicted - action) / jnp.maximum(1 - time, _LEAST_LEFT)[..., None]

    def init(key):
        key_init, key_state = base_keys(key)
        action = jnp.zeros((1, spec.action_dim))
        weights = network.init(key_init, jnp.zeros((1, spec.obs_dim)), action, jnp.zeros(1))
        return TrainState(Params(weights, weights), optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        keys = collectives.row_keys(jax.random.fold_in(state.key, state.step), batch.obs.shape[0], axis_name)
        time, between, wanted = interpolate(keys, units.action(batch.action), config.num_draws, config.time)
        scale = jnp.ones_like(time)[..., None]
        if config.predict == "action":  # the same loss, of the network's own output
            left = jnp.maximum(1 - time, _LEAST_LEFT)[..., None]
            wanted, scale = between + left * wanted, 1 / left

        def loss_fn(weights):
            error = network.apply(weights, batch.obs, between, time) - wanted
            return jnp.mean((scale * error) ** 2), ()

        (loss, _), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.weights)
        rate = hyper.learning_rate * step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(optimizer, grads, state.opt_state, state.params.weights, rate)
        average = moving_average(state.params.average, weights, hyper.ema_decay, state.step)
        params = Params(weights, average)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(loss)

    def solve(params, obs, noise):
        def velocity(action, time):
            return velocity_fn(params.average, obs, action, jnp.full(action.shape[:-1], time))

        return units.action_to_data(integrators.euler(velocity, noise, config.num_steps))

    transport = Transport(spec.action_dim, solve)

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
        losses=("loss",),
        num_evaluations=config.num_steps,
        transport=transport,
    )
