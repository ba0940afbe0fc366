"""The world of `envs.pushing` in PyBullet: a table, cubes on it, and a rod that pushes them, moved by two sliding joints.

`control_step` is a function of its arguments although a physics engine has a memory. It writes every row's whole state into one world,
advances it and reads the state out; before, all bodies are moved apart, so that no contact of another row is remembered, and pairs of
bodies are solved in a fixed order. PyBullet is the optional extra ``pushing`` and imported on first use.
"""

import functools
import importlib.util
import threading
from typing import Any, NamedTuple

import numpy as np

from ebgan_mdn_jax.types import require

SUBSTEPS, RATE = 24, 240  # of a control step of 0.1 s; Hz
BLOCK_SIZE, BLOCK_MASS = 0.04, 0.01  # m, kg
ROD_RADIUS, ROD_LENGTH, ROD_CLEARANCE = 0.01, 0.1, 0.005  # m, the last one above the table
MOTOR_FORCE = 1200.0  # N
FRICTION = 1.0  # of table, block and rod
EFFECTOR = 4  # numbers of the rod's state: position, velocity
BLOCK = 13  # of a block's: position, quaternion, velocity, spin

_LOCK = threading.Lock()  # there is one world, and devices call from threads of their own


class World(NamedTuple):
    """PyBullet's client and the bodies in it."""

    client: int
    rod: int
    blocks: tuple[int, ...]


def require_pybullet() -> None:
    """Raise `InputError` unless PyBullet is installed."""
    found = importlib.util.find_spec("pybullet") is not None
    require(found, "pushing needs pybullet, which is not installed: pip install 'ebgan_mdn_jax[pushing]'")


def control_step(rows: Any, *, num_blocks: int) -> np.ndarray:
    """Advance worlds by one control step.

    Args:
      rows: ``[..., 4 + 13 M + 3]`` for ``M`` blocks: the rod's position and velocity, of each block position, quaternion (x, y, z, w),
        velocity and angular velocity, the position ``[2]`` that the rod is pulled to, and whether to move at all (else: 0).
      num_blocks: ``M``.

    Returns:
      The state ``[..., 4 + 13 M]`` afterwards, float32; metres and seconds.
    """
    rows = np.asarray(rows)
    width = EFFECTOR + BLOCK * num_blocks
    flat = rows.reshape(-1, width + 3).astype(np.float64)
    after = flat[:, :width].copy()
    with _LOCK:
        world = _world(num_blocks)
        for index in np.flatnonzero(flat[:, -1]):
            after[index] = _advance(world, flat[index, :width], flat[index, width : width + 2])
    return after.reshape(*rows.shape[:-1], width).astype(np.float32)


@functools.cache
def _world(num_blocks: int) -> World:
    """All rows of this process go through this world. Slides: along x on the ground, along y on the first one."""
    import pybullet as bullet

    client = bullet.connect(bullet.DIRECT)
    on = {"physicsClientId": client}
    bullet.setGravity(0, 0, -9.8, **on)
    # One call of 24 sub-steps is bitwise 24 calls of one.
    bullet.setPhysicsEngineParameter(
        fixedTimeStep=SUBSTEPS / RATE, numSubSteps=SUBSTEPS, deterministicOverlappingPairs=1, **on
    )
    slab = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=[2, 2, 0.5], **on)
    table = bullet.createMultiBody(0, slab, basePosition=[0, 0, -0.5], **on)
    cube = bullet.createCollisionShape(bullet.GEOM_BOX, halfExtents=[BLOCK_SIZE / 2] * 3, **on)
    blocks = tuple(bullet.createMultiBody(BLOCK_MASS, cube, **on) for _ in range(num_blocks))
    cylinder = bullet.createCollisionShape(bullet.GEOM_CYLINDER, radius=ROD_RADIUS, height=ROD_LENGTH, **on)
    rod = bullet.createMultiBody(
        basePosition=[0, 0, ROD_CLEARANCE + ROD_LENGTH / 2],
        linkMasses=[1.0, 1.0],
        linkCollisionShapeIndices=[-1, cylinder],
        linkVisualShapeIndices=[-1, -1],
        linkPositions=[[0, 0, 0]] * 2,
        linkOrientations=[[0, 0, 0, 1]] * 2,
        linkInertialFramePositions=[[0, 0, 0]] * 2,
        linkInertialFrameOrientations=[[0, 0, 0, 1]] * 2,
        linkParentIndices=[0, 1],
        linkJointTypes=[bullet.JOINT_PRISMATIC] * 2,
        linkJointAxis=[[1, 0, 0], [0, 1, 0]],
        **on,
    )
    for body, link in ((table, -1), (rod, 1), *((block, -1) for block in blocks)):
        bullet.changeDynamics(body, link, lateralFriction=FRICTION, **on)
    for joint in range(2):
        bullet.changeDynamics(rod, joint, linearDamping=0, angularDamping=0, **on)
    bullet.setCollisionFilterPair(table, rod, -1, 1, 0, **on)
    return World(client, rod, blocks)


def _advance(world: World, state: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One control step of one row."""
    import pybullet as bullet

    on = {"physicsClientId": world.client}
    for index, block in enumerate(world.blocks):
        bullet.resetBasePositionAndOrientation(block, [10 + index, 10, 5], [0, 0, 0, 1], **on)
    bullet.performCollisionDetection(**on)  # nothing touches: contacts are forgotten
    state = state.tolist()
    for joint in range(2):
        bullet.resetJointState(world.rod, joint, state[joint], state[2 + joint], **on)
    for index, block in enumerate(world.blocks):
        of_block = state[EFFECTOR + BLOCK * index :][:BLOCK]
        bullet.resetBasePositionAndOrientation(block, of_block[:3], of_block[3:7], **on)
        bullet.resetBaseVelocity(block, of_block[7:10], of_block[10:], **on)
    bullet.setJointMotorControlArray(
        world.rod,
        [0, 1],
        bullet.POSITION_CONTROL,
        targetPositions=target.tolist(),
        forces=[MOTOR_FORCE] * 2,
        **on,
    )
    bullet.stepSimulation(**on)
    joints = bullet.getJointStates(world.rod, [0, 1], **on)
    after = [joint[part] for part in (0, 1) for joint in joints]
    for block in world.blocks:
        for part in (*bullet.getBasePositionAndOrientation(block, **on), *bullet.getBaseVelocity(block, **on)):
            after += part
    return np.asarray(after)
