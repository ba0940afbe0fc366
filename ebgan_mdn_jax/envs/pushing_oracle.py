"""The demonstrator of `envs.pushing`: IBC's scripted pushers, in phases, as functions of what they remember.

It goes 5 cm behind the block as seen from the target, then beside it, then pushes. A block that is turned by more than 0.2 from its way
(a cube looks the same after a quarter turn) is turned first, by walking around its centre, until 0.03 are left. With two targets it goes
on to the second one once the block is at the first. With two blocks it then returns over the place behind the first block to where it
began, and takes the second one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs.pushing import Scene, State
from ebgan_mdn_jax.types import Array, PRNGKey

APPROACH, BESIDE, PUSH, TURN_LEFT, TURN_RIGHT, RETURN, HOME = range(7)
BEHIND, NEXT_TO, INTO = 0.05, 0.03, 0.01  # metres behind the block's centre
CIRCLE, ROTATION = 0.025, 0.2  # radius and angle of a step of turning
TURNED, FLAT = 0.2, 0.03  # a block beyond the first is turned until it is within the second
THERE = 0.001
SPEED, SLOW, TURNING = 0.035, 0.03, 0.015  # metres per control step: by default, on the way to a block, turning it
SWITCH = 0.04


class Memory(NamedTuple):
    """What the demonstrator remembers of an episode, ``[...]`` or ``[..., 2]``."""

    phase: Array
    leg: Array  # 0, then 1
    block: Array  # [..., 2], of each leg
    target: Array  # [..., 2], of each leg
    origin: Array  # where it began
    first_behind: Array  # where it first stood behind a block; at first, the origin


def begin(key: PRNGKey, scene: Scene, state: State) -> Memory:
    """At the start; which block goes where, and which one first, is drawn where there are two."""
    shape = state.over.shape
    zero = jnp.zeros(shape, jnp.int32)
    block = target = jnp.stack([zero, zero], axis=-1)
    if scene.num_targets == 2:
        target = jnp.stack([zero, zero + 1], axis=-1)
    if scene.num_blocks == 2:
        first = jax.random.bernoulli(key, shape=(2, *shape)).astype(jnp.int32)
        block, target = jnp.stack([first, 1 - first], axis=-1)
    return Memory(zero + APPROACH, zero, block, target, state.effector_target, jnp.full_like(state.effector, jnp.nan))


def act(scene: Scene, memory: Memory, state: State) -> tuple[Memory, Array]:
    """The action ``[..., 2]``, and what is remembered for the next one."""
    if scene.num_targets == 2:
        distance = _pick(_pick(state.distance, memory.block[..., 0]), memory.target[..., 0])
        switch = (distance < SWITCH) & (memory.leg == 0)
        phase = jnp.where(switch, RETURN, memory.phase) if scene.num_blocks == 2 else memory.phase
        memory = memory._replace(leg=memory.leg | switch, phase=phase)
    block_index, target_index = _pick(memory.block, memory.leg), _pick(memory.target, memory.leg)
    block, yaw = _pick(state.position[..., :2], block_index), _pick(state.yaw, block_index)
    way = _pick(state.target, target_index) - block
    way = way / jnp.maximum(jnp.linalg.norm(way, axis=-1, keepdims=True), 1e-6)
    error = jnp.arctan2(way[..., 1], way[..., 0]) - yaw
    error = error - jnp.round(error / (jnp.pi / 2)) * (jnp.pi / 2)
    here = state.effector_target
    phase, speed, delta = memory.phase, jnp.full(error.shape, SPEED), jnp.zeros_like(here)

    # Phases are gone through in this order, and the one that an action begins in may end within it.
    now = phase == APPROACH
    delta, speed = _where(now, block - BEHIND * way - here, delta), jnp.where(now, SLOW, speed)
    there = now & _within(delta, THERE)
    unseen = jnp.isnan(memory.first_behind[..., 0])
    first_behind = _where(there & unseen, block - BEHIND * way, memory.first_behind)
    phase = jnp.where(there, BESIDE, phase)

    now = phase == RETURN
    first_behind = _where(now & jnp.isnan(first_behind[..., 0]), memory.origin, first_behind)
    delta, speed = _where(now, first_behind - here, delta), jnp.where(now, SLOW, speed)
    phase = jnp.where(now & _within(delta, THERE), HOME, phase)

    now = phase == HOME
    delta, speed = _where(now, memory.origin - here, delta), jnp.where(now, SLOW, speed)
    phase = jnp.where(now & _within(delta, THERE), APPROACH, phase)

    now = phase == BESIDE
    delta = _where(now, block - NEXT_TO * way - here, delta)
    phase = jnp.where(now & _within(delta, THERE), PUSH, phase)
    phase = jnp.where(now & (error > TURNED), TURN_LEFT, phase)
    phase = jnp.where(now & (error < -TURNED), TURN_RIGHT, phase)

    now = phase == PUSH
    delta = _where(now, block - INTO * way - here, delta)
    phase = jnp.where(now & (jnp.abs(error) > TURNED), APPROACH, phase)

    left, right = phase == TURN_LEFT, phase == TURN_RIGHT
    delta = _where(left | right, block + _on_circle(here - block, jnp.where(left, ROTATION, -ROTATION)) - here, delta)
    speed = jnp.where(left | right, TURNING, speed)
    phase = jnp.where((left & (error < FLAT)) | (right & (error > -FLAT)), APPROACH, phase)

    length = jnp.maximum(jnp.linalg.norm(delta, axis=-1), 1e-9)
    action = delta * jnp.minimum(1.0, speed / length)[..., None]
    return memory._replace(phase=phase, first_behind=first_behind), action


def _on_circle(offset: Array, angle: Array) -> Array:
    """``offset [..., 2]`` rotated by ``angle`` and cut to the circle's radius."""
    x, y = jnp.moveaxis(offset / jnp.maximum(jnp.linalg.norm(offset, axis=-1, keepdims=True), 1e-6), -1, 0)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return CIRCLE * jnp.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _pick(values: Array, index: Array) -> Array:
    """``values [..., n, *rest]`` at ``index [...]``."""
    at = index.reshape(*index.shape, *[1] * (values.ndim - index.ndim))
    return jnp.take_along_axis(values, at, axis=index.ndim).squeeze(index.ndim)


def _where(condition: Array, a: Array, b: Array) -> Array:
    return jnp.where(condition[..., None], a, b)


def _within(offset: Array, radius: float) -> Array:
    return jnp.linalg.norm(offset, axis=-1) < radius
