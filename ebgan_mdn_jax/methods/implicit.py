"""What a policy that is an energy needs beside it: the search for actions, and the chains that descend it.

Both work in half extents of the action box, for networks that take actions in data units. `ibc` says how an action is chosen from what a
search finds.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import collectives, networks
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import autoregressive, base, derivative_free, langevin, selection
from ebgan_mdn_jax.types import Array, PyTree, Spec, require, require_at_least, require_choices

Inference = Literal["sample", "argmin"]


@dataclasses.dataclass(frozen=True)
class LangevinConfig:
    """The chain: T as ``num_steps``, the form of its noise, how its step sizes fall, and whether its steps are corrected.

    The others are of training alone, and of the negatives that are ``langevin_share``. With ``one_chain`` those of a row are the last
    states of one chain, and what comes before them is its burn-in; else each is the end of its own. With ``backpropagate`` the loss's
    gradient goes through the chains, and the energy learns where they lead, too; in IBC, and else, negatives are constants.
    """

    num_steps: int = 25
    noise: langevin.Noise = "ibc"
    schedule: Literal["polynomial", "exponential"] = "polynomial"
    metropolis: bool = False
    one_chain: bool = False
    backpropagate: bool = False

    def __post_init__(self):
        require_choices(self, "method.langevin")
        require_at_least(1, self, "method.langevin", "num_steps")
        require(
            not (self.metropolis and self.noise == "ibc"),
            "method.langevin.metropolis=True: noise=ibc has no stationary law to correct to; set method.langevin.noise=langevin",
        )


class Search(NamedTuple):
    """Pure functions of an energy's weights and the scalars of `ibc.Hyper`."""

    encode: Callable  # (weights, obs [..., Do]) -> code [..., E]
    energy: Callable  # (weights, code [B, E], action [..., B, Da]) -> [..., B]
    in_box: Callable  # (weights, dropout_keys=None) -> energy_fn of codes and actions in half extents of the box
    populate: Callable  # (key, weights, code [E], hyper, num_candidates, num_iterations) -> Population, by a derivative-free search
    draw: Callable  # (key, weights, hyper, obs [B, Do], num_samples, how: Inference) -> [N, B, Da]


def make_chain(
    config: LangevinConfig,
    hyper: NamedTuple,
    dim: int,
    step_sizes: tuple[Array, Array],
    noise: langevin.Noise,
    noise_scale: Array | float,
) -> base.Sampler:
    """The Langevin chain in the box ``[-1, 1]^dim`` with step sizes from the first to the last of ``step_sizes``."""
    first, last = step_sizes
    if config.schedule == "polynomial":
        sizes = langevin.polynomial_schedule(first, last, hyper.step_power, config.num_steps)
    else:
        decay = (last / first) ** (1 / max(config.num_steps - 1, 1))
        sizes = langevin.exponential_schedule(first, decay, config.num_steps)
    clip = None if config.metropolis else hyper.delta_clip
    box = (-1.0,) * dim, (1.0,) * dim
    return langevin.make(sizes, *box, noise, noise_scale, delta_clip=clip, metropolis=config.metropolis)


def make(config, spec: Spec, network: networks.EnergyMLP | networks.PrefixEnergies) -> Search:
    """Build the searches of an `ibc.Config` for the energy ``network``; an observation is encoded once, whatever it is searched for."""
    units = unit_box(spec)

    def encode(weights, obs):
        return obs if config.autoregressive else network.apply(weights, obs, method="encode")

    def energy(weights, code, action, dropout_keys=None):
        if config.autoregressive:
            return network.of_prefix(weights, spec.action_dim - 1, code, action)
        return network.apply(weights, code, action, dropout_keys, method="of_code")

    def in_box(weights: PyTree, dropout_keys=None) -> Callable:
        return lambda code, action: energy(weights, code, units.action_to_data(action), dropout_keys)

    def populate(key, weights, code, hyper, num_candidates, num_iterations):
        bounds = spec.action_low, spec.action_high
        sizes = num_candidates, num_iterations, hyper.sigma, hyper.shrink
        if config.autoregressive:
            return autoregressive.search(key, functools.partial(network.of_prefix, weights), code, *bounds, *sizes)
        return derivative_free.search(key, functools.partial(energy, weights), code, *bounds, *sizes)

    def descend(key, weights, code, hyper):
        key_start, *key_passes = jax.random.split(key, 3)
        at = jax.random.uniform(key_start, (config.num_candidates, 1, spec.action_dim), code.dtype, -1.0, 1.0)
        passes = ((hyper.step_size, hyper.last_step_size), (hyper.second_step_size, hyper.second_last_step_size))
        for key_pass, sizes in list(zip(key_passes, passes, strict=True))[: 1 + config.second_pass]:
            chain = make_chain(
                config.langevin, hyper, spec.action_dim, sizes, config.langevin.noise, hyper.search_noise_scale
            )
            chains, _, _ = base.run(key_pass[None], chain, in_box(weights), code[None], at)
            at = chains.action
        return derivative_free.Population(units.action_to_data(at[:, 0]), chains.energy[:, 0])

    def draw(key, weights, hyper, obs, num_samples, how: Inference):
        def of_row(key, row):
            key_search, key_choice = jax.random.split(key)
            code = encode(weights, row[None])[0]
            scalars = jax.tree.map(lambda value: jnp.asarray(value, code.dtype), hyper)
            if config.search == "langevin":
                population = descend(key_search, weights, code, scalars)
            else:
                population = populate(key_search, weights, code, scalars, config.num_candidates, config.num_iterations)
            if how == "argmin":
                best = selection.lowest_energy(population.action, population.energy)
                return jnp.broadcast_to(best, (num_samples, spec.action_dim))
            if config.search == "langevin":
                return population.action[jax.random.randint(key_choice, (num_samples,), 0, config.num_candidates)]
            return population.action[derivative_free.resample(key_choice, -population.energy, num_samples)]

        keys = collectives.row_keys(key, obs.shape[0])
        return jnp.moveaxis(derivative_free.map_rows(of_row, keys, obs, config.num_candidates), 0, 1)

    return Search(encode, energy, in_box, populate, draw)
