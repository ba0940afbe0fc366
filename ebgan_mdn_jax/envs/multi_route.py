"""A point in the plane that moves by its action, from about (0, 0) to the goal around (20, 20).

The environment of Behavior Transformers (Shafiullah et al. 2022, arXiv 2206.11251), which EBGAN-MDN's code took over. It differs in one
point: a coordinate of an action beyond 2 is clipped there, not an error. Functions work on any leading shape, here ``[...]``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey

NUM_STEPS = 50
START_NOISE = 0.25
ACTION_LIMIT = 2.0
LOW, HIGH = -2.0, 22.0  # beyond, the rollout has failed
GOAL_LOW, GOAL_HIGH = 19.0, 21.0


class State(NamedTuple):
    """``position [..., 2]``, steps taken, and whether the goal was reached or the arena left; then, nothing moves any more."""

    position: Array
    num_steps: Array
    success: Array
    fail: Array

    @property
    def done(self) -> Array:
        """Is the rollout over? ``[...]``."""
        return self.success | self.fail | (self.num_steps >= NUM_STEPS)


def reset(key: PRNGKey, shape: tuple[int, ...] = ()) -> State:
    """Start ``shape`` rollouts, each at a position from ``N(0, 0.25^2)``."""
    never = jnp.zeros(shape, bool)
    return State(START_NOISE * jax.random.normal(key, (*shape, 2)), jnp.zeros(shape, jnp.int32), never, never)


def step(state: State, action: Array) -> State:
    """Move by ``action [..., 2]``, unless the rollout is over."""
    done = state.done
    move = jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT)
    position = jnp.where(done[..., None], state.position, state.position + move)
    return State(
        position,
        state.num_steps + ~done,
        jnp.all((position >= GOAL_LOW) & (position <= GOAL_HIGH), axis=-1),
        ~jnp.all((position >= LOW) & (position <= HIGH), axis=-1),  # so a position that is not a number has failed
    )
