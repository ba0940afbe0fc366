"""The demonstrator of `envs.arm`: for each joint setting that reaches the target, the shortest way that it finds and knows to be free.

A way leads straight through joint space, or over one of V settings that are the same for all problems; what needs more turns is not found.
A leg of it is free if it ends within the limits and points of it, of which two are its ends, are further from everything than the arm can
move from one to the next: points q, q' whose clearances c, c' have ``c + c' >= 2 MARGIN + sum_j reach_j |q_j - q'_j|`` have at least
``MARGIN`` anywhere between them. Who goes along a way in steps cuts its corner, by less than a step, for which the margin has to do.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs import arm as env
from ebgan_mdn_jax.types import Array, PRNGKey

TEMPERATURE = 1.0  # of the choice of a goal, in radians
START_NOISE = 0.2  # rad, of each joint
MARGIN = 0.02  # of the clearance, in the arm's unit of length
_VIA_SEED = 5


class Ways(NamedTuple):
    """To each of G goals: ``corners [..., G, 3, J]``, start, via and goal, and ``length [..., G]``, infinite where none is found."""

    corners: Array
    length: Array


def plan(scene: env.Scene, start: Array, target: Array) -> Ways:
    """The shortest ways found from ``start [J]`` to ``target [D]``, one to each goal."""
    goals, exists = scene.goals(target)
    vias = _vias(scene)
    shape = (len(vias), *goals.shape)
    starts, over, ends = (jnp.broadcast_to(x, shape) for x in (start[None, None], vias[:, None], goals[None]))
    # All legs at once, so that they are one program: to each via, from each of them to each goal, and straight to each goal.
    num_joints, num_vias = len(start), len(vias)
    begin = jnp.concatenate([starts[:, 0], over.reshape(-1, num_joints), starts[0]])
    end = jnp.concatenate([vias, ends.reshape(-1, num_joints), goals])
    free = _is_free(scene, begin, end)
    to_via, onwards, straight = jnp.split(free, [num_vias, num_vias + over[..., 0].size])
    length = _norm(over - starts) + _norm(ends - over)
    length = jnp.where(to_via[:, None] & onwards.reshape(shape[:2]) & exists[None], length, jnp.inf)
    direct = jnp.where(straight & exists, _norm(goals - starts[0]), jnp.inf)
    best, detour = jnp.argmin(length, axis=0), jnp.min(length, axis=0)
    via = jnp.where((direct <= detour)[:, None], starts[0], vias[best])
    return Ways(jnp.stack([starts[0], via, goals], axis=1), jnp.minimum(direct, detour))


def along(corners: Array, distance: Array) -> Array:
    """Joints ``[..., T, J]`` at ``distance [..., T]`` radians on the way over ``corners [..., 3, J]``; beyond its end, the end."""
    joints = corners[..., :1, :]
    for leg in (0, 1):
        move = corners[..., leg + 1, :] - corners[..., leg, :]
        length = _norm(move)[..., None]
        share = jnp.clip(distance / jnp.maximum(length, 1e-9), 0.0, 1.0)
        joints = joints + share[..., None] * move[..., None, :]
        distance = distance - length
    return joints


def problems(key: PRNGKey, scene: env.Scene, num: int) -> tuple[Array, Array, Ways]:
    """Starts ``[num, J]``, targets ``[num, D]`` and ways ``[num, ...]`` of random problems of which at least one way is found.

    Joints start within `START_NOISE` of the scene's home. A way counts that leaves a few steps of the episode at the arm's speed. Twice
    as many targets are tried; of more than half there must be a way, or the first problem is repeated.
    """
    candidates = 2 * num + 32
    key_start, key_target = jax.random.split(key)
    home = jnp.broadcast_to(jnp.asarray(scene.home), (candidates, scene.num_joints))
    starts = home + START_NOISE * jax.random.uniform(key_start, home.shape, minval=-1.0)
    targets = scene.draw_targets(key_target, candidates)
    ways = plan_all(scene, starts, targets)
    longest = scene.speed * (env.NUM_STEPS - 5)
    ways = ways._replace(length=jnp.where(ways.length <= longest, ways.length, jnp.inf))
    chosen = jnp.flatnonzero(jnp.any(jnp.isfinite(ways.length), axis=-1), size=num)
    return jax.tree.map(lambda x: x[chosen], (starts, targets, ways))


def plan_all(scene: env.Scene, starts: Array, targets: Array) -> Ways:
    """`plan` for each of ``starts [B, J]`` and ``targets [B, D]``, a few at a time."""
    return jax.lax.map(lambda problem: plan(scene, *problem), (starts, targets), batch_size=min(16, len(starts)))


def choose(key: PRNGKey, ways: Ways) -> Array:
    """The demonstrator's choice of a goal ``[B]``, with a chance proportional to ``exp(-length / TEMPERATURE)``."""
    return jax.random.categorical(key, -ways.length / TEMPERATURE, axis=-1)


def _is_free(scene: env.Scene, start: Array, end: Array) -> Array:
    """Is the leg from ``start [..., J]``, within the limits, to ``end [..., J]`` free? See above."""
    shape = (scene.num_points, *start.shape)
    shares = jnp.linspace(0.0, 1.0, shape[0]).reshape(-1, *(1,) * start.ndim)
    points = jnp.broadcast_to(start, shape) + shares * jnp.broadcast_to(end - start, shape)
    free = env.clearance(scene, points)
    reach = jnp.broadcast_to(jnp.asarray(scene.reach), start.shape)
    moved = jnp.sum(reach * jnp.abs(end - start), axis=-1) / (shape[0] - 1)
    certain = free[1:] + free[:-1] >= 2 * MARGIN + jnp.broadcast_to(moved, free[1:].shape)
    return jnp.all(certain, axis=0) & ~env.beyond_limits(scene, end)


def _vias(scene: env.Scene) -> Array:
    """``[V, J]``: settings that reach random targets."""
    num = scene.num_vias
    key_target, key_choice = jax.random.split(jax.random.key(_VIA_SEED))
    settings, exists = scene.goals(scene.draw_targets(key_target, 4 * num))
    choice = jax.random.categorical(key_choice, jnp.where(exists, 0.0, -jnp.inf), axis=0)
    usable = jnp.any(exists, axis=0) & (env.clearance(scene, settings[choice, jnp.arange(len(choice))]) > MARGIN)
    chosen = jnp.flatnonzero(usable, size=num)
    return settings[choice[chosen], chosen]


def _norm(x: Array) -> Array:
    return jnp.linalg.norm(x, axis=-1)
