"""Tasks of the UR5 and UR10: labels judged by the independent kinematics of the tests, metrics by policies whose score is known.

Statistical tests fail falsely once in a million (means within 5 standard errors).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.kinematics import planar
from ebgan_mdn_jax.kinematics import universal_robots as arms
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.tasks import universal_robots as tasks
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig
from ebgan_mdn_jax.types import Batch
from tests.test_kinematics_universal_robots import errors, wrapped

NAMES = ("ur5_sincos", "ur10", "ur5_pose", "ur10_pose")
ARMS = {name: arms.UR10 if "10" in name else arms.UR5 for name in NAMES}
every_name = pytest.mark.parametrize("name", NAMES)


@functools.cache
def demonstrations(name):
    task = TASKS[name]
    return jax.tree.map(np.asarray, task.demonstrations(jax.random.key(0), task.num_demonstrations))


def pose_of(obs):
    """NumPy's reading of an observation, orientation completed to a right-handed frame."""
    if obs.shape[-1] == 3:
        return arms.Pose(obs, np.broadcast_to(np.eye(3), (*obs.shape[:-1], 3, 3)))
    x, y = obs[..., 3:6].astype(float), obs[..., 6:].astype(float)
    return arms.Pose(obs[..., :3], np.stack([x, y, np.cross(x, y)], axis=-1))


# Data


@every_name
def test_every_label_is_within_a_micrometre_of_its_target(name):
    batch = demonstrations(name)
    joints = np.asarray(tasks.to_joints(jnp.asarray(batch.action)))
    distance, turn = errors(ARMS[name], joints, pose_of(batch.obs))
    assert distance.max() < 1e-6 and turn.max() < 3e-6
    spec = TASKS[name].spec
    assert np.all(batch.action <= np.float32(spec.action_high)) and np.all(batch.action >= np.float32(spec.action_low))
    assert np.all(batch.obs >= spec.obs_low) and np.all(batch.obs <= spec.obs_high)


@every_name
def test_every_target_has_all_of_its_solutions_and_there_are_about_2000(name):
    batch = demonstrations(name)
    starts = np.flatnonzero(np.append(True, np.any(batch.obs[1:] != batch.obs[:-1], axis=1)))
    assert len(np.unique(batch.obs, axis=0)) == len(starts)  # the solutions of a target stand together
    counts = np.diff(np.append(starts, len(batch.obs)))
    assert len(counts) == pytest.approx(2_000, abs=5 * counts.std() / counts.mean() * np.sqrt(2_000) + 10)
    _, exist = TASKS[name].modes(jnp.asarray(batch.obs[starts]))
    # From a target in float32, one in some thousands may fall off the edge of reach.
    assert np.mean(np.asarray(exist.sum(0))[:-1] == counts[:-1]) > 0.998
    # None twice: apart from near singularities, two solutions of a target differ by more than 1e-3.
    same = np.linalg.norm(wrapped(tasks.to_joints(batch.action[1:]) - tasks.to_joints(batch.action[:-1])), axis=1)
    assert np.mean(same > 1e-3) > 0.999


def test_targets_are_uniform():
    """Positions within reach of the UR10 with the tool upright; poses of uniform joints, whose first angle turns everything around."""
    obs = np.unique(demonstrations("ur10").obs, axis=0)
    radius = np.hypot(obs[:, 0], obs[:, 1])
    ring = obs[(radius > 0.5) & (radius < 0.7) & (obs[:, 2] < 0.5)]  # all of it can be reached
    assert len(ring) > 150
    for values, low, width in (
        (np.arctan2(ring[:, 1], ring[:, 0]), -np.pi, 2 * np.pi),
        (ring[:, 2], 0.0, 0.5),
        (np.sum(ring[:, :2] ** 2, 1), 0.25, 0.24),
    ):
        assert scipy.stats.kstest(values, scipy.stats.uniform(low, width).cdf).pvalue > 1e-6
    obs = np.unique(demonstrations("ur5_pose").obs, axis=0)
    turn = np.arctan2(obs[:, 1], obs[:, 0])
    assert scipy.stats.kstest(turn, scipy.stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-6
    np.testing.assert_allclose(np.linalg.norm(obs[:, 3:6], axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(np.sum(obs[:, 3:6] * obs[:, 6:], axis=1), 0.0, atol=1e-6)


# The exact conditional


@every_name
def test_exact_draws_are_each_of_the_solutions_equally_often(name):
    num = 2_000
    obs = jnp.asarray(np.unique(demonstrations(name).obs, axis=0)[:20])
    draws = np.asarray(TASKS[name].conditional.sample(jax.random.key(1), obs, num))
    modes, exist = jax.tree.map(np.asarray, TASKS[name].modes(obs))
    assert draws.shape == (num, 20, TASKS[name].spec.action_dim)
    hit = np.linalg.norm(draws[:, None] - modes[None], axis=-1) < 1e-5  # [N, M, B]
    hit &= exist
    np.testing.assert_array_equal(hit.sum(1), 1)
    for b in range(20):
        assert scipy.stats.chisquare(hit[:, exist[:, b], b].sum(0)).pvalue > 1e-6 / 20


def test_encodings_are_undone():
    joints = jnp.asarray(np.random.default_rng(0).uniform(-3, 3, (5, 6)), jnp.float32)
    action = planar.to_sincos(joints)
    np.testing.assert_allclose(action[:, 2:4], np.stack([np.sin(joints[:, 1]), np.cos(joints[:, 1])], 1), atol=1e-6)
    np.testing.assert_allclose(tasks.to_joints(0.3 * action), joints, atol=1e-6)  # whatever the length of a pair
    np.testing.assert_array_equal(tasks.to_joints(joints), joints)
    pose = arms.forward(arms.UR5, joints)
    obs = jnp.concatenate([pose.position, pose.rotation[..., 0], pose.rotation[..., 1]], -1)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), tasks.to_pose(obs), pose)


# Metrics


def test_tool_errors_of_known_turns():
    """Turning the last joint leaves the position; turning the first one moves the tool along a circle."""
    joints = jnp.asarray(np.random.default_rng(1).uniform(-3, 3, (4, 6)), jnp.float32)
    pose = arms.forward(arms.UR5, joints)
    by = np.deg2rad([0.05, 10.0, 90.0, 179.0])
    last = joints.at[:, 5].add(by)
    distance, angle = tasks.tool_errors(arms.UR5, last[None], pose)
    np.testing.assert_allclose(distance, 0.0, atol=1e-6)
    np.testing.assert_allclose(angle[0], np.rad2deg(by), rtol=1e-3)
    distance, angle = tasks.tool_errors(arms.UR5, joints.at[:, 0].add(by)[None], pose)
    radius = np.linalg.norm(pose.position[:, :2], axis=-1)
    np.testing.assert_allclose(distance[0], 2 * radius * np.sin(by / 2), rtol=1e-3)
    np.testing.assert_allclose(angle[0], np.rad2deg(by), rtol=1e-3)


def test_solutions_found_counts_the_nearest_by_wrapped_angles():
    solutions = jnp.zeros((3, 2, 6)).at[:, :, 0].set(jnp.asarray([[0.0, 1.0], [3.0, 2.0], [-1.5, 9.0]]))
    mask = jnp.asarray([[True, True], [True, True], [True, False]])

    def found(first, error):  # draws of the first joint [N, B]
        joints = jnp.zeros((len(first), 2, 6)).at[:, :, 0].set(jnp.asarray(first))
        return float(tasks.solutions_found(joints, jnp.asarray(error), solutions, mask, 0.02))

    good = [[0.0, 0.0]]
    assert found([[0.1, 1.1]], good) == pytest.approx(100 * 2 / 5)
    assert found([[0.1, 1.1], [0.2, 2.1]], 2 * good) == pytest.approx(100 * 3 / 5)  # the same one twice, and another
    # -3.1 is nearest to 3.0, as 2.9 is; 9 does not exist, so 2.7 is 2's.
    assert found([[-3.1, 2.7], [2.9, 2.7]], 2 * good) == pytest.approx(100 * 2 / 5)
    assert found([[0.1, 1.1]], [[0.019, 0.021]]) == pytest.approx(100 * 1 / 5)
    assert found([[0.1 + 2 * np.pi, 1.1]], good) == pytest.approx(100 * 2 / 5)


def evaluate(name, policy, **changes):
    task = TASKS[name]
    config = EvaluationConfig(**{"num_inputs": 60, "num_samples": 100, "tolerance": 0.02, "num_draws": 10} | changes)
    heldout = Batch(jnp.zeros((3, task.spec.obs_dim)), jnp.ones((3, task.spec.action_dim)))
    mask = jnp.asarray([True, False, True])
    run = jax.jit(lambda key: task.evaluate(key, policy, Data(heldout, heldout, mask), config))
    return {metric: float(value) for metric, value in run(jax.random.key(0)).items()}


@every_name
def test_the_exact_conditional_reaches_everything(name):
    """A given one of 8 solutions escapes 100 draws once in 600,000 times."""
    metrics = evaluate(name, TASKS[name].conditional)
    for metric in ("success@5mm", "success@10mm", "success@20mm", "solutions@S=100,tau=20mm"):
        assert metrics.pop(metric) == pytest.approx(100.0, abs=0.3)
    assert metrics.pop("tip_error_median") < 1e-3 and metrics.pop("orientation_error") < 1e-3
    assert not metrics  # it has no density


def test_a_policy_that_misses_by_a_known_distance():
    """It reaches exactly for points some millimetres beside the targets."""
    task = TASKS["ur10"]

    @jax.jit
    def metrics_at(key, offset):
        def sample(key, obs, num):
            return task.conditional.sample(key, obs - offset * jnp.sign(obs) * jnp.asarray([[1.0, 0.0, 0.0]]), num)

        policy = Conditional(sample, lambda obs, action: 2.0 * action[..., 0] + obs[:, 0])
        config = EvaluationConfig(num_inputs=60, num_samples=100, tolerance=0.02, num_draws=10)
        heldout = Batch(jnp.zeros((3, 3)), jnp.asarray([[1.0] * 6, [7.0] * 6, [2.0] * 6]))
        return task.evaluate(key, policy, Data(heldout, heldout, jnp.asarray([True, False, True])), config)

    for offset, reached in ((0.004, 3), (0.009, 2), (0.019, 1), (0.021, 0)):
        metrics = {name: float(value) for name, value in metrics_at(jax.random.key(0), offset).items()}
        assert metrics["tip_error_median"] == pytest.approx(1000 * offset, rel=1e-3)
        assert metrics["orientation_error"] < 1e-3
        # A target at the edge of reach may lose its solutions on the way.
        success = [metrics[f"success@{mm}mm"] for mm in (20, 10, 5)]
        np.testing.assert_allclose(success, [100.0] * reached + [0.0] * (3 - reached), atol=10)
        assert metrics["solutions@S=100,tau=20mm"] == pytest.approx(100.0 if reached else 0.0, abs=10)
        assert metrics["heldout_nll"] == pytest.approx(-3.0)


def test_one_solution_only_is_found_as_often_as_it_exists():
    def sample(key, obs, num):
        solutions, exist = TASKS["ur5"].modes(obs)
        first = jnp.argmax(exist, axis=0)
        return jnp.broadcast_to(solutions[first, jnp.arange(obs.shape[0])], (num, obs.shape[0], 6))

    metrics = evaluate("ur5", Conditional(sample, None))
    assert metrics["success@5mm"] == pytest.approx(100.0)
    assert 100 / 8 < metrics["solutions@S=100,tau=20mm"] < 100 / 4  # of 4 or 8


def test_a_policy_that_ignores_the_target_fails():
    metrics = evaluate("ur5", Conditional(lambda key, obs, num: jnp.ones((num, obs.shape[0], 6)), None))
    assert metrics["success@20mm"] < 1.0 and metrics["solutions@S=100,tau=20mm"] < 1.0
    assert metrics["tip_error_median"] > 100.0 and metrics["orientation_error"] > 1.0
