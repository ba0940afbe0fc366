r"""Implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137) with a derivative-free search for actions.

An energy trained by InfoNCE with N uniform negatives, drawn anew for every row and step:

.. math:: L_\theta = -\mathbb E \log\frac{e^{-E_\theta(o,a)}}{e^{-E_\theta(o,a)} + \sum_{j=1}^N e^{-E_\theta(o,x_j)}}

With uniform negatives ``exp(-E)`` estimates the conditional density in the box up to a factor. An action is chosen from the population of
`samplers.derivative_free`: "argmin" takes its lowest energy, "sample" draws by ``softmax(-E)``, all draws from one population. After
t iterations a draw then has density ``exp(-(t + 1) E)``, up to the noise of the search: sharper than the data, and of several modes the
one of lower energy gains. ``num_iterations=0`` draws from ``exp(-E)`` itself, self-normalised over the candidates.

Sizes are those that EBGAN-MDN's authors compare with (arXiv 2510.07562): 3 x 64 ReLU, N = 64, 16,384 candidates, Adam 1e-3 with
StepLR(20, 0.5). They iterate 4 times for 1-D actions and 3 times else, IBC 3 times. Where we differ from both: the final population is
scored before one is chosen from it; boxes hold for each action dimension, and ``sigma`` is in half extents of them, not in units of the
action.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.samplers import derivative_free, negatives, selection
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require_at_least, require_choices

Inference = Literal["sample", "argmin"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``num_negatives`` is N; ``num_candidates`` and ``num_iterations`` are of the search for actions and leave training as it is.
    """

    energy_hidden: tuple[int, ...] = (64, 64, 64)
    energy_init: networks.Init = "torch"
    num_negatives: int = 64
    decay_every: int = 0
    sample_by: Inference = "sample"
    act_by: Inference = "argmin"
    num_candidates: int = 16_384
    num_iterations: int = 3

    INFERENCE = ("sample_by", "act_by", "num_candidates", "num_iterations")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "num_negatives", "num_candidates", "energy_hidden")
        require_at_least(0, self, "method", "num_iterations")


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and its decay, the search's noise in half extents of the box, and its shrinkage."""

    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.5
    sigma: float = 0.33
    shrink: float = 0.5


class Params(NamedTuple):
    """Weights of the energy network, and the scalars that the search depends on."""

    energy: PyTree
    sigma: Array
    shrink: Array


class Info(NamedTuple):
    """Logged means over rows."""

    energy_loss: Array
    positive_energy: Array
    negative_energy: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it has an energy and no density."""
    network = networks.EnergyMLP(config.energy_hidden, config.energy_init)

    def init(key):
        key_init, key_state = base_keys(key)
        weights = network.init(key_init, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        params = Params(weights, jnp.asarray(Hyper().sigma, float), jnp.asarray(Hyper().shrink, float))
        return TrainState(params, optimizer.init(weights), (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        drawn = negatives.draw(key, batch.action, spec, config.num_negatives, 0, axis_name)
        actions = jnp.concatenate([batch.action[None], drawn])

        def loss_fn(weights):
            energies = network.apply(weights, batch.obs, actions)
            loss = losses.info_nce(energies[0], energies[1:])
            return jnp.mean(loss), (jnp.mean(energies[0]), jnp.mean(energies[1:]))

        (loss, energies), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.energy)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        weights, opt_state = descend(
            optimizer, grads, state.opt_state, state.params.energy, hyper.learning_rate * decay
        )
        sigma, shrink = (jnp.asarray(value, state.params.sigma.dtype) for value in (hyper.sigma, hyper.shrink))
        params = Params(weights, sigma, shrink)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Info(loss, *energies)

    def energy(params, obs, action):
        return network.apply(params.energy, obs, action)

    def draw(key, params, obs, num_samples, how: Inference):
        def of_row(key, row):
            key_search, key_choice = jax.random.split(key)
            population = derivative_free.search(
                key_search,
                lambda obs, action: energy(params, obs, action),
                row,
                spec.action_low,
                spec.action_high,
                config.num_candidates,
                config.num_iterations,
                params.sigma,
                params.shrink,
            )
            if how == "argmin":
                best = selection.lowest_energy(population.action, population.energy)
                return jnp.broadcast_to(best, (num_samples, spec.action_dim))
            return population.action[derivative_free.resample(key_choice, -population.energy, num_samples)]

        keys = collectives.row_keys(key, obs.shape[0])
        return jnp.moveaxis(derivative_free.map_rows(of_row, keys, obs, config.num_candidates), 0, 1)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    return Method(Hyper(), init, step, sample, act, energy, None, None, ("energy_loss",))
