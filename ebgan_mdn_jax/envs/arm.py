"""An arm among obstacles that has to bring its tip to a target, its joints driven by set-points.

Two scenes: "two_link", the planar arm of EBGAN-MDN (links of length 3) among three discs, and "ur5" on a floor among three balls. The arm
is the capsules round the lines from joint to joint; that it might touch itself is not considered. It follows set-points exactly, but no
faster than ``speed``, stays within its limits, and stops for good when it touches something: this is geometry, without dynamics, and no
robot. Functions work on any leading shape, here ``[...]``; J joints, D dimensions of space, G settings that reach a target.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.kinematics import planar, universal_robots
from ebgan_mdn_jax.types import Array, PRNGKey, require

Name = Literal["two_link", "ur5"]
NUM_STEPS = 40
_CHECKS = 8  # of a step, for touching


class Scene(NamedTuple):
    """An arm and what stands around it; lengths in the arm's unit (m for the UR5), angles in radians."""

    links: Callable  # joints [..., J] -> positions [..., P, D] of base, joints and tip
    goals: Callable  # target [..., D] -> joints [G, ..., J], exists [G, ...]
    draw_targets: Callable  # (key, num) -> [num, D]
    home: tuple[float, ...]  # joints near which episodes start
    low: tuple[float, ...]  # of joints
    high: tuple[float, ...]
    reach: tuple[float, ...]  # [J]: no point of the arm is further than that from a joint's axis
    box: tuple[tuple[float, ...], tuple[float, ...]]  # that the tip stays in
    obstacles: tuple[tuple[float, ...], ...]  # centre and radius
    floor: float | None  # height of the floor; the first link stands on it
    thickness: float  # radius of the arm
    speed: float  # Euclidean, of all joints together, per step
    tolerance: float  # distance to the target at which it is reached
    num_vias: int  # of `arm_planner`: settings that ways may lead over
    num_points: int  # likewise, of a leg

    @property
    def num_joints(self) -> int:
        """J."""
        return len(self.low)


class State(NamedTuple):
    """``joints [..., J]``, ``target [..., D]``; so far: ``length`` of the way in radians, least ``clearance``, ``collided``, ``[...]``."""

    joints: Array
    target: Array
    length: Array
    clearance: Array
    collided: Array


def make_scene(name: Name) -> Scene:
    """A scene by name.

    Raises:
      InputError: for another name.
    """
    require(name in get_args(Name), f"name={name!r}: expected one of {', '.join(get_args(Name))}")
    return _SCENES[name]()


def reset(scene: Scene, joints: Array, target: Array) -> State:
    """Start episodes at rest at ``joints [..., J]`` with targets ``[..., D]``."""
    free = clearance(scene, joints)
    return State(joints, target, jnp.zeros_like(free), free, free < 0)


def step(scene: Scene, state: State, set_point: Array) -> State:
    """Move towards ``set_point [..., J]``, clipped to the limits, for one step, unless the arm has touched something."""
    low, high = (
        jnp.broadcast_to(jnp.asarray(bound, set_point.dtype), set_point.shape) for bound in (scene.low, scene.high)
    )
    move = jnp.clip(set_point, low, high) - state.joints
    move = move * jnp.minimum(1.0, scene.speed / jnp.maximum(jnp.linalg.norm(move, axis=-1, keepdims=True), 1e-9))
    move = jnp.where(state.collided[..., None], 0.0, move)
    on_the_way = jnp.stack([state.joints + (i + 1) / _CHECKS * move for i in range(_CHECKS)], axis=-2)
    free = jnp.min(clearance(scene, on_the_way), axis=-1)
    collided = state.collided | (free < 0)
    return State(
        joints=jnp.where(collided[..., None], state.joints, state.joints + move),
        target=state.target,
        length=state.length + jnp.where(collided, 0.0, jnp.linalg.norm(move, axis=-1)),
        clearance=jnp.minimum(state.clearance, free),
        collided=collided,
    )


def observe(scene: Scene, joints: Array, target: Array) -> Array:
    """``[..., J + 2 D]``: joints, target, and the way from tip to target."""
    return jnp.concatenate([joints, target, target - tip(scene, joints)], axis=-1)


def parts(scene: Scene, obs: Array) -> tuple[Array, Array]:
    """The joints ``[..., J]`` and the target ``[..., D]`` of what `observe` gives."""
    return obs[..., : scene.num_joints], obs[..., scene.num_joints : scene.num_joints + len(scene.box[0])]


def beyond_limits(scene: Scene, joints: Array) -> Array:
    """Is a joint of ``joints [..., J]`` beyond its limits? ``[...]``."""
    low, high = (jnp.broadcast_to(jnp.asarray(bound), joints.shape) for bound in (scene.low, scene.high))
    return jnp.any((joints < low) | (joints > high), axis=-1)


def tip(scene: Scene, joints: Array) -> Array:
    """Its position ``[..., D]``."""
    return scene.links(joints)[..., -1, :]


def tip_error(scene: Scene, state: State) -> Array:
    """Distance ``[...]`` of the tip to the target."""
    return jnp.linalg.norm(tip(scene, state.joints) - state.target, axis=-1)


def success(scene: Scene, state: State) -> Array:
    """Is the target reached and was nothing touched? ``[...]``, to be asked at the end."""
    return (tip_error(scene, state) <= scene.tolerance) & ~state.collided


def clearance(scene: Scene, joints: Array) -> Array:
    """Least distance ``[...]`` between the arm and anything it must not touch; negative where they overlap."""
    points = scene.links(joints)
    start, along = points[..., :-1, :], jnp.diff(points, axis=-2)
    squared = jnp.maximum(jnp.sum(along**2, axis=-1), 1e-12)
    least = []
    for *centre, radius in scene.obstacles:
        to_centre = jnp.broadcast_to(jnp.asarray(centre, points.dtype), start.shape) - start
        share = jnp.clip(jnp.sum(to_centre * along, axis=-1) / squared, 0.0, 1.0)
        distance = jnp.linalg.norm(to_centre - share[..., None] * along, axis=-1)
        least.append(jnp.min(distance, axis=-1) - radius)
    if scene.floor is not None:
        least.append(jnp.min(points[..., 2:, -1], axis=-1) - scene.floor)
    return jnp.min(jnp.stack(least), axis=0) - scene.thickness


def _two_link() -> Scene:
    lengths = (3.0, 3.0)
    return Scene(
        links=lambda joints: planar.joints(joints, lengths),
        goals=lambda target: _wrapped(*planar.inverse(target, lengths)),
        draw_targets=lambda key, num: planar.uniform_disc(key, num, sum(lengths)),
        home=(0.0, 0.0),
        low=(-math.pi, -2.8),
        high=(math.pi, 2.8),
        reach=(6.0, 3.0),
        box=((-6.0, -6.0), (6.0, 6.0)),
        obstacles=((2.6, 2.6, 0.5), (-3.2, 1.6, 0.5), (0.5, -3.8, 0.5)),
        floor=None,
        thickness=0.1,
        speed=0.2,
        tolerance=0.3,
        num_vias=64,
        num_points=192,
    )


def _wrapped(angles: Array, exists: Array) -> tuple[Array, Array]:
    return planar.wrap(angles), jnp.broadcast_to(exists, angles.shape[:-1])


def _ur5() -> Scene:
    arm = universal_robots.UR5
    low, high = (-0.7, -0.7, 0.15), (0.7, 0.7, 0.6)

    def goals(target):
        upright = jnp.broadcast_to(jnp.eye(3, dtype=target.dtype), (*target.shape[:-1], 3, 3))
        return universal_robots.inverse(arm, universal_robots.Pose(target, upright))

    def draw_targets(key: PRNGKey, num: int) -> Array:
        return jax.random.uniform(key, (num, 3), minval=jnp.asarray(low), maxval=jnp.asarray(high))

    # From an axis to the tool: what is beyond, stretched out.
    beyond = [math.hypot(arm.d[i], arm.a[i]) for i in range(6)]
    return Scene(
        links=lambda joints: universal_robots.links(arm, joints),
        goals=goals,
        draw_targets=draw_targets,
        home=(0.0, -math.pi / 2, 0.0, -math.pi / 2, 0.0, 0.0),
        low=(-math.pi,) * 6,
        high=(math.pi,) * 6,
        reach=tuple(sum(beyond[max(i, 1) :]) for i in range(6)),
        box=((-1.0, -1.0, -0.1), (1.0, 1.0, 1.2)),
        obstacles=((0.45, 0.25, 0.3, 0.08), (-0.3, 0.45, 0.4, 0.08), (0.0, -0.5, 0.3, 0.08)),
        floor=0.0,
        thickness=0.05,
        speed=0.25,
        tolerance=0.05,
        num_vias=16,
        num_points=64,
    )


_SCENES: dict[str, Callable[[], Scene]] = {"two_link": _two_link, "ur5": _ur5}
