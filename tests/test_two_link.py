"""The two-link arm, with and without joint limits. Statistical tests fail falsely once in a million (p > 1e-6, 5 standard errors)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.tasks import TASKS, two_link, two_link_limits
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig
from ebgan_mdn_jax.types import Batch

FALSE_FAIL = 1e-6


@functools.cache
def demonstrations(name, num, seed=0):
    draw = jax.jit(TASKS[name].demonstrations, static_argnums=1)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), draw(jax.random.key(seed), num))


def tips(angles):
    first, both = angles[..., 0], angles[..., 0] + angles[..., 1]
    return 3 * np.stack([np.cos(first) + np.cos(both), np.sin(first) + np.sin(both)], -1)


def radius(obs):
    return np.linalg.norm(obs, axis=-1)


def evaluate(name, policy, num=1000, **changes):
    task = TASKS[name]
    config = EvaluationConfig(**{"num_inputs": num, "num_samples": 30, "num_draws": 10, "tolerance": 0.3} | changes)
    heldout = Batch(jnp.ones((3, 2)), jnp.full((3, task.spec.action_dim), 0.1))
    mask = jnp.asarray([True, True, False])
    metrics = jax.jit(lambda key: task.evaluate(key, policy, Data(heldout, heldout, mask), config))(jax.random.key(4))
    return {name: float(value) for name, value in metrics.items()}


def deterministic(solve):
    """The policy that answers ``solve(obs) [B, Da]``."""
    return Conditional(lambda key, obs, num: jnp.broadcast_to(solve(obs), (num, *solve(obs).shape)), None)


# Variants


def test_there_is_a_variant_for_every_choice():
    assert len(two_link.VARIANTS) == 15
    assert {
        "two_link",
        "two_link_gradient_reach",
        "two_link_gradient_sincos",
        "two_link_incremental_wrapped_reach",
    } <= set(two_link.VARIANTS)
    for name, task in two_link.VARIANTS.items():
        sincos, labelled = "sincos" in name, "gradient" in name or "incremental" in name
        assert task.spec.action_high == ((1.0,) * 4 if sincos else (np.pi,) * 2)
        assert (task.conditional is None) == (task.modes is None) == labelled
        rows = 2_000 if labelled else 3_142  # two for each of 2,000 pi / 4 targets
        assert task.num_demonstrations == rows


def test_encodings_are_of_the_same_labels():
    for labels in ("", "_gradient"):
        raw = demonstrations(f"two_link{labels}", 200).action
        wrapped = demonstrations(f"two_link{labels}_wrapped", 200).action
        sincos = demonstrations(f"two_link{labels}_sincos", 200).action
        assert np.any(np.abs(raw) > np.pi) and np.all(np.abs(wrapped) <= np.pi + 1e-6)
        np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * raw), atol=1e-5)
        np.testing.assert_allclose(sincos[:, ::2], np.sin(raw), atol=1e-5)
        np.testing.assert_allclose(sincos[:, 1::2], np.cos(raw), atol=1e-5)


def test_targets_are_those_asked_for():
    square, reach = (demonstrations(f"two_link_gradient{name}", 2_000).obs for name in ("", "_reach"))
    for dim in range(2):
        assert scipy.stats.kstest(square[:, dim], scipy.stats.uniform(-6, 12).cdf).pvalue > FALSE_FAIL
    for obs in (reach, demonstrations("two_link", 4_000).obs[::2]):
        assert scipy.stats.kstest((radius(obs) / 6) ** 2, scipy.stats.uniform.cdf).pvalue > FALSE_FAIL
        turn = np.arctan2(obs[:, 1], obs[:, 0])
        assert scipy.stats.kstest(turn, scipy.stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > FALSE_FAIL


# Labels


def test_analytic_rows_are_both_solutions_of_each_target():
    batch = demonstrations("two_link", 4_000)
    np.testing.assert_allclose(tips(batch.action), batch.obs, atol=1e-5)
    np.testing.assert_array_equal(batch.obs[::2], batch.obs[1::2])
    assert np.all(batch.action[::2, 1] > 0)
    np.testing.assert_allclose(batch.action[::2, 1], -batch.action[1::2, 1])
    # |theta_1| > pi in one row of eight: psi +- acos(r / 6), of which the mean is pi / 4; two rows of a target depend on each other.
    outside = np.abs(batch.action[:, 0]) > np.pi
    assert outside.mean() == pytest.approx(1 / 8, abs=5 * np.sqrt(1 / 8 * 7 / 8 / 2_000))
    odd = demonstrations("two_link", 7)
    assert odd.obs.shape == (7, 2) and len(np.unique(odd.obs, axis=0)) == 4


def adam(start, target):
    """Angles by the docstring, in float64 and one row at a time."""
    theta, m, v, before = start.copy(), np.zeros(2), np.zeros(2), np.inf
    for t in range(1, 1001):
        error = tips(theta) - target
        columns = [theta[0] + theta[1] * keep for keep in (0, 1)]
        second = 3 * np.array([-np.sin(columns[1]), np.cos(columns[1])])
        first = 3 * np.array([-np.sin(columns[0]), np.cos(columns[0])]) + second
        gradient = np.array([first @ error, second @ error])  # of the mean over two dimensions
        gradient *= min(1, 1 / np.linalg.norm(gradient))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        loss = np.mean(error**2)
        if abs(before - loss) < 1e-6:
            break
        before = loss
    return theta, t


def test_descent_is_adam_with_clipping_that_stops():
    rng = np.random.default_rng(0)
    start = rng.uniform(-np.pi, np.pi, (20, 2)).astype(np.float32)
    target = rng.uniform(-6, 6, (20, 2)).astype(np.float32)
    ours = jax.jit(jax.vmap(two_link.descend))(start, target)
    expected, steps = zip(*map(adam, start.astype(float), target.astype(float)), strict=True)
    assert 10 < min(steps) and max(steps) < 1000
    # Float32 may stop a step earlier or later, which changes the angles by a little.
    assert np.quantile(np.abs(ours - np.stack(expected)).max(axis=1), 0.8) < 1e-4


def test_gradient_labels_solve_but_wander_off():
    batch = demonstrations("two_link_gradient", 2_000)
    reachable = radius(batch.obs) < 6
    error = radius(tips(batch.action) - batch.obs)
    assert np.median(error[reachable]) < 0.01 and np.mean(error[reachable] > 0.1) < 0.02
    # Out of reach the arm is stretched towards the target; near that angle the descent is slow.
    assert np.median(error[~reachable] - (radius(batch.obs[~reachable]) - 6)) < 0.01
    outside = np.mean(np.any(np.abs(batch.action) > np.pi, axis=1))
    assert outside == pytest.approx(0.36, abs=5 * np.sqrt(0.36 * 0.64 / 2_000) + 0.01)  # 0.36: the authors' rows
    assert np.mean(np.sin(batch.action[:, 1]) > 0) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2_000) + 0.02)


def test_incremental_rows_are_a_tree_with_one_elbow():
    batch = demonstrations("two_link_incremental_reach", 600)
    np.testing.assert_allclose(batch.obs[0], [-0.0 + 3, 3], atol=1e-5)
    np.testing.assert_allclose(batch.action[0], two_link.ROOT, atol=1e-6)
    for i in range(1, 600):
        assert 0 < radius(batch.obs[:i] - batch.obs[i]).min() <= 0.3 + 1e-4
    assert np.all(radius(batch.obs) <= 6 + 1e-4) and radius(batch.obs).max() > 5.5 and batch.obs.min() < -4
    error = radius(tips(batch.action) - batch.obs)
    assert np.quantile(error, 0.9) < 0.1
    other = demonstrations("two_link_incremental_reach", 600, 1)
    for rows in (batch, other):  # every tree starts with the same elbow, and mostly keeps it
        assert np.mean(np.sin(rows.action[:, 1]) > 0) > 0.75
    assert not np.array_equal(batch.obs, other.obs)


# The truth and the metrics


@pytest.mark.parametrize("name", ["two_link", "two_link_wrapped", "two_link_sincos"])
def test_exact_sampler_tosses_a_coin_between_the_modes(name):
    obs = jnp.asarray([[3.0, 1.0], [-2.0, -4.0], [-5.9, 0.1]])
    modes, mask = TASKS[name].modes(obs)
    draws = TASKS[name].conditional.sample(jax.random.key(0), obs, 2_000)
    assert np.all(mask) and draws.shape == (2_000, *modes.shape[1:])
    which = np.linalg.norm(np.asarray(draws)[:, None] - np.asarray(modes), axis=-1) < 1e-5
    assert np.all(which.sum(1) == 1)
    np.testing.assert_allclose(which.mean(0), 0.5, atol=5 * 0.5 / np.sqrt(2_000))
    assert not np.any(TASKS[name].modes(jnp.asarray([[5.0, 5.0]]))[1])


@pytest.mark.parametrize("name", ["two_link", "two_link_sincos"])
def test_metrics_of_known_policies(name):
    task = TASKS[name]
    exact = evaluate(name, task.conditional)
    assert exact["success@0.1"] == exact["both_elbows@S=30,tau=0.3"] == 100.0 and exact["tip_error"] < 1e-5
    # The square within 6.3 of the base: the disc of 6 and the ring that a stretched arm nearly reaches.
    grid = np.stack(np.meshgrid(*[np.linspace(-6, 6, 1_201)] * 2), -1)
    share = np.mean(radius(grid) <= 6.3)
    assert exact["success_square@0.3"] == pytest.approx(100 * share, abs=500 * np.sqrt(share * (1 - share) / 1000))
    # One elbow, 4 % short of the target.
    short = evaluate(name, deterministic(lambda obs: task.modes(0.96 * obs)[0][0]))
    reach = 0.1 / 0.04 / 6
    assert short["success@0.1"] == pytest.approx(100 * reach**2, abs=500 * np.sqrt(reach**2 * (1 - reach**2) / 1000))
    assert short["success@0.3"] == 100.0 and short["both_elbows@S=30,tau=0.3"] == 0.0
    assert short["tip_error"] == pytest.approx(0.04 * 4, rel=0.05)
    assert short["tip_error_median"] == pytest.approx(0.04 * 6 / np.sqrt(2), rel=0.08)
    assert "heldout_nll" not in short


def test_held_out_likelihood_leaves_padding_out():
    policy = TASKS["two_link"].conditional._replace(log_prob=lambda obs, action: jnp.asarray([-1.0, -2.0, 99.0]))
    assert evaluate("two_link", policy, num=4)["heldout_nll"] == pytest.approx(1.5)


# Joint limits


def valid_elbows(obs):
    """Which elbows are valid ``[2, B]``, by the module's docstring."""
    r, psi = radius(obs), np.arctan2(obs[:, 1], obs[:, 0])
    h = np.arccos(np.minimum(r / 6, 1))
    fits = [np.abs((psi - sign * h - np.pi / 2 + np.pi) % (2 * np.pi) - np.pi) <= np.pi / 2 for sign in (1, -1)]
    return np.stack(fits) & (r <= 6) & (h <= 3 * np.pi / 8)


def square(num):
    return np.random.default_rng(5).uniform([-6, -3], [6, 6], (num, 2)).astype(np.float32)


def test_limits_leave_two_one_or_no_answer():
    obs = square(5_000)
    angles, mask = two_link_limits.solutions(jnp.asarray(obs))
    assert np.mean(np.asarray(mask) != valid_elbows(obs)) < 1e-3  # rounding at the edges
    assert set(np.sum(mask, axis=0).tolist()) == {0, 1, 2}
    angles, mask = np.asarray(angles), np.asarray(mask)
    low, high = np.array(two_link_limits.LOW) - 1e-3, np.array(two_link_limits.HIGH) + 1e-3
    inside = np.all((angles > low) & (angles < high), axis=-1)
    assert np.all(inside[mask])
    np.testing.assert_allclose(tips(angles)[mask], np.broadcast_to(obs, (2, 5_000, 2))[mask], atol=1e-5)


def test_limited_demonstrations_are_all_answers_of_uniform_targets():
    num = 20_000
    batch = demonstrations("two_link_limits", num)
    np.testing.assert_allclose(tips(batch.action), batch.obs, atol=1e-5)
    assert np.all(batch.action >= two_link_limits.LOW) and np.all(batch.action <= two_link_limits.HIGH)
    # Counts of rows in cells of the plane, for each elbow, are those of uniform targets with that elbow.
    obs = square(20 * num)
    valid = valid_elbows(obs)
    for elbow, rows in enumerate((batch.action[:, 1] > 0, batch.action[:, 1] < 0)):
        edges = [np.linspace(-6, 6, 9), np.linspace(-3, 6, 7)]
        counts, expected = (np.histogram2d(*x.T, bins=edges)[0].ravel() for x in (batch.obs[rows], obs[valid[elbow]]))
        used = expected > 2_000
        table = np.stack([counts[used], expected[used]])
        assert scipy.stats.chi2_contingency(table).pvalue > FALSE_FAIL
        assert rows.mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(num))


def test_metrics_with_limits():
    name = "two_link_limits"
    task = TASKS[name]
    targets = np.asarray(two_link_limits.targets(jax.random.key(8), 1000))
    valid = valid_elbows(targets)
    assert np.mean(np.any(valid, axis=0)) > 0.998
    exact = evaluate(name, task.conditional)
    assert (
        exact["valid@0.3"] == exact["all_solutions@S=30,tau=0.3"] == exact["all_solutions_of_2@S=30,tau=0.3"] == 100.0
    )
    # Elbow up whatever the limits: always there, but valid only where that elbow is, and never both.
    up = evaluate(name, deterministic(lambda obs: two_link_limits.solutions(obs)[0][0]))
    assert up["success@0.1"] == 100.0 and up["all_solutions_of_2@S=30,tau=0.3"] == 0.0
    only = valid[0] & ~valid[1]
    assert up["valid@0.3"] == pytest.approx(100 * np.mean(valid[0]), abs=0.3)
    assert up["all_solutions@S=30,tau=0.3"] == pytest.approx(100 * np.mean(only), abs=0.3)
    # A draw within the limits that misses is not valid.
    assert evaluate(name, deterministic(lambda obs: jnp.full(obs.shape, 1.0)), num=50)["valid@0.3"] < 20
