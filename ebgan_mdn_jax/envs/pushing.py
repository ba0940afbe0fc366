"""Blocks on a table, pushed to targets by a rod: the simulated pushing of implicit behavioural cloning, in PyBullet.

Florence et al. 2021 (arXiv 2109.00137), table 3: an action moves the point that the rod is pulled to, 10 times a second. The scenes are
those of its code, with its distributions of starts: one block and one target (`SINGLE`); one block to be pushed to one target and then to
another (`MULTI`, the paper's "multi target"); two blocks to be brought to two targets, either to either (`MULTIMODAL`). Functions work on
any leading shape, here ``[...]``; ``M`` blocks, ``G`` targets. Metres, radians, seconds.

`step` calls the simulator back from inside compiled programs, as a true function of state and action: rollouts may be vmapped, scanned,
repeated or cut anywhere, and a row of a batch has the bits that it has alone.

Where this differs from IBC: no arm. The rod hangs on two sliding joints with the gains and force of the arm's motors, which close 92 % of
the gap to the set-point in a control step, so no inverse kinematics, no yielding wrist, no reach. Bodies are boxes and a cylinder, its
radius 1 cm (the room that the oracle leaves as it stands beside a block), with friction 1. Blocks start at rest instead of settling for
100 steps, and their yaw is uniform in (0, pi): its code says ``uniform(pi)``, which is between 1 and pi. Contacts are found anew at every
control step. What it comes to: the demonstrator succeeds as often as IBC's does on its arm (`experiments.benchmarks.pushing`), in some
fewer steps.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs import pushing_bullet as bullet
from ebgan_mdn_jax.types import Array, PRNGKey

WORKSPACE_LOW, WORKSPACE_HIGH = (0.15, -0.5), (0.7, 0.5)
ACTION_LIMIT = 0.1
START = (0.3, -0.4)
_CENTRE, _BLOCK_Y, _TARGET_Y = 0.4, -0.2, 0.2
_HALF_X, _HALF_Y = 0.1, 0.15
_MOST_ROWS = 256  # of a call of the simulator


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is on the table, when a block is at a target (``tolerance``, metres) and how many actions an episode has at most.

    ``apart``: how far two blocks, and two targets, start from each other in x.
    """

    num_blocks: int
    num_targets: int
    num_steps: int
    tolerance: float
    apart: tuple[float, float] = (0.0, 0.0)

    @property
    def obs_dim(self) -> int:
        """Numbers of an observation."""
        return 4 + 3 * (self.num_blocks + self.num_targets)


SINGLE = Scene(1, 1, 100, 0.02)
MULTI = Scene(1, 2, 200, 0.04, apart=(0.0, 0.15))
MULTIMODAL = Scene(2, 2, 200, 0.04, apart=(0.1, 0.12))


class State(NamedTuple):
    """An episode. Once it is over nothing moves any more."""

    effector: Array  # [..., 2], of the rod
    effector_velocity: Array  # [..., 2]
    effector_target: Array  # [..., 2], that the rod is pulled to
    position: Array  # [..., M, 3], of the blocks
    rotation: Array  # [..., M, 4], x, y, z, w
    velocity: Array  # [..., M, 3]
    spin: Array  # [..., M, 3]
    target: Array  # [..., G, 2]
    target_yaw: Array  # [..., G]
    nearest: Array  # [..., M, G], least distance of block and target after an action
    num_steps: Array  # [...], actions taken
    success: Array  # [...]
    over: Array  # [...]

    @property
    def distance(self) -> Array:
        """Of every block from every target ``[..., M, G]``."""
        return jnp.linalg.norm(self.position[..., :, None, :2] - self.target[..., None, :, :], axis=-1)

    @property
    def yaw(self) -> Array:
        """Of the blocks ``[..., M]``, between -pi and pi."""
        x, y, z, w = jnp.moveaxis(self.rotation, -1, 0)
        return jnp.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def reset(key: PRNGKey, scene: Scene, shape: tuple[int, ...] = ()) -> State:
    """Start ``shape`` episodes at rest."""
    key_blocks, key_targets = jax.random.split(key)
    block, yaw = _places(key_blocks, scene.num_blocks, scene.apart[0], _BLOCK_Y, shape)
    target, turn = _places(key_targets, scene.num_targets, scene.apart[1], _TARGET_Y, shape)
    if scene.num_blocks < scene.num_targets:  # the two targets of one block are on lines
        target = target.at[..., 0, 1].set(0.0).at[..., 1, 1].set(0.4)
    target_yaw = _wrap(jnp.pi + (2 * turn - 1) * jnp.pi / 6)
    return from_arrays(block, jnp.pi * yaw, target, target_yaw)


def from_arrays(block: Array, yaw: Array, target: Array, target_yaw: Array) -> State:
    """Start episodes at rest with given blocks ``[..., M, 2]``, yaws ``[..., M]``, targets ``[..., G, 2]`` and theirs ``[..., G]``."""
    shape = yaw.shape[:-1]
    zero = jnp.zeros_like(yaw)
    effector = jnp.broadcast_to(jnp.asarray(START, block.dtype), (*shape, 2))
    still = jnp.zeros((*yaw.shape, 3), block.dtype)
    no = jnp.zeros(shape, bool)
    return State(
        effector=effector,
        effector_velocity=jnp.zeros_like(effector),
        effector_target=effector,
        position=jnp.concatenate([block, jnp.full((*yaw.shape, 1), bullet.BLOCK_SIZE / 2, block.dtype)], axis=-1),
        rotation=jnp.stack([zero, zero, jnp.sin(yaw / 2), jnp.cos(yaw / 2)], axis=-1),
        velocity=still,
        spin=still,
        target=target,
        target_yaw=target_yaw,
        nearest=jnp.full((*yaw.shape, target.shape[-2]), jnp.inf, block.dtype),
        num_steps=jnp.zeros(shape, jnp.int32),
        success=no,
        over=no,
    )


def step(scene: Scene, state: State, action: Array) -> State:
    """Move the rod's set-point by ``action [..., 2]``, within 0.1 and the workspace, and simulate 0.1 s; numbers that are not finite are 0.

    Raises:
      InputError: without the extra "pushing", when the program is traced.
    """
    bullet.require_pybullet()
    moving = ~state.over
    move = jnp.where(jnp.isfinite(action), jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT), 0.0)
    low, high = (jnp.broadcast_to(jnp.asarray(bound), move.shape) for bound in (WORKSPACE_LOW, WORKSPACE_HIGH))
    target = jnp.where(moving[..., None], jnp.clip(state.effector_target + move, low, high), state.effector_target)
    blocks = jnp.concatenate([state.position, state.rotation, state.velocity, state.spin], axis=-1)
    parts = (state.effector, state.effector_velocity, blocks.reshape(*moving.shape, -1))
    before = jnp.concatenate([*parts, target, moving[..., None]], axis=-1, dtype=jnp.float32)
    after = _simulate(before.reshape(-1, before.shape[-1]), scene.num_blocks).reshape(*moving.shape, -1)
    after = after.astype(state.effector.dtype)
    effector, effector_velocity, blocks = jnp.split(after, (2, bullet.EFFECTOR), axis=-1)
    blocks = blocks.reshape(*moving.shape, scene.num_blocks, bullet.BLOCK)
    position, rotation, velocity, spin = jnp.split(blocks, (3, 7, 10), axis=-1)
    num_steps = state.num_steps + moving
    state = state._replace(
        effector=effector,
        effector_velocity=effector_velocity,
        effector_target=target,
        position=position,
        rotation=rotation,
        velocity=velocity,
        spin=spin,
        num_steps=num_steps,
    )
    nearest = jnp.where(moving[..., None, None], jnp.minimum(state.nearest, state.distance), state.nearest)
    state = state._replace(nearest=nearest)
    success, ends = outcome(scene, state)
    success = jnp.where(moving, success, state.success)
    return state._replace(success=success, over=state.over | ends | (num_steps >= scene.num_steps))


def outcome(scene: Scene, state: State) -> tuple[Array, Array]:
    """Is the task done, and does the episode end with it, ``[...]``, by what is where and ``nearest``?

    One block: it is at the target, or was at both and is at the second one; its episode ends when it was at both, in any order, which
    is a failure from the second to the first. Two blocks: both are at targets, and not the same one.
    """
    at = state.distance < scene.tolerance
    if scene.num_blocks == 1:
        visited = jnp.all(state.nearest < scene.tolerance, axis=(-2, -1))
        success = at[..., 0, -1] & visited
        return success, visited
    nearest = jnp.argmin(state.distance, axis=-1)
    success = jnp.all(jnp.any(at, axis=-1), axis=-1) & (nearest[..., 0] != nearest[..., 1])
    return success, success


def observe(state: State) -> Array:
    """``[..., 4 + 3 (M + G)]``, in IBC's order: yaw and position of each block, set-point, rod, yaw and position of each target.

    The second block and target come before the first, by the alphabet.
    """
    blocks = jnp.concatenate([state.yaw[..., None], state.position[..., :2]], axis=-1)
    targets = jnp.concatenate([state.target_yaw[..., None], state.target], axis=-1)
    flat = [x[..., ::-1, :].reshape(*x.shape[:-2], -1) for x in (blocks, targets)]
    return jnp.concatenate([flat[0], state.effector_target, state.effector, flat[1]], axis=-1)


def _places(key: PRNGKey, num: int, apart: float, y: float, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Positions ``[..., num, 2]``, two of them ``apart`` in x, and numbers in (0, 1) for the yaws ``[..., num]``.

    IBC draws the first one, then the second until it is far enough, and both anew if there is no such place. As ``apart`` is at least
    half of the width, the first one is uniform in the outer parts and the second one beyond.
    """
    key_x, key_far, key_side, key_y, key_yaw = jax.random.split(key, 5)
    first = (2 * _HALF_X - apart) * jax.random.uniform(key_x, shape)
    x = first[..., None]
    if num == 2:
        second = jax.random.uniform(key_far, shape, minval=first + apart, maxval=2 * _HALF_X)
        x = jnp.stack([first, second], axis=-1)
        x = jnp.where(jax.random.bernoulli(key_side, shape=(*shape, 1)), x, 2 * _HALF_X - x)
    y = y + jax.random.uniform(key_y, (*shape, num), minval=-_HALF_Y, maxval=_HALF_Y)
    return jnp.stack([_CENTRE - _HALF_X + x, y], axis=-1), jax.random.uniform(key_yaw, (*shape, num))


def _simulate(rows: Array, num_blocks: int) -> Array:
    """`pushing_bullet.control_step` of ``rows [R, 4 + 13 M + 3]``, called with so few at a time that they are copied at once.

    A CPU device hands over arguments of more than 100 KiB by a thread of its own pool, which may be the one that waits for the answer.
    """
    host = functools.partial(bullet.control_step, num_blocks=num_blocks)

    def call(rows):
        physical = jax.ShapeDtypeStruct((rows.shape[0], rows.shape[1] - 3), jnp.float32)
        return jax.pure_callback(host, physical, rows, vmap_method="sequential")

    num = rows.shape[0]
    if num <= _MOST_ROWS:
        return call(rows)
    padded = jnp.pad(rows, ((0, -num % _MOST_ROWS), (0, 0)))  # rows of zeros do not move
    return jax.lax.map(call, padded.reshape(-1, _MOST_ROWS, rows.shape[1])).reshape(len(padded), -1)[:num]


def _wrap(angle: Array) -> Array:
    return jnp.arctan2(jnp.sin(angle), jnp.cos(angle))
