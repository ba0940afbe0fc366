"""The mixture-density generator that MDN and EBGAN-MDN share.

A network reads the observation, and a latent ``z ~ N(0, I)`` of ``latent_dim`` dimensions if there is one, and gives a mixture over
actions. Without a latent its density is exact; with one it is an infinite mixture that can only be sampled.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import collectives, encoders, mixture_outputs, networks
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import clusters
from ebgan_mdn_jax.methods.base import TrainState
from ebgan_mdn_jax.types import Array, PRNGKey, PyTree, Spec, require, require_at_least, require_choices

Draw = Literal["sample", "mode", "component_mean"]
Candidates = Literal["mixture", "component"]
_START = 0x53544152  # folded into the first step's key, so that the start shares no noise with its rows


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the generator.

    ``num_components`` is K. ``scale_floor`` of the method's Hyper bounds standard deviations from below; ``fixed_scale`` is the
    deviation of ``covariance="fixed"``, ``rank`` the number of factors of "low_rank". An ``encoder`` takes the observation first, where
    that is an image. With several ``independent_steps`` the action, a chunk of so many equal parts, has a mixture of K for each of them,
    all drawn independently: a baseline, which mixes modes within a chunk.

    ``start``: where components are before training, "network" as the network's weights have it, all near 0, "data" near actions of the
    first minibatch that k-means++ picks, with standard deviation ``start_scale`` in network units. Modes of many dimensions need that,
    for components that start together take several modes each, and no more steps part them. "clusters" starts at the minibatch's
    clusters (`clusters.tied_gaussians`), with their weights, means and, as far as the kind can hold it, covariance, the same at every
    observation.
    """

    num_components: int = 64
    covariance: mixture_outputs.Covariance = "diagonal"
    family: mixtures.Family = "gaussian"
    hidden: tuple[int, ...] = (128, 128, 128)
    latent_dim: int = 0
    fixed_scale: float = 0.1
    rank: int = 4
    independent_steps: int = 1
    start: Literal["network", "data", "clusters"] = "network"
    start_scale: float = 0.3
    init: networks.Init = "torch"
    encoder: encoders.EncoderConfig = encoders.EncoderConfig()

    def __post_init__(self):
        require_choices(self, "method.generator")
        require_at_least(1, self, "method.generator", "num_components", "hidden", "rank", "independent_steps")
        require_at_least(0, self, "method.generator", "latent_dim")
        for name in ("fixed_scale", "start_scale"):
            value = getattr(self, name)
            require(value > 0, f"method.generator.{name}={value}: needs a positive deviation")
        require(
            self.family == "gaussian" or self.covariance not in ("full", "low_rank", "tied"),
            f"method.generator.family='laplace' has no {self.covariance} covariance: use method.generator.covariance=diagonal",
        )
        require(
            self.family == "gaussian" or self.start != "clusters",
            "method.generator.start='clusters' are of Gaussians: use method.generator.start=data for method.generator.family='laplace'",
        )


class Generator(NamedTuple):
    """Pure functions of one generator; ``params`` are network weights, ``scale_floor`` a scalar."""

    init: Callable  # (key) -> params
    start: (
        Callable | None
    )  # (key, params, actions [B, Da]) -> params whose components start at them; None for "network"
    mixture: Callable | None  # (params, obs [B, Do], scale_floor) -> mixture; None with a latent
    row_mixture: Callable  # (params, obs [B, Do], row keys [B], scale_floor) -> mixture with one latent per row
    row_sample: Callable  # (mixture, row keys [B], num_samples) -> [N, B, Da]
    row_sample_components: Callable  # (mixture, row keys [B]) -> [K, B, Da]
    draw: Callable  # (key, params, obs [B, Do], num_samples, scale_floor, how) -> [N, B, Da]
    log_prob: Callable | None  # (params, obs [B, Do], action [..., B, Da], scale_floor) -> [..., B]; None with a latent


def make(config: GeneratorConfig, spec: Spec) -> Generator:
    """Build the generator for a task.

    Raises:
      InputError: if the action cannot be cut into ``independent_steps``.
    """
    require(
        spec.action_dim % config.independent_steps == 0,
        f"method.generator.independent_steps={config.independent_steps}: needs a divisor of the action's {spec.action_dim} dimensions",
    )
    network = networks.MixtureMLP(
        config.hidden, config.num_components, spec.action_dim, config.covariance, config.fixed_scale, config.init,
        encoders.make(config.encoder, spec), config.rank, config.independent_steps,
    )  # fmt: skip

    def init(key):
        return network.init(key, jnp.zeros((1, config.latent_dim + spec.obs_dim)), 0.0)

    def start(key, params, actions):
        steps = actions.reshape(len(actions), config.independent_steps, -1)
        kind = config.covariance, config.rank
        if config.start == "data":
            means = jax.vmap(clusters.spread_rows, (None, 1, None))(key, steps, config.num_components)
            outputs = jax.vmap(lambda one: mixture_outputs.to_outputs(one, config.start_scale, *kind))(means)
            return networks.shift_outputs(params, outputs.reshape(-1))
        found = jax.vmap(clusters.tied_gaussians, (None, 1, None))(key, steps, config.num_components)
        outputs = jax.vmap(lambda *of: mixture_outputs.clusters_to_outputs(*of, *kind))(*found)
        return networks.constant_outputs(params, outputs.reshape(-1))

    def apply(params, obs, latent, scale_floor):
        return network.apply(params, jnp.concatenate([latent, obs], axis=-1), scale_floor)

    def mixture(params, obs, scale_floor):
        return network.apply(params, obs, scale_floor)

    def row_mixture(params: PyTree, obs: Array, keys: PRNGKey, scale_floor: Array) -> mixtures.AnyMixture:
        if config.latent_dim == 0:
            return mixture(params, obs, scale_floor)
        latent = jax.vmap(lambda key: jax.random.normal(key, (config.latent_dim,), obs.dtype))(keys)
        return apply(params, obs, latent, scale_floor)

    def row_sample(rows, keys, num_samples):
        return jax.vmap(lambda key, row: mixtures.sample(key, row, num_samples, config.family), out_axes=1)(keys, rows)

    def row_sample_components(rows, keys):
        draws = jax.vmap(lambda key, row: mixtures.sample_components(key, row, config.family))(keys, rows)
        return jnp.moveaxis(draws, 1, 0)

    def draw(key, params, obs, num_samples, scale_floor, how: Draw):
        key_latent, key_draw = jax.random.split(key)
        if config.latent_dim == 0:
            return choose(key_draw, mixture(params, obs, scale_floor), num_samples, config.family, how)
        latent = jax.random.normal(key_latent, (num_samples, obs.shape[0], config.latent_dim), obs.dtype)
        obs = jnp.broadcast_to(obs, (num_samples, *obs.shape))
        return choose(key_draw, apply(params, obs, latent, scale_floor), 1, config.family, how)[0]

    def log_prob(params, obs, action, scale_floor):
        return mixtures.log_prob(mixture(params, obs, scale_floor), action, config.family)

    exact = config.latent_dim == 0
    return Generator(
        init,
        None if config.start == "network" else start,
        mixture if exact else None,
        row_mixture,
        row_sample,
        row_sample_components,
        draw,
        log_prob if exact else None,
    )


def started(generator: Generator, state: TrainState, key: PRNGKey, actions: Array, axis_name: str | None) -> PyTree:
    """Weights of a method's generator, which at its first step start from the minibatch's ``actions [B, Da]``."""
    weights = state.params.generator
    if generator.start is None:
        return weights
    rows, key = collectives.all_rows(actions, axis_name), jax.random.fold_in(key, _START)
    first = state.step == 0

    def begin():
        # Vmapped over members the condition computes both sides at every step; this loop then ends at once when all have started. In place
        # of the condition it would slow the whole step on a CPU.
        once = jnp.where(first, 1, 0)
        return jax.lax.fori_loop(0, once, lambda _, before: generator.start(key, before, rows), weights)

    return jax.lax.cond(first, begin, lambda: weights)


def choose(key: PRNGKey, mixture: mixtures.AnyMixture, num_samples: int, family: mixtures.Family, how: Draw) -> Array:
    """Actions ``[N, B, Da]`` of a mixture, chosen as ``how`` says."""
    if how == "sample":
        return mixtures.sample(key, mixture, num_samples, family)
    if how == "component_mean":
        return mixtures.component_mean(key, mixture, num_samples)
    best = mixtures.mode(mixture, family)
    return jnp.broadcast_to(best, (num_samples, *best.shape))


def draw_candidates(
    key: PRNGKey,
    mixture: mixtures.AnyMixture,
    num: int,
    family: mixtures.Family,
    source: Candidates,
) -> Array:
    """Draws ``[C, B, Da]`` to choose an action from: of the mixture, or per row of one component that is itself drawn by weight."""
    sample = mixtures.sample if source == "mixture" else mixtures.sample_one_component
    return sample(key, mixture, num, family)


def latent_and_draw_keys(key: PRNGKey, num_rows: int, axis_name: str | None) -> tuple[PRNGKey, PRNGKey]:
    """Row keys ``([B], [B])`` for the latents and for the draws of one generator call."""
    key_latent, key_draw = jax.random.split(key)
    return collectives.row_keys(key_latent, num_rows, axis_name), collectives.row_keys(key_draw, num_rows, axis_name)
