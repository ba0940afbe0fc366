"""The inverse sine (Bishop 1994): the action is drawn, the observation follows from it, and inverting that has one or three answers.

``y ~ U(-1, 1)`` and ``c = (y + sin(2 pi y) / 2 + U(-0.1, 0.1)) / 1.1``. It differs from the code of EBGAN-MDN's authors in one point: the
condition is rescaled by the exact range of the forward function, not by the smallest and largest of the 500 drawn, so that the conditional
is known exactly. It is judged where a noise-free solution exists.
"""

import functools
import math

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.tasks import multivalued
from ebgan_mdn_jax.tasks.base import Conditional, EvaluationConfig, Task
from ebgan_mdn_jax.types import Array, Batch, PRNGKey

NOISE = 0.1
# The forward function y + sin(2 pi y) / 2 of y in [-1, 1] turns where 1 + pi cos(2 pi y) = 0, and its noisy range is [-1.1, 1.1].
_TURN = math.acos(-1 / math.pi) / (2 * math.pi)
TURNS = (_TURN - 1, -_TURN, _TURN, 1 - _TURN)
RANGE = 1.0 + NOISE


def modes(obs: Array) -> tuple[Array, Array]:
    """Noise-free solutions ``[5, B, 1]`` of ``y + sin(2 pi y) / 2 = u``, one slot per monotone piece, and their mask ``[5, B]``."""
    u = RANGE * obs[None, :, 0]
    edges = jnp.asarray((-1.0, *TURNS, 1.0))
    left = jnp.broadcast_to(edges[:-1, None], (5, obs.shape[0]))
    right = jnp.broadcast_to(edges[1:, None], (5, obs.shape[0]))
    u = jnp.broadcast_to(u, left.shape)
    at_left, at_right = _forward(left), _forward(right)
    mask = (jnp.minimum(at_left, at_right) <= u) & (u < jnp.maximum(at_left, at_right))
    rising = at_left < at_right

    def halve(_, interval):
        left, right = interval
        middle = (left + right) / 2
        go_right = (_forward(middle) < u) == rising
        return jnp.where(go_right, middle, left), jnp.where(go_right, right, middle)

    left, right = jax.lax.fori_loop(0, 40, halve, (left, right))
    return ((left + right) / 2)[..., None], mask


def log_prob(obs: Array, action: Array, num_quadrature: int = 20_000) -> Array:
    """Exact ``log p(y | c)``, ``[..., B]``: uniform on the y whose ``|y + sin(2 pi y) / 2 - u| <= 0.1``; the length by quadrature."""
    inside = _inside(obs, action)
    width = 2.0 / num_quadrature
    grid = -1.0 + width * (jnp.arange(num_quadrature) + 0.5)
    grid = jnp.broadcast_to(grid[:, None, None], (num_quadrature, obs.shape[0], 1))
    length = width * jnp.sum(_inside(obs, grid), axis=0)
    return jnp.where(inside, -jnp.broadcast_to(jnp.log(length), inside.shape), -jnp.inf)


def sample(key: PRNGKey, obs: Array, num_samples: int, num_cells: int = 20_000) -> Array:
    """Exact draws ``[N, B, 1]``, up to the width of a cell."""
    width = 2.0 / num_cells
    grid = -1.0 + width * (jnp.arange(num_cells) + 0.5)
    inside = _inside(obs, jnp.broadcast_to(grid[:, None, None], (num_cells, obs.shape[0], 1)))
    key_cell, key_place = jax.random.split(key)
    cumulative = jnp.cumsum(inside, axis=0)
    # Draw the rank of a cell among those of the support, then find it: exact and far cheaper than a categorical over all cells.
    shape = (num_samples, obs.shape[0])
    total = jnp.broadcast_to(cumulative[-1], shape)
    rank = jnp.minimum(jnp.floor(jax.random.uniform(key_cell, shape) * total) + 1, total)
    cell = jax.vmap(jnp.searchsorted, in_axes=1, out_axes=1)(cumulative, rank)
    place = jax.random.uniform(key_place, shape, minval=-0.5, maxval=0.5)
    return (grid[cell] + width * place)[..., None]


def _demonstrations(key: PRNGKey, num: int) -> Batch:
    key_action, key_noise = jax.random.split(key)
    action = jax.random.uniform(key_action, (num, 1), minval=-1.0, maxval=1.0)
    noise = jax.random.uniform(key_noise, (num, 1), minval=-NOISE, maxval=NOISE)
    # Rescaled by the exact range of u, not by the sample's own min and max: the conditional density is then known exactly.
    return Batch((_forward(action) + noise) / RANGE, action)


def _forward(y: Array) -> Array:
    return y + 0.5 * jnp.sin(2 * jnp.pi * y)


def _inside(obs: Array, action: Array) -> Array:
    """Is ``action [..., B, 1]`` in the support of the conditional at ``obs [B, 1]``? ``[..., B]``."""
    u = jnp.broadcast_to(RANGE * obs[:, 0], action.shape[:-1])
    action = action[..., 0]
    return (jnp.abs(_forward(action) - u) <= NOISE) & (jnp.abs(action) <= 1.0)


_TRUTH = Conditional(sample, log_prob)
INVERSE_SINE = Task(
    multivalued.UNIT_SPEC,
    500,
    EvaluationConfig(),
    functools.partial(
        multivalued.evaluate,
        spec=multivalued.UNIT_SPEC,
        truth=_TRUTH,
        modes=modes,
        valid=_inside,
        input_range=0.999 / RANGE,  # where a noise-free solution exists
        noise=NOISE / 3,
    ),
    _demonstrations,
    _TRUTH,
    modes,
)
