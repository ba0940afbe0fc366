"""Functions with jumps: one right action at a time, which a continuous policy cannot follow (Florence et al. 2021, arXiv 2109.00137, 3).

"step" and "jumps_K" go back and forth between -0.5 and 0.5 at K equally spaced places; "piecewise" has three segments of different slope.
"slope_S" has no jump: it is ``S x``, cut off at -0.5 and 0.5, and a policy that moves no further than its observation cannot follow it.
Labels have no noise; ``x ~ U(-1, 1)``. Florence et al. give neither formulas nor numbers for their figure 2: these are ours.

What is judged is the action that a policy takes when it is deployed. Close to a jump, within half the mean distance between training inputs
(of the task's own number of them), data cannot say which side is right; but a value between the two never is. A policy that knows of no
jump scores well there, so methods are compared by their error on the pieces.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.evaluation import divergences, landscapes
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

NUM_DEMONSTRATIONS = 100
HALF_SPACING = 1.0 / NUM_DEMONSTRATIONS  # the box is 2 wide
REACH = 1.5  # extrapolation is judged up to here
VALLEY = 0.1  # a minimum of the energy this close to the right action is no spurious one
_SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


class Segments(NamedTuple):
    """K ``edges``, where it jumps or bends, and on the K + 1 pieces between them ``intercept + slope * x``."""

    edges: tuple[float, ...]
    intercepts: tuple[float, ...]
    slopes: tuple[float, ...]

    def __call__(self, obs: Array) -> Array:
        """The right action ``[B, 1]`` at ``obs [B, 1]``; beyond the box the outer pieces go on. At a jump, that of its right side."""
        index = jnp.searchsorted(jnp.asarray(self.edges), obs, side="right")
        return jnp.asarray(self.intercepts)[index] + jnp.asarray(self.slopes)[index] * obs

    @property
    def values(self) -> tuple[tuple[float, float], ...]:
        """Left and right of every edge."""
        pieces = list(zip(self.intercepts, self.slopes, strict=True))
        pairs = zip(self.edges, pieces[:-1], pieces[1:], strict=True)
        return tuple((left[0] + left[1] * edge, right[0] + right[1] * edge) for edge, left, right in pairs)


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, segments: Segments
) -> dict[str, Array]:
    """Metrics of the policy's actions.

    ``gap_share``, of functions that jump: % of those at ``num_inputs`` inputs or a few more, as many close to every jump (see the module
    docstring), that lie in the middle 80 % of it; ``piece_error``: mean absolute error at ``num_inputs`` inputs over the box, the ones
    close to an edge left out; ``extrapolation_error``: the same where the outer pieces go on for another half of the box's half extent on
    each side. ``heldout_nll`` in nats per row. Of a policy with an energy, ``spurious_minima``: its local minima per input, those within
    0.1 of the right action left out, and ``steepest``, its largest slope in nats per action unit, both on a grid of ``num_quadrature``
    actions over the box.
    """
    key_close, key_all, key_beyond = jax.random.split(key, 3)
    edges = jnp.asarray(segments.edges)

    def miss(key, obs):
        return jnp.abs(policy.act(key, obs) - segments(obs))[:, 0]

    inside = jnp.linspace(-1.0, 1.0, config.num_inputs)[:, None]
    away = jnp.min(jnp.abs(inside - jnp.broadcast_to(edges, (config.num_inputs, edges.size))), axis=1) > HALF_SPACING
    beyond = jnp.linspace(1.0, REACH, -(-config.num_inputs // 2))
    metrics = heldout_nll(policy, data)
    if policy.energy is not None:
        grid, spacing = divergences.action_grid(_SPEC, config.num_quadrature, margin=0.0)
        actions = jnp.broadcast_to(grid[:, None], (grid.shape[0], *inside.shape))
        energy = policy.energy(inside, actions)
        off = jnp.abs(actions - segments(inside)[None])[..., 0] > VALLEY
        spurious = jnp.sum(landscapes.local_minima(energy) & off, axis=0)
        metrics["spurious_minima"] = jnp.sum(jnp.where(away, spurious, 0)) / jnp.sum(away)
        metrics["steepest"] = landscapes.steepest(energy, spacing)
    if not all(math.isclose(left, right) for left, right in segments.values):
        metrics["gap_share"] = _gap_share(key_close, policy, segments, config.num_inputs)
    return metrics | {
        "piece_error": jnp.sum(jnp.where(away, miss(key_all, inside), 0.0)) / jnp.sum(away),
        "extrapolation_error": jnp.mean(miss(key_beyond, jnp.concatenate([-beyond, beyond])[:, None])),
    }


def _gap_share(key: PRNGKey, policy: Conditional, segments: Segments, num_inputs: int) -> Array:
    per_jump = math.ceil(num_inputs / len(segments.edges))
    offset = HALF_SPACING * (2 * (jnp.arange(per_jump) + 0.5) / per_jump - 1)
    close = jnp.asarray(segments.edges)[:, None] + jnp.broadcast_to(offset, (len(segments.edges), per_jump))
    left, right = jnp.asarray(segments.values).T
    middle, jump = (jnp.broadcast_to(value[:, None], close.shape) for value in ((left + right) / 2, right - left))
    action = policy.act(key, close.reshape(-1, 1)).reshape(close.shape)
    return 100.0 * jnp.mean(jnp.abs(action - middle) < 0.4 * jnp.abs(jump))


def demonstrations(key: PRNGKey, num: int, segments: Segments) -> Batch:
    """``num`` rows without noise."""
    obs = jax.random.uniform(key, (num, 1), minval=-1.0, maxval=1.0)
    return Batch(obs, segments(obs))


def _task(segments: Segments) -> Task:
    return Task(
        spec=_SPEC,
        num_demonstrations=NUM_DEMONSTRATIONS,
        evaluation=EvaluationConfig(num_inputs=200, num_quadrature=500),
        evaluate=functools.partial(evaluate, segments=segments),
        demonstrations=functools.partial(demonstrations, segments=segments),
        conditional=None,
        modes=None,
        primary="piece_error",
    )


def _jumps(num: int) -> Segments:
    edges = tuple(2 * (k + 1) / (num + 1) - 1 for k in range(num))
    return Segments(edges, tuple(0.5 * (-1) ** (k + 1) for k in range(num + 1)), (0.0,) * (num + 1))


def _slope(slope: float) -> Segments:
    return Segments((-0.5 / slope, 0.5 / slope), (-0.5, 0.0, 0.5), (0.0, slope, 0.0))


PIECEWISE = Segments((-0.4, 0.3), (0.8, -0.5, 0.2), (0.5, -0.5, 0.5))
VARIANTS: dict[str, Task] = {
    "step": _task(_jumps(1)),
    **{f"jumps_{num}": _task(_jumps(num)) for num in (2, 4, 8, 16)},
    "piecewise": _task(PIECEWISE),
    **{f"slope_{slope}": _task(_slope(float(slope))) for slope in (1, 10, 100, 1000)},
}
