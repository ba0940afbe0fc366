"""A particle in N dimensions that has to visit one goal and then stay at another, driven by set-points.

The environment of implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137, appendix C.5), with the constants and the order of
operations of its code: an underdamped spring pulls the particle to the set-point, 10 explicit Euler steps of 0.005 s to an action, 50
actions to an episode. Functions work on any leading shape, here ``[...]``, so all episodes run in one program.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey

NUM_STEPS = 50
SUBSTEPS, DT = 10, 0.005  # s
STIFFNESS, DAMPING = 10.0, 5.0
GOAL_DISTANCE = 0.05
ORACLE_DISTANCE = 0.01  # at which the oracle turns to the second goal


class State(NamedTuple):
    """Positions, velocity and goals ``[..., N]`` in the unit cube; how near the particle came to each goal after an action, ``[...]``."""

    position: Array
    velocity: Array
    first_goal: Array
    second_goal: Array
    nearest_first: Array
    nearest_second: Array

    @property
    def success(self) -> Array:
        """Were both goals visited, in any order, and is the particle at the second one? ``[...]``, to be asked at the end."""
        at_second = _distance(self.position, self.second_goal) < GOAL_DISTANCE
        return (self.nearest_first < GOAL_DISTANCE) & (self.nearest_second < GOAL_DISTANCE) & at_second


def reset(key: PRNGKey, num_dimensions: int, shape: tuple[int, ...] = ()) -> State:
    """Start ``shape`` episodes at rest; position and both goals are uniform in the unit cube."""
    return from_arrays(*jax.random.uniform(key, (3, *shape, num_dimensions)))


def from_arrays(position: Array, first_goal: Array, second_goal: Array) -> State:
    """Start episodes at rest at given positions ``[..., N]``."""
    never = jnp.full(position.shape[:-1], jnp.inf, position.dtype)
    return State(position, jnp.zeros_like(position), first_goal, second_goal, never, never)


def step(state: State, action: Array) -> State:
    """Pull towards the set-point ``action [..., N]`` for one control step of 0.05 s."""

    def substep(_, moving):
        position, velocity = moving
        acceleration = STIFFNESS * (action - position) - DAMPING * velocity
        return position + velocity * DT, velocity + acceleration * DT

    position, velocity = jax.lax.fori_loop(0, SUBSTEPS, substep, (state.position, state.velocity), unroll=True)
    return state._replace(
        position=position,
        velocity=velocity,
        nearest_first=jnp.minimum(state.nearest_first, _distance(position, state.first_goal)),
        nearest_second=jnp.minimum(state.nearest_second, _distance(position, state.second_goal)),
    )


def observe(state: State) -> Array:
    """``[..., 4 N]``: position, first goal, second goal, velocity, in the order of IBC's code."""
    return jnp.concatenate([state.position, state.first_goal, state.second_goal, state.velocity], axis=-1)


def oracle(visited: Array, state: State) -> tuple[Array, Array]:
    """The demonstrator: the first goal until the particle has once been within 0.01 of it, then the second one.

    Args:
      visited: has it been there before? ``[...]``, at first all False.
      state: now.

    Returns:
      ``visited`` for the next step, and the action ``[..., N]``.
    """
    visited = visited | (_distance(state.position, state.first_goal) < ORACLE_DISTANCE)
    return visited, jnp.where(visited[..., None], state.second_goal, state.first_goal)


def share_left(visited: Array, state: State, first: Array) -> Array:
    """Share ``[...]`` of the way that is left, either leg half of it, however long: the ``first`` one ``[...]`` until ``visited``."""
    second = _distance(state.position, state.second_goal) / _distance(state.first_goal, state.second_goal)
    return jnp.where(visited, second, 1.0 + _distance(state.position, state.first_goal) / first) / 2.0


def _distance(a: Array, b: Array) -> Array:
    return jnp.linalg.norm(a - b, axis=-1)
