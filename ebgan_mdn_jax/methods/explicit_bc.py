r"""Explicit behavioural cloning: regression of the action, :math:`L = \mathbb E\,\|\pi(o) - a\|^2 / D_a`.

The baseline that cannot be multi-valued: its optimum is the conditional mean. The network of the EBGAN-MDN authors' script (arXiv
2510.07562), 4 x 64 ReLU with Adam; the learning rate decays as for the other methods here, StepLR(20, 0.5), where theirs has (30, 0.1).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, encoders, losses, networks
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure: network (`networks.MLP`, behind the ``encoder`` of images) and the epochs between two decays of the rate.

    ``spectral`` normalises its layers, so that without ``residual`` and ``encoder`` no action moves further than the observation does.
    ``dropout`` is the share of hidden units that are 0 in training.
    """

    hidden: tuple[int, ...] = (64, 64, 64, 64)
    init: networks.Init = "torch"
    residual: networks.Residual = "none"
    spectral: bool = False
    dropout: float = 0.0
    encoder: encoders.EncoderConfig = encoders.EncoderConfig()
    decay_every: int = 0

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "hidden")
        networks.require_residual(self.hidden, self.residual)
        networks.require_dropout("method.dropout", self.dropout)


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and the factor it decays by."""

    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.5


class Params(NamedTuple):
    """Weights of the policy network."""

    policy: PyTree


class Info(NamedTuple):
    """Logged: mean squared error per action dimension."""

    mse: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``sample`` repeats its one action, and it has no density."""
    encoder = encoders.make(config.encoder, spec)
    sizes = config.hidden, spec.action_dim, config.init, config.residual, config.spectral, config.dropout
    network = networks.MLP(*sizes, encoder=encoder)

    def init(key):
        key_init, key_state = base_keys(key)
        params = Params(network.init(key_init, jnp.zeros((1, spec.obs_dim))))
        opt_state = optimizer.init(networks.split(params.policy)[0])
        return TrainState(params, opt_state, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        trained, carried = networks.split(state.params.policy)
        keys = None
        if config.dropout:
            keys = collectives.row_keys(jax.random.fold_in(state.key, state.step), batch.obs.shape[0], axis_name)

        def loss_fn(trained):
            action = network.apply(trained | carried, batch.obs, keys)
            return jnp.mean(losses.squared_error(action, batch.action)), ()

        (loss, _), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(trained)
        if carried:
            _, carried = network.apply(trained | carried, batch.obs[:1], mutable=list(carried))
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        trained, opt_state = descend(optimizer, grads, state.opt_state, trained, hyper.learning_rate * decay)
        params = Params(trained | carried)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(loss)

    def act(key, params, obs):
        del key  # deterministic
        return network.apply(params.policy, obs)

    def sample(key, params, obs, num_samples):
        action = act(key, params, obs)
        return jnp.broadcast_to(action, (num_samples, *action.shape))

    return Method(Hyper(), init, step, sample, act, energy=None, log_prob=None, mixture=None, losses=("mse",))
