"""UR5 and UR10: forward kinematics against products of matrices in NumPy, the inverse against that and against a blind search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.kinematics import universal_robots as arms

TWIST = np.pi / 2 * np.asarray([1, 0, 0, 1, -1, 0])
both_arms = pytest.mark.parametrize("arm", [arms.UR5, arms.UR10], ids=["ur5", "ur10"])


def frames(arm, joints):
    """Homogeneous matrices ``[7, ..., 4, 4]`` of base, links and tool, from Denavit and Hartenberg's definition, float64."""
    joints = np.asarray(joints, np.float64)
    result = [np.broadcast_to(np.eye(4), (*joints.shape[:-1], 4, 4))]
    for i in range(6):
        c, s = np.cos(joints[..., i]), np.sin(joints[..., i])
        turn, screw = np.zeros((2, *joints.shape[:-1], 4, 4)) + np.eye(4)
        turn[..., 0, 0], turn[..., 0, 1], turn[..., 1, 0], turn[..., 1, 1] = c, -s, s, c
        turn[..., 2, 3] = arm.d[i]
        screw[..., 0, 3] = arm.a[i]
        screw[..., 1:3, 1:3] = [[np.cos(TWIST[i]), -np.sin(TWIST[i])], [np.sin(TWIST[i]), np.cos(TWIST[i])]]
        result.append(result[-1] @ turn @ screw)
    return np.stack(result)


def errors(arm, joints, pose):
    """Distance (m) and largest entry of the rotations' difference, between the tool at ``joints`` and ``pose``."""
    tool = frames(arm, joints)[-1]
    distance = np.linalg.norm(tool[..., :3, 3] - np.asarray(pose.position, np.float64), axis=-1)
    return distance, np.abs(tool[..., :3, :3] - np.asarray(pose.rotation, np.float64)).max((-1, -2))


def jacobian(arm, joints):
    """Velocities of the tool, linear then angular, per joint: ``z x (p - o)`` and ``z`` of its axis. ``[..., 6, 6]``, float64."""
    chain = frames(arm, joints)
    columns = []
    for i in range(6):
        axis, origin = chain[i, ..., :3, 2], chain[i, ..., :3, 3]
        columns.append(np.concatenate([np.cross(axis, chain[6, ..., :3, 3] - origin), axis], axis=-1))
    return np.stack(columns, axis=-1)


def random_joints(seed, num):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, (num, 6))


def wrapped(angle):
    return np.angle(np.exp(1j * angle))


# Forward


@both_arms
@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-14), (False, 1e-6)])
def test_forward_is_the_product_of_the_link_matrices(arm, x64, tolerance):
    joints = random_joints(0, 2_000)
    with jax.enable_x64(x64):
        joints = jnp.asarray(joints)
        pose = jax.jit(lambda joints: arms.forward(arm, joints))(joints)
    distance, turn = errors(arm, joints, pose)
    assert distance.max() < tolerance and turn.max() < tolerance


@pytest.mark.parametrize(
    ("arm", "expected"),
    [(arms.UR5, (-0.81725, -0.19145, -0.005491)), (arms.UR10, (-1.1843, -0.256141, 0.0116))],
)
def test_forward_of_the_stretched_arm(arm, expected):
    """With all joints at zero the tool is at ``(a_2 + a_3, -(d_4 + d_6), d_1 - d_5)``, the manufacturer's zero pose."""
    pose = arms.forward(arm, jnp.zeros(6))
    np.testing.assert_allclose(pose.position, expected, atol=1e-6)
    np.testing.assert_allclose(pose.rotation, [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-7)


@both_arms
def test_derivative_of_forward_is_the_geometric_jacobian(arm):
    joints = random_joints(1, 20)
    with jax.enable_x64(True):
        position, rotation = jax.vmap(jax.jacfwd(lambda q: arms.forward(arm, q)))(jnp.asarray(joints))
        here = arms.forward(arm, jnp.asarray(joints)).rotation
    expected = jacobian(arm, joints)
    np.testing.assert_allclose(position, expected[:, :3], atol=1e-12)
    # dR R^T is the cross product matrix of the angular velocity.
    spin = np.einsum("bijq,bkj->bikq", rotation, here)
    np.testing.assert_allclose(np.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], 1), expected[:, 3:], atol=1e-12)


# Inverse


@both_arms
@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-13), (False, 1e-6)])
def test_every_solution_reaches_the_pose_and_the_original_is_among_them(arm, x64, tolerance):
    """In float32 a solution is within 1e-6 m; joints themselves are less certain, near singularities much less."""
    original = random_joints(2, 20_000)
    with jax.enable_x64(x64):
        pose = arms.forward(arm, jnp.asarray(original))
        joints, exist = jax.tree.map(np.asarray, jax.jit(lambda pose: arms.inverse(arm, pose))(pose))
    assert joints.shape == (8, 20_000, 6) and exist.shape == (8, 20_000)
    assert np.all(np.isfinite(joints)) and np.all(joints > -np.pi) and np.all(joints <= joints.dtype.type(np.pi))
    distance, turn = errors(arm, joints, jax.tree.map(lambda part: np.broadcast_to(part, (8, *part.shape)), pose))
    assert distance[exist].max() < tolerance and turn[exist].max() < 3 * tolerance
    difference = np.where(exist[..., None], wrapped(joints - original), np.inf)
    nearest = np.linalg.norm(difference, axis=-1).min(0)
    assert np.all(nearest < 1e-8) if x64 else np.quantile(nearest, 0.99) < 1e-3
    # Solutions come in pairs, here never alone, and no two of them are the same.
    assert set(np.unique(exist.sum(0))) <= ({2, 4, 6, 8} if x64 else {0, 2, 4, 6, 8})
    apart = np.linalg.norm(wrapped(joints[:, None] - joints[None]), axis=-1)
    apart = np.where(exist[:, None] & exist[None] & ~np.eye(8, dtype=bool)[..., None], apart, np.inf)
    assert np.quantile(apart.min((0, 1)), 0.001) > 1e-3


def search(arm, tool, num_starts=600, seed=0):
    """All joints that bring the tool to the 4 x 4 matrix ``tool``, as damped Newton descents from anywhere find them."""
    joints = random_joints(seed, num_starts)
    for _ in range(80):
        here = frames(arm, joints)[-1]
        turn = tool[:3, :3] @ np.swapaxes(here[:, :3, :3], -1, -2)
        spin = np.stack(
            [turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], -1
        )
        miss = np.concatenate([tool[:3, 3] - here[:, :3, 3], spin / 2], axis=-1)
        matrix = jacobian(arm, joints)
        transposed = np.swapaxes(matrix, -1, -2)
        damping = 0.1 * np.sum(miss**2, -1)[:, None, None] * np.eye(6)
        step = np.linalg.solve(transposed @ matrix + damping, transposed @ miss[..., None])[..., 0]
        joints = joints + step * np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(step, axis=-1), 1e-9))[:, None]
    distance, turn = errors(arm, joints, arms.Pose(tool[:3, 3], tool[:3, :3]))
    found = []
    for candidate in wrapped(joints[(distance < 1e-9) & (turn < 1e-9)]):
        if all(np.linalg.norm(wrapped(candidate - other)) > 1e-4 for other in found):
            found.append(candidate)
    return np.asarray(found).reshape(-1, 6)


@pytest.mark.parametrize("case", ["ur5", "ur10", "ur5 near", "ur5 out of reach", "ur5 by its axis"])
def test_no_solution_is_missed_or_made_up(case):
    arm = arms.UR10 if case == "ur10" else arms.UR5
    tool = np.eye(4)
    if case == "ur5 near":  # only a part of the branches reaches it
        tool[:3, 3] = (0.15, 0.1, 0.6)
    elif case == "ur5 out of reach":
        tool[:3, 3] = (0.9, 0.5, 0.3)
    elif case == "ur5 by its axis":  # nearer to it than the offset d_4 of the wrist
        tool[:3, 3] = (0.05, -0.03, 0.6)
    else:
        tool = frames(arm, random_joints(11, 1)[0])[-1]
    expected = search(arm, tool)
    with jax.enable_x64(True):
        pose = arms.Pose(jnp.asarray(tool[:3, 3]), jnp.asarray(tool[:3, :3]))
        joints, exist = arms.inverse(arm, pose)
    ours = np.asarray(joints)[np.asarray(exist)]
    assert len(ours) == len(expected)
    if case in ("ur5 out of reach", "ur5 by its axis"):
        assert len(ours) == 0
        return
    distance = np.linalg.norm(wrapped(ours[:, None] - expected[None]), axis=-1)
    assert distance.min(0).max() < 1e-7 and distance.min(1).max() < 1e-7


@both_arms
def test_derivative_of_the_inverse_is_the_inverse_derivative(arm):
    """Moving the target moves the joints so that the tool follows: ``J dq/dp = (I, 0)``. What does not exist has finite derivatives."""
    with jax.enable_x64(True):
        pose = arms.forward(arm, jnp.asarray(random_joints(4, 30)))
        by_axis = arms.Pose(jnp.asarray([[0.05, -0.03, 0.6]]), jnp.eye(3)[None])
        pose = jax.tree.map(lambda *parts: jnp.concatenate(parts), pose, by_axis)

        def joints(position, rotation):
            return arms.inverse(arm, arms.Pose(position, rotation))[0]

        solutions, exist = arms.inverse(arm, pose)
        derivative = np.asarray(jax.jit(jax.vmap(jax.jacrev(joints)))(*pose)).swapaxes(0, 1)  # [8, B, 6, 3]
    assert np.all(np.isfinite(derivative)) and not np.all(exist)
    tool = (jacobian(arm, solutions) @ derivative)[np.asarray(exist)]
    np.testing.assert_allclose(tool, np.broadcast_to(np.eye(6, 3), tool.shape), atol=1e-8)


@pytest.mark.parametrize("x64", [True, False])
def test_wrapped_angles_are_in_the_box(x64):
    with jax.enable_x64(x64):
        angles = jnp.asarray([0.0, np.pi, -np.pi, 4.0, -4.0, 7.0, 9.5, -6.3])
        result, angles = np.asarray(arms.wrap(angles)), np.asarray(angles)
    pi = result.dtype.type(np.pi)
    assert np.all(result > -pi) and np.all(result <= pi)
    np.testing.assert_allclose(np.exp(1j * result), np.exp(1j * angles), atol=1e-14 if x64 else 1e-6)
    np.testing.assert_allclose(np.abs(result[1:3]), pi, rtol=1e-7)
    if x64:  # in float32, pi is above the real one and -pi below, so they change places
        np.testing.assert_array_equal(result[1:3], pi)
