"""Inverse kinematics of the UR5 and UR10: which joint angles bring the tool to a target? Up to 8 answers, all of them demonstrated.

EBGAN-MDN's code (Li et al. 2025, arXiv 2510.07562) has the labels of this task, but neither trains nor evaluates on it. There the
observation is the tool's position, its orientation being the identity, and targets are uniform with x, y in [-1, 1] m, z in [0, 1] m. The
tasks ``..._pose`` take any orientation: position and the first two columns of the rotation matrix, of uniform joint angles.

Demonstrations are targets in random order, each with all of its solutions, so the conditional is uniform over them; it has no density.
Every label is within 1e-6 m of its target. Angles are in (-pi, pi]: a solution that crosses pi as the target moves jumps to -pi, so what is
one branch on the arm may be cut for a network. ``..._sincos`` has ``(sin theta_1, cos theta_1, sin theta_2, ...)`` instead.

Differs from the authors' code: theirs has the UR10's parameters under the name UR5; labels of targets out of reach are left out there
(of theirs, 16 % miss by more than 1 mm), angles are wrapped, and networks see the boxes as [-1, 1]. Collisions are not considered.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.kinematics import planar
from ebgan_mdn_jax.kinematics import universal_robots as arms
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

NUM_TARGETS = 2_000  # that the default number of demonstrations holds, on average
TOLERANCES = (0.005, 0.01, 0.02)  # m
_TARGET_SEED = 7  # of the targets that policies are judged at
_POSITION_BOX = ((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0))
# Mean number of solutions of a target that has any: (tool upright, any pose).
_MEAN_SOLUTIONS = {arms.UR5: (6.343, 7.126), arms.UR10: (7.258, 7.213)}


def to_pose(obs: Array) -> arms.Pose:
    """The target pose that ``obs [..., 3]`` (tool upright) or ``[..., 9]`` stands for."""
    position = obs[..., :3]
    if obs.shape[-1] == 3:
        return arms.Pose(position, jnp.broadcast_to(jnp.eye(3, dtype=obs.dtype), (*obs.shape[:-1], 3, 3)))
    x, y = obs[..., 3:6], obs[..., 6:]
    return arms.Pose(position, jnp.stack([x, y, jnp.cross(x, y)], axis=-1))


def to_joints(action: Array) -> Array:
    """Joint angles ``[..., 6]`` of ``action [..., 6]``, or ``[..., 12]``, whose pairs need not have length 1."""
    return action if action.shape[-1] == 6 else planar.from_sincos(action)


def targets(key: PRNGKey, num: int, arm: arms.Arm, any_pose: bool) -> tuple[Array, Array, Array]:
    """Random targets ``[num, Do]``, some without a solution; solutions ``[8, num, 6]`` and mask ``[8, num]``."""
    if any_pose:
        pose = arms.forward(arm, jax.random.uniform(key, (num, 6), minval=-math.pi, maxval=math.pi))
        obs = jnp.concatenate([pose.position, pose.rotation[..., 0], pose.rotation[..., 1]], axis=-1)
    else:
        low, high = (jnp.broadcast_to(jnp.asarray(bound), (num, 3)) for bound in _POSITION_BOX)
        obs = low + (high - low) * jax.random.uniform(key, (num, 3))
    return obs, *arms.inverse(arm, to_pose(obs))


def tool_errors(arm: arms.Arm, joints: Array, pose: arms.Pose) -> tuple[Array, Array]:
    """Distance (m) and angle (degrees) ``[N, B]`` between the tool at ``joints [N, B, 6]`` and at ``pose`` (leaves ``[B, ...]``)."""
    chex.assert_rank(joints, 3)
    reached = arms.forward(arm, joints)
    distance = jnp.linalg.norm(reached.position - pose.position[None], axis=-1)
    # |R - R'| = 2 sqrt(2) sin(angle / 2), exact for small angles too.
    chord = jnp.sqrt(jnp.sum((reached.rotation - pose.rotation[None]) ** 2, axis=(-2, -1)))
    return distance, jnp.rad2deg(2.0 * jnp.arcsin(jnp.minimum(chord / math.sqrt(8.0), 1.0)))


def solutions_found(joints: Array, error: Array, solutions: Array, mask: Array, tolerance: float) -> Array:
    """Percentage of the ``solutions [M, B, 6]`` in ``mask [M, B]``, over all targets, that are found, a scalar.

    One is found if it is the nearest one (by wrapped angles, Euclidean) to some draw of ``joints [N, B, 6]`` whose tool is no further than
    ``tolerance`` from the target, by ``error [N, B]``.
    """
    difference = arms.wrap(joints[:, None] - solutions[None])
    distance = jnp.where(mask[None], jnp.sum(difference**2, axis=-1), jnp.inf)
    nearest = jnp.argmin(distance, axis=1)  # [N, B]
    hit = jax.nn.one_hot(nearest, mask.shape[0], dtype=bool, axis=1) & (error <= tolerance)[:, None]
    return 100.0 * jnp.sum(jnp.any(hit, axis=0) & mask) / jnp.sum(mask)


def evaluate(
    key: PRNGKey,
    policy: Conditional,
    data: Data,
    config: EvaluationConfig,
    *,
    arm: arms.Arm,
    any_pose: bool,
) -> dict[str, Array]:
    """Metrics at ``num_inputs`` targets that have a solution, the same for every policy.

    Of ``num_draws`` draws at each: ``success``, the percentage whose tool is within 5, 10, 20 mm of the target; medians of the tool's
    distance (mm) and of the angle between its orientation and the target's (degrees). ``solutions``: see `solutions_found`, of
    ``num_samples`` other draws. ``heldout_nll`` in nats per row.
    """
    obs, solutions, exist = targets(jax.random.key(_TARGET_SEED), _num_candidates(config.num_inputs), arm, any_pose)
    chosen = jnp.flatnonzero(jnp.any(exist, axis=0), size=config.num_inputs)
    obs, solutions, exist = obs[chosen], solutions[:, chosen], exist[:, chosen]
    pose = to_pose(obs)

    joints = to_joints(policy.sample(key, obs, config.num_draws + config.num_samples))
    distance, angle = tool_errors(arm, joints, pose)
    few = slice(config.num_draws, None)
    found = solutions_found(joints[few], distance[few], solutions, exist, config.tolerance)
    distance, angle = distance[: config.num_draws], angle[: config.num_draws]
    metrics = {f"success@{1000 * tau:g}mm": 100.0 * jnp.mean(distance <= tau) for tau in TOLERANCES}
    metrics |= {
        "tip_error_median": 1000.0 * jnp.median(distance),
        "orientation_error": jnp.median(angle),
        f"solutions@S={config.num_samples},tau={1000 * config.tolerance:g}mm": found,
    }
    return metrics | heldout_nll(policy, data)


def make(arm: arms.Arm, any_pose: bool = False, sincos: bool = False) -> Task:
    """The task for an arm; ``any_pose``: targets have an orientation; ``sincos``: actions are sines and cosines."""
    encode = planar.to_sincos if sincos else lambda joints: joints

    def demonstrations(key, num):
        # A target has 3 solutions or more on average, those without any included.
        # As one program: operation by operation, compiling takes most of a minute.
        draw = jax.jit(targets, static_argnums=(1, 2, 3))
        obs, solutions, exist = draw(key, num // 2 + 64, arm, any_pose)
        target, solution = jnp.nonzero(exist.T, size=num)
        return Batch(obs[target], encode(solutions[solution, target]))

    def modes(obs):
        solutions, exist = arms.inverse(arm, to_pose(obs))
        return encode(solutions), exist

    def sample(key, obs, num):
        solutions, exist = arms.inverse(arm, to_pose(obs))
        index = jax.random.categorical(key, jnp.where(exist, 0.0, -jnp.inf), axis=0, shape=(num, obs.shape[0]))
        return encode(solutions[index, jnp.arange(obs.shape[0])[None]])

    low, high = _POSITION_BOX
    if any_pose:
        span = math.hypot(sum(map(abs, arm.a)) + arm.d[4], arm.d[3]) + arm.d[5]
        low, high = (tuple(arm.d[0] * z + sign * span for z in (0, 0, 1)) + (float(sign),) * 6 for sign in (-1, 1))
    bound = (1.0,) * 12 if sincos else (math.pi,) * 6
    return Task(
        spec=Spec(low, high, tuple(-b for b in bound), bound),
        num_demonstrations=100 * round(NUM_TARGETS * _MEAN_SOLUTIONS[arm][any_pose] / 100),
        evaluation=EvaluationConfig(num_inputs=500, num_samples=100, tolerance=0.02, num_draws=100),
        evaluate=functools.partial(evaluate, arm=arm, any_pose=any_pose),
        demonstrations=demonstrations,
        conditional=Conditional(sample, None),
        modes=modes,
        normalize=True,
        primary="success@10mm",
    )


def _num_candidates(num: int) -> int:
    """How many targets to draw so that ``num`` have a solution; half of the upright ones within the UR5's box do."""
    return 3 * num + 64


UR5 = make(arms.UR5)
UR10 = make(arms.UR10)
UR5_POSE = make(arms.UR5, any_pose=True)
UR10_POSE = make(arms.UR10, any_pose=True)
UR5_SINCOS = make(arms.UR5, sincos=True)
