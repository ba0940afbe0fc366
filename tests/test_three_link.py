"""The three-link arm. Statistical tests fail falsely once in a million (p > 1e-6, 5 standard errors)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from test_kinematics_planar import crossing

from ebgan_mdn_jax.tasks import TASKS, three_link
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig
from ebgan_mdn_jax.types import Batch

FALSE_FAIL = 1e-6
TASK = TASKS["three_link"]


def positions(angles):
    """Base, joints and tip ``[..., 4, 2]`` in float64."""
    links = 2 * np.exp(1j * np.cumsum(np.asarray(angles, np.float64), axis=-1))
    points = np.concatenate([0 * links[..., :1], np.cumsum(links, axis=-1)], axis=-1)
    return np.stack([points.real, points.imag], -1)


def ring(r, num):
    psi = np.linspace(-3, 3, num)
    return jnp.asarray(np.stack([r * np.cos(psi), r * np.sin(psi)], -1), jnp.float32)


def evaluate(policy, **changes):
    config = EvaluationConfig(**{"num_inputs": 200, "num_samples": 100, "num_draws": 5, "tolerance": 0.3} | changes)
    heldout = Batch(jnp.ones((2, 2)), jnp.zeros((2, 3)))
    run = jax.jit(lambda key: TASK.evaluate(key, policy, Data(heldout, heldout, jnp.ones(2, bool)), config))
    return {name: float(value) for name, value in run(jax.random.key(0)).items()}


@pytest.mark.parametrize("r", [0.5, 1.9, 2.1, 4.0, 5.9, 7.0])
def test_orientations_leave_the_wrist_within_reach(r):
    half = np.asarray(three_link.feasible_half_width(ring(r, 3)))
    fine = np.linspace(0, np.pi, 100_001)
    feasible = np.abs(r - 2 * np.exp(1j * fine)) <= 4
    np.testing.assert_allclose(half, fine[feasible].max() if np.any(feasible) else 0.0, atol=1e-3)


def test_demonstrations_reach_and_do_not_collide():
    batch = jax.jit(TASK.demonstrations, static_argnums=1)(jax.random.key(0), 5_000)
    points = positions(batch.action)
    np.testing.assert_allclose(points[:, -1], batch.obs, atol=1e-5)
    assert not np.any(crossing(points[:, :2], points[:, 2:]))
    r = np.linalg.norm(batch.obs, axis=-1)
    assert scipy.stats.kstest((r / 6) ** 2, scipy.stats.uniform.cdf).pvalue > FALSE_FAIL
    assert np.all(np.abs(batch.action) <= np.pi + 1e-6)


def test_collisions_are_crossings():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (5_000, 3)).astype(np.float32)
    points = positions(angles)
    expected = crossing(points[:, :2], points[:, 2:])
    assert expected.any() and np.mean(np.asarray(three_link.collides(jnp.asarray(angles))) != expected) < 1e-3


@pytest.mark.parametrize("r", [1.0, 4.0])
def test_exact_sampler_is_uniform_over_orientations_and_elbows_without_collision(r):
    """Against all answers on a fine grid, less those that collide."""
    obs, num = ring(r, 2), 3_000
    draws = np.asarray(jax.jit(TASK.conditional.sample, static_argnums=2)(jax.random.key(1), obs, num), np.float64)
    half = np.pi if r <= 2 else np.arccos((r**2 - 12) / (4 * r))
    for i, target in enumerate(np.asarray(obs, np.float64)):
        psi = np.arctan2(target[1], target[0])
        offset = np.linspace(-half, half, 20_001)[1:-1]
        wrist = target[0] + 1j * target[1] - 2 * np.exp(1j * (psi + offset))
        bend = 2 * np.arccos(np.minimum(np.abs(wrist) / 4, 1))
        hand = np.stack([np.stack([wrist.real, wrist.imag], -1), np.broadcast_to(target, (offset.size, 2))], 1)
        ours = (draws[:, i].sum(-1) - psi + np.pi) % (2 * np.pi) - np.pi
        shares, total = [], 0
        for sign in (1, -1):
            elbow = 2 * np.exp(1j * (np.angle(wrist) - sign * bend / 2))
            first = np.stack([np.zeros((offset.size, 2)), np.stack([elbow.real, elbow.imag], -1)], 1)
            allowed = offset[~crossing(first, hand)]
            assert (allowed.size < offset.size) == (r <= 2)
            mine = ours[np.sign(draws[:, i, 1]) == sign]
            cdf = lambda x, allowed=allowed: np.searchsorted(allowed, x) / allowed.size  # noqa: E731
            assert scipy.stats.kstest(mine, cdf).pvalue > FALSE_FAIL
            shares.append((mine.size, allowed.size))
            total += allowed.size
        assert shares[0][0] / num == pytest.approx(shares[0][1] / total, abs=5 * 0.5 / np.sqrt(num))


def test_at_most_a_third_of_the_answers_collide():
    """So 16 proposals without a good one happen once in 40 million draws."""
    obs = jnp.stack([jnp.linspace(0.01, 5.9, 60), jnp.zeros(60)], -1)
    phi = jnp.linspace(-1, 1, 801)[:, None] * three_link.feasible_half_width(obs)[None]
    angles, reachable = three_link.solve(jnp.broadcast_to(obs, (801, 60, 2)), phi)
    assert np.mean(reachable) > 0.99
    assert np.max(np.mean(three_link.collides(angles), axis=(0, 1))) < 0.34


def test_metrics_of_the_exact_sampler():
    metrics = evaluate(TASK.conditional)
    assert metrics["success@0.1"] == 100.0 and metrics["self_collision"] == 0.0 and metrics["tip_error"] < 1e-5
    assert metrics["manifold_coverage@S=100,tau=0.3"] == pytest.approx(99.5, abs=0.3)


def test_metrics_of_answers_at_the_edges_of_cells():
    """Some of them collide, or are out of reach, where the middle of their cell is neither."""

    def answers(obs):  # [32, B, 3], in the order of the cells
        edges = -np.pi + np.arange(16) * np.pi / 8 + 0.02
        phi = jnp.broadcast_to(jnp.asarray(edges, jnp.float32)[:, None], (16, obs.shape[0]))
        both = three_link.solve(jnp.broadcast_to(obs, (*phi.shape, 2)), phi)[0]
        return jnp.moveaxis(both, 0, 1).reshape(32, obs.shape[0], 3)

    metrics = evaluate(Conditional(lambda key, obs, num: answers(obs)[jnp.arange(num) % 32], None), num_draws=32)
    obs = three_link.targets(jax.random.key(9), 200)
    points = positions(answers(obs))
    collided = crossing(points[..., :2, :].reshape(-1, 2, 2), points[..., 2:, :].reshape(-1, 2, 2)).reshape(32, 200)
    error = np.linalg.norm(points[..., -1, :] - np.asarray(obs), axis=-1)
    assert metrics["self_collision"] == pytest.approx(100 * collided.mean(), rel=1e-4)
    assert metrics["success@0.3"] == pytest.approx(100 * np.mean(error <= 0.3), rel=1e-4)
    # Beyond 2 nothing collides, so the cells are known without the library.
    target = np.asarray(obs, np.float64) @ [1, 1j]
    far = np.abs(target) > 2.01
    middles = -np.pi + (np.arange(16) + 0.5) * np.pi / 8
    feasible = np.abs(target - 2 * np.exp(1j * middles[:, None])) <= 4  # [16, B]
    cells = np.asarray(three_link.feasible_cells(obs)).reshape(16, 2, 200)
    np.testing.assert_array_equal(cells[..., far], np.stack([feasible, feasible], 1)[..., far])
    assert np.all(cells <= feasible[:, None]) and np.any(cells != feasible[:, None])
    cells = cells.reshape(32, 200)
    count = cells.sum(0)
    straight = np.asarray(answers(obs)[..., 1]) == 0  # belongs to the cell of elbow up
    valid = ~collided & (error <= 0.3) & ~(straight & (np.arange(32) % 2 == 1)[:, None])
    share = (cells & valid).sum(0)[count > 0] / count[count > 0]
    assert np.any(cells & collided)
    assert metrics["manifold_coverage@S=100,tau=0.3"] == pytest.approx(100 * share.mean(), rel=1e-4)
