r"""Nearest neighbours: the policy is its memory of demonstrations, with nothing to optimise.

With ``N_k(o)`` the k stored rows of nearest observation and h the ``bandwidth``, the density is that of nearest-neighbour regression
with a Gaussian kernel on the actions (Rosenblatt 1969; the "nearest neighbour" of imitation learning is its limit k = 1, h to 0: draw
"nearest", as there is no density at h = 0):

.. math:: q(a|o) = \frac1k \sum_{i \in N_k(o)} \mathcal N\big(a; a_i, \mathrm{diag}(h\,s)^2\big)

Distances are Euclidean in half extents of the observation box; ``s`` are the half extents of the action box. The first epoch writes every
row into the memory, later ones change nothing. A neighbour that is missing, since fewer than k rows are stored, stands for not knowing: the
box's centre with its half extents as deviation. Of rows at equal distance the first stored ones are taken; where many observations are
the same, k has to be as large as the actions there are many.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, linear_algebra
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys
from ebgan_mdn_jax.types import Array, Batch, Horizon, Spec, require, require_at_least, require_choices

_SHORTLIST = 16  # rows beyond k whose distance is computed exactly

Draw = Literal["sample", "neighbour", "nearest"]


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure: rows that fit the memory, and k, which leaves training as it is.

    An action is drawn with the kernel's noise ("sample"), from the k neighbours' ("neighbour"), or is that of the first one ("nearest").
    """

    capacity: int = 16_384
    num_neighbours: int = 10
    sample_by: Draw = "sample"
    act_by: Draw = "nearest"

    INFERENCE = ("sample_by", "act_by", "num_neighbours")

    def __post_init__(self):
        require_choices(self, "method")
        require_at_least(1, self, "method", "num_neighbours")
        require(
            self.capacity >= self.num_neighbours,
            f"method.capacity={self.capacity}: needs at least method.num_neighbours={self.num_neighbours}",
        )


class Hyper(NamedTuple):
    """Traced: deviation of the kernel in half extents of the action box."""

    bandwidth: float = 0.02


class Params(NamedTuple):
    """The memory: ``obs [capacity, Do]``, ``action [capacity, Da]``, of which the first ``num_rows`` are written; and the bandwidth."""

    obs: Array
    action: Array
    num_rows: Array
    bandwidth: Array


class Info(NamedTuple):
    """Logged: mean distance from the batch to the nearest stored observation before it is stored, and the rows stored after it.

    While the memory is empty the distance is the box's diagonal. From the second epoch on every row finds itself at distance 0.
    """

    distance: Array
    num_rows: Array


def make(config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation | None = None) -> Method:
    """Build the method; ``optimizer`` is not used. ``log_prob`` is the density of what `sample` draws."""
    del optimizer
    require(
        horizon.num_steps >= horizon.steps_per_epoch,
        f"train.steps={horizon.num_steps}: one epoch of {horizon.steps_per_epoch} steps reads all demonstrations; take as many at least",
    )
    action_centre, action_extent = _box(spec.action_low, spec.action_high)

    def init(key):
        _, key_state = base_keys(key)
        memory = jnp.zeros((config.capacity, spec.obs_dim)), jnp.zeros((config.capacity, spec.action_dim))
        params = Params(*memory, jnp.zeros(()), jnp.asarray(Hyper().bandwidth, float))
        cursor = jnp.zeros((), jnp.int32)  # in place of an optimiser's state: where the next batch is written
        return TrainState(params, cursor, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        batch = jax.tree.map(lambda rows: collectives.all_rows(rows, axis_name), batch)
        size = batch.obs.shape[0]
        needed = horizon.steps_per_epoch * size
        require(
            needed <= config.capacity,
            f"method.capacity={config.capacity}: the memory must hold an epoch of {needed} rows; set method.capacity={needed}",
        )
        distance, _ = nearest(state.params, batch.obs, 1)
        distance = jnp.where(state.params.num_rows > 0, distance[:, 0], 2.0 * spec.obs_dim**0.5)

        writes = state.step < horizon.steps_per_epoch
        memory = Batch(state.params.obs, state.params.action)

        def write(memory, rows):
            old = jax.lax.dynamic_slice_in_dim(memory, state.opt_state, size)
            return jax.lax.dynamic_update_slice_in_dim(memory, jnp.where(writes, rows, old), state.opt_state, 0)

        memory = jax.tree.map(write, memory, batch)
        last = state.step == horizon.steps_per_epoch - 1
        cursor = state.opt_state + jnp.where(writes, size, 0)
        num_rows = cursor - jnp.where(last, repeated(memory, batch), 0)
        num_rows = jnp.where(writes, num_rows.astype(state.params.num_rows.dtype), state.params.num_rows)
        params = Params(*memory, num_rows, jnp.asarray(hyper.bandwidth, state.params.bandwidth.dtype))
        state = state._replace(params=params, opt_state=cursor, step=state.step + 1)
        return state, Info(jnp.mean(distance), num_rows)

    def nearest(params, obs, num: int):
        """Distances and indices ``[B, num]`` of the nearest rows, by distance; infinite where there are none.

        Exact for the rows of a shortlist, which is taken by distances from a matrix product, as precise as rounding allows.
        """
        written = jnp.arange(config.capacity) < params.num_rows
        extent = jnp.asarray(_box(spec.obs_low, spec.obs_high)[1], obs.dtype)[None]
        memory = params.obs / jnp.broadcast_to(extent, params.obs.shape)
        inner = linear_algebra.product(obs / jnp.broadcast_to(extent, obs.shape), memory.T)
        rough = jnp.sum(memory**2, axis=-1)[None] - 2 * inner
        _, listed = jax.lax.top_k(jnp.where(written[None], -rough, -jnp.inf), min(num + _SHORTLIST, config.capacity))
        listed = jnp.sort(listed, axis=1)  # of rows at equal distance the first one counts
        difference = obs[:, None] - params.obs[listed]
        squared = jnp.sum((difference / jnp.broadcast_to(extent[None], difference.shape)) ** 2, axis=-1)
        negative, place = jax.lax.top_k(jnp.where(written[listed], -squared, -jnp.inf), num)
        return jnp.sqrt(-negative), jnp.take_along_axis(listed, place, axis=1)

    def mixture(params, obs, num: int = config.num_neighbours):
        distance, index = nearest(params, obs, num)
        found = jnp.isfinite(distance)[..., None]
        means = params.action[index]  # [B, k, Da]
        centre, extent = (
            jnp.broadcast_to(jnp.asarray(side, means.dtype), means.shape) for side in (action_centre, action_extent)
        )
        log_weights = jnp.full(index.shape, -jnp.log(num), means.dtype)
        scales = jnp.where(found, params.bandwidth * extent, extent)
        return mixtures.Mixture(log_weights, jnp.where(found, means, centre), scales)

    def draw(key, params, obs, num_samples, how: Draw):
        if how == "nearest":
            first = mixture(params, obs, 1).means[:, 0]
            return jnp.broadcast_to(first, (num_samples, *first.shape))
        choose = mixtures.sample if how == "sample" else mixtures.component_mean
        return choose(key, mixture(params, obs), num_samples)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    def log_prob(params, obs, action):
        return mixtures.log_prob(mixture(params, obs), action)

    exact = config.sample_by == "sample"
    return Method(Hyper(), init, step, sample, act, None, log_prob if exact else None, mixture, ("distance",))


def repeated(memory: Batch, batch: Batch) -> Array:
    """How many rows at the end of an epoch's last ``batch`` only fill it up: they are again the first rows of ``memory``, in order.

    A scalar int32; 0 where the tail of the batch is nothing like the start of the memory.
    """
    size = batch.obs.shape[0]
    row = jnp.arange(size)
    same = jnp.ones((size, size), bool)  # [row of the batch, row of the memory]
    for stored, new in zip(memory, batch, strict=True):
        same &= jnp.all(new[:, None] == stored[None, :size], axis=-1)
    # The first row is always new, so only the later ones can begin the repetition.
    begins = jax.vmap(lambda start: jnp.all((row < start) | same[row, row - start]))(row[1:])
    return jnp.sum(jnp.where(jnp.cumsum(begins) > 0, 1, 0))


def _box(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Centre and half extents, 1 in a dimension without extent."""
    pairs = list(zip(low, high, strict=True))
    return tuple((a + b) / 2 for a, b in pairs), tuple((b - a) / 2 if b > a else 1.0 for a, b in pairs)
