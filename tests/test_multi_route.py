"""Routes: the environment's rules, the exact conditional against independent statistics, and metrics of policies with known ways.

Statistical tests fail falsely once in a million (p-values above 1e-6, means within 5 standard errors).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.envs import multi_route as env
from ebgan_mdn_jax.tasks import TASKS, multi_route
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import InputError

OUTER, THREE = (0.5, 0.0, 0.5), (1 / 3, 1 / 3, 1 / 3)


# The environment


def at(position, num_steps=0):
    return env.State(jnp.asarray(position), jnp.asarray(num_steps), jnp.asarray(False), jnp.asarray(False))


@pytest.mark.parametrize(
    ("position", "action", "expected", "success", "fail"),
    [
        ((1.0, 1.0), (0.5, -0.5), (1.5, 0.5), False, False),
        ((1.0, 1.0), (5.0, -2.5), (3.0, -1.0), False, False),  # clipped per coordinate
        ((18.0, 20.0), (1.1, 0.0), (19.1, 20.0), True, False),
        ((18.0, 18.0), (1.1, 0.0), (19.1, 18.0), False, False),  # both coordinates must be in the goal
        ((20.5, 21.5), (0.0, 0.1), (20.5, 21.6), False, False),  # beyond the goal, within the arena
        ((21.5, 20.0), (1.0, 0.0), (22.5, 20.0), False, True),
        ((-1.5, 3.0), (-1.0, 0.0), (-2.5, 3.0), False, True),
        ((1.0, 1.0), (np.nan, 0.0), (np.nan, 1.0), False, True),
    ],
)
def test_step(position, action, expected, success, fail):
    state = jax.jit(env.step)(at(position), jnp.asarray(action))
    np.testing.assert_allclose(state.position, expected, rtol=1e-6)
    assert (bool(state.success), bool(state.fail), int(state.num_steps)) == (success, fail, 1)


@pytest.mark.parametrize("position", [(20.0, 20.0), (23.0, 0.0)])
def test_nothing_moves_once_it_is_over(position):
    state = env.step(at(position), jnp.zeros(2))
    assert bool(state.done)
    after = env.step(state, jnp.ones(2))
    jax.tree.map(np.testing.assert_array_equal, after, state)
    late = at((5.0, 5.0), env.NUM_STEPS - 1)
    assert not bool(late.done)
    late = env.step(late, jnp.ones(2))
    assert bool(late.done) and not bool(late.success) and not bool(late.fail)
    np.testing.assert_array_equal(env.step(late, jnp.ones(2)).position, late.position)


def test_reset_starts_around_the_origin():
    state = env.reset(jax.random.key(0), (4_000,))
    assert scipy.stats.kstest(np.asarray(state.position).ravel(), scipy.stats.norm(0, 0.25).cdf).pvalue > 1e-6
    assert not np.any(state.done)


# Data


def test_waypoints_are_about_one_apart_and_pass_all_corners():
    for route, count in ((0, 40), (1, 28), (2, 40)):
        points = multi_route.waypoints(route)
        assert points.shape == (count, 2)
        distance = np.linalg.norm(np.diff(points, axis=0), axis=1)
        assert np.all((distance > 0.99) & (distance < 1.2))
        for corner in multi_route._LEGS[route]:
            assert np.min(np.linalg.norm(points - np.asarray(corner), axis=1)) < 1e-12
    np.testing.assert_array_equal(multi_route.waypoints(0), multi_route.waypoints(2)[:, ::-1])


@pytest.mark.parametrize("name", ["multi_route", "multi_route_three"])
def test_demonstrations_are_paths_with_noise_on_every_waypoint(name):
    task = TASKS[name]
    assert task.num_demonstrations == {"multi_route": 7_800, "multi_route_three": 7_000}[name]  # 200 paths
    batch = jax.tree.map(np.asarray, task.demonstrations(jax.random.key(0), task.num_demonstrations))
    assert len(batch.obs) == task.num_demonstrations
    reached = batch.obs + batch.action
    starts = np.flatnonzero(np.append(True, np.linalg.norm(reached[:-1] - batch.obs[1:], axis=1) > 1e-4))
    lengths, noise, routes = np.diff(starts), [], []
    for first, length in zip(starts[:-1], lengths, strict=True):
        path = np.concatenate([batch.obs[first : first + length], reached[first + length - 1][None]])
        candidates = [multi_route.waypoints(route) for route in range(3)]
        residual = [np.abs(path - w).mean() if len(w) == len(path) else np.inf for w in candidates]
        routes.append(int(np.argmin(residual)))
        noise.append((path - candidates[routes[-1]]).ravel())
    assert scipy.stats.kstest(np.concatenate(noise), scipy.stats.norm(0, 0.25).cdf).pvalue > 1e-6
    count = np.bincount(routes, minlength=3)
    expected = np.asarray(OUTER if name == "multi_route" else THREE) * len(routes)
    assert np.all(np.abs(count - expected) <= 5 * np.sqrt(expected * (1 - expected / len(routes))))


# The exact conditional


def test_conditional_is_that_of_the_demonstrations():
    """Given the position, the first coordinate's and, given it, the second's probability integral transform are uniform.

    The cumulative distribution is of the density that NumPy works out here from the demonstrations' definition.
    """
    num = 4_000
    batch = jax.tree.map(
        lambda x: np.asarray(x, float), TASKS["multi_route_three"].demonstrations(jax.random.key(5), num)
    )
    starts, ends = (
        np.concatenate([multi_route.waypoints(r)[part] for r in range(3)]) for part in (slice(-1), slice(1, None))
    )
    joint = np.exp(-0.5 * np.sum((batch.obs[:, None] - starts) ** 2, -1) / 0.25**2)
    weight = joint / joint.sum(1, keepdims=True)
    exact = multi_route.mixture(jnp.asarray(batch.obs, jnp.float32), THREE)
    np.testing.assert_allclose(np.exp(exact.log_weights), weight, atol=2e-4)
    standard = (batch.action[:, None] - (ends - batch.obs[:, None])) / 0.25
    cdf, pdf = scipy.stats.norm.cdf(standard), scipy.stats.norm.pdf(standard)
    first = np.sum(weight * cdf[..., 0], 1)
    second = np.sum(weight * pdf[..., 0] * cdf[..., 1], 1) / np.sum(weight * pdf[..., 0], 1)
    for transform in (first, second):
        assert scipy.stats.kstest(transform, scipy.stats.uniform.cdf).pvalue > 1e-6
    log_prob = np.log(np.sum(weight * pdf[..., 0] * pdf[..., 1], 1) / 0.25**2)
    ours = TASKS["multi_route_three"].conditional.log_prob(*(jnp.asarray(x, jnp.float32) for x in batch))
    np.testing.assert_allclose(ours, log_prob, atol=5e-3)


@pytest.mark.parametrize(
    ("obs", "name", "expected"),
    [
        ((0.0, 0.0), "multi_route", [(1, 0), None, (0, 1)]),
        ((0.0, 0.0), "multi_route_three", [(1, 0), (5 / 7, 5 / 7), (0, 1)]),
        ((10.0, 10.0), "multi_route", [(0, 1), None, (1, 0)]),
        ((10.1, 4.0), "multi_route", [(-0.1, 1), None, None]),
        ((5.0, 5.0), "multi_route_three", [None, (5 / 7, 5 / 7), None]),
    ],
)
def test_modes_are_the_next_waypoints_of_likely_routes(obs, name, expected):
    actions, mask = TASKS[name].modes(jnp.asarray([obs]))
    np.testing.assert_array_equal(mask[:, 0], [e is not None for e in expected])
    for action, e in zip(actions[:, 0], expected, strict=True):
        if e is not None:
            np.testing.assert_allclose(action, e, atol=1e-5)


def test_draws_are_around_the_modes():
    """A share of draws within 0.75 (3 deviations, 98.9 %) of a mode, where every draw goes to the end of a likeliest pair."""
    obs = jnp.asarray([[0.0, 0.0], [10.0, 10.0], [10.0, 5.0]])
    draws = TASKS["multi_route"].conditional.sample(jax.random.key(0), obs, 2_000)
    modes, mask = TASKS["multi_route"].modes(obs)
    near = (jnp.linalg.norm(draws[:, None] - modes[None], axis=-1) < 0.75) & mask[None]
    assert np.all(np.mean(np.any(near, axis=1), axis=0) > 0.96)
    share = np.mean(near, axis=0)
    np.testing.assert_allclose(share[:, :2], [[0.5, 0.5], [0, 0], [0.5, 0.5]], atol=0.06)


# Rollouts and their metrics


def follow(route):
    """A policy that goes to the waypoint after the nearest one, without noise."""
    points = jnp.asarray(multi_route.waypoints(route), jnp.float32)

    def sample(key, obs, num):
        nearest = jnp.argmin(jnp.linalg.norm(points[None] - obs[:, None], axis=-1), axis=1)
        action = points[jnp.minimum(nearest + 1, len(points) - 1)] - obs
        return jnp.broadcast_to(action, (num, *action.shape))

    return Conditional(sample, None)


def metrics(policy, name="multi_route", num=50, seed=0):
    task = TASKS[name]
    heldout = task.demonstrations(jax.random.key(1), 40)
    config = task.evaluation.__class__(num_inputs=num, num_quadrature=40)
    run = jax.jit(lambda key: task.evaluate(key, policy, Data(heldout, heldout, jnp.ones(40, bool)), config))
    return {name: float(value) for name, value in run(jax.random.key(seed)).items()}


@pytest.mark.parametrize("route", [0, 1, 2])
def test_a_policy_that_follows_one_route(route):
    result = metrics(follow(route))
    assert result["success"] == 100.0 and result["fail"] == 0.0 and result["route_entropy"] == 0.0
    # One of four equal ways, or one that no demonstration took.
    assert result["route_share_error"] == pytest.approx(100.0 if route == 1 else 75.0)
    final, positions = multi_route.rollouts(jax.random.key(0), follow(route), 5)
    np.testing.assert_array_equal(multi_route.way(positions), 4 * route)
    assert np.all(final.success)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (1, 0), (2, 0), (2, 1)])
def test_a_way_is_the_route_before_and_the_route_after_the_crossing(before, after):
    half = [multi_route.waypoints(route) for route in (before, after)]
    path = np.concatenate([half[0][half[0].sum(1) < 20], half[1][half[1].sum(1) >= 20]])
    assert multi_route.way(jnp.asarray(path, jnp.float32)[:, None]).tolist() == [3 * before + after]


@pytest.mark.parametrize(("action", "fail"), [((0.0, 0.0), 0.0), ((0.0, -2.0), 100.0)])
def test_policies_that_never_arrive_have_finite_metrics(action, fail):
    policy = Conditional(lambda key, obs, num: jnp.broadcast_to(jnp.asarray(action), (num, *obs.shape)), None)
    expected = {"success": 0.0, "fail": fail, "route_entropy": 0.0, "route_share_error": 100.0}
    assert metrics(policy) == expected


@pytest.mark.parametrize(("name", "ways", "bits"), [("multi_route", 4, 2.0), ("multi_route_three", 9, np.log2(9))])
def test_the_exact_conditional_arrives_by_all_ways_equally_often(name, ways, bits):
    num = 2_000
    result = metrics(TASKS[name].conditional, name, num)
    assert result["success"] == 100.0 and result["fail"] == 0.0
    # Chi-square / (2 n ln 2) is what sampling takes off the entropy; a total variation distance is at most half its root.
    most = scipy.stats.chi2(ways - 1).isf(1e-6)
    assert bits - 1.1 * most / (2 * num * np.log(2)) < result["route_entropy"] <= bits + 1e-5
    assert result["route_share_error"] < 50 * np.sqrt(most / num)
    assert abs(result["kl"]) < 1e-4


def test_kl_of_a_wider_policy_is_the_closed_form():
    """Where one pair has all of the weight: ``2 log(s / 0.25) + 0.25^2 / s^2 - 1`` for two dimensions; elsewhere not more."""
    task, scale = TASKS["multi_route"], 0.4
    exact = functools.partial(multi_route.mixture, probabilities=OUTER)

    def log_prob(obs, action):
        best = exact(obs)
        wide = best._replace(scales=jnp.full_like(best.scales, scale))
        return multi_route.mixtures.log_prob(wide, action)

    result = metrics(task.conditional._replace(log_prob=log_prob), num=5)
    closed = 2 * np.log(scale / 0.25) + 0.25**2 / scale**2 - 1
    assert 0.85 * closed < result["kl"] < 1.001 * closed
    heldout = task.demonstrations(jax.random.key(1), 40)
    assert result["heldout_nll"] == pytest.approx(-float(jnp.mean(log_prob(*heldout))), rel=1e-4)


@pytest.mark.parametrize("probabilities", [(0.5, 0.0, 5.0), (0.5, 0.5), (1.5, -0.5, 0.0)])
def test_probabilities_must_be_sound(probabilities):
    with pytest.raises(InputError, match="expected 3 that add up to 1"):
        multi_route.make(probabilities)
