"""Planar kinematics against complex arithmetic, the law of cosines in float64, and linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.evaluation import reaching
from ebgan_mdn_jax.kinematics import planar


@pytest.mark.parametrize("lengths", [(3.0,), (3.0, 3.0), (2.0, 1.0, 0.5, 4.0)])
def test_joints_are_a_sum_of_turned_links(lengths):
    angles = np.random.default_rng(0).uniform(-7, 7, (5, 4, len(lengths)))
    links = np.asarray(lengths) * np.exp(1j * np.cumsum(angles, axis=-1))
    expected = np.concatenate([np.zeros((5, 4, 1)), np.cumsum(links, axis=-1)], axis=-1)
    positions = planar.joints(jnp.asarray(angles, jnp.float32), lengths)
    np.testing.assert_allclose(positions, np.stack([expected.real, expected.imag], -1), atol=1e-5)
    np.testing.assert_array_equal(planar.tip(jnp.asarray(angles, jnp.float32), lengths), positions[..., -1, :])
    with pytest.raises(AssertionError):
        planar.joints(jnp.zeros((5, len(lengths) + 1)), lengths)


@pytest.mark.parametrize("lengths", [(3.0, 3.0), (2.0, 1.0), (1.0, 2.5)])
def test_inverse_is_the_law_of_cosines(lengths):
    rng, (a, b) = np.random.default_rng(1), lengths
    r = rng.uniform(abs(a - b) + 1e-3, a + b - 1e-3, 400)
    psi = rng.uniform(-np.pi, np.pi, 400)
    target = np.stack([r * np.cos(psi), r * np.sin(psi)], -1)
    angles, reachable = planar.inverse(jnp.asarray(target, jnp.float32), lengths)
    bend = np.arccos((r**2 - a**2 - b**2) / (2 * a * b))
    inner = np.arccos((r**2 + a**2 - b**2) / (2 * r * a))
    np.testing.assert_allclose(angles[0], np.stack([psi - inner, bend], -1), atol=2e-3)  # float32 near the edges
    np.testing.assert_allclose(angles[1], np.stack([psi + inner, -bend], -1), atol=2e-3)
    assert np.all(reachable) and reachable.shape == (400,)
    np.testing.assert_allclose(planar.tip(angles, lengths), np.broadcast_to(target, (2, 400, 2)), atol=5e-6)


def test_inverse_of_known_targets():
    angles, _ = planar.inverse(jnp.asarray([[3.0, 3.0], [6.0, 0.0], [0.0, 0.0]]), (3.0, 3.0))
    np.testing.assert_allclose(angles[:, 0], [[0, np.pi / 2], [np.pi / 2, -np.pi / 2]], atol=1e-6)
    np.testing.assert_allclose(angles[:, 1], np.zeros((2, 2)), atol=1e-6)
    np.testing.assert_allclose(angles[:, 2, 1], [np.pi, -np.pi], atol=1e-6)  # folded; the shoulder may point anywhere


@pytest.mark.parametrize(("lengths", "r", "nearest"), [((3, 3), 7.5, 6.0), ((2, 1), 4.0, 3.0), ((2, 1), 0.4, 1.0)])
def test_out_of_reach_the_arm_comes_as_near_as_it_can(lengths, r, nearest):
    psi = np.linspace(-3, 3, 13)
    direction = np.stack([np.cos(psi), np.sin(psi)], -1)
    angles, reachable = planar.inverse(jnp.asarray(r * direction, jnp.float32), lengths)
    assert not np.any(reachable)
    np.testing.assert_allclose(planar.tip(angles, lengths), np.stack([nearest * direction] * 2), atol=1e-5)


def test_wrap_keeps_the_angle_and_its_range():
    angles = np.concatenate([np.linspace(-20, 20, 999), [np.pi, -np.pi, np.nextafter(np.float32(-np.pi), -4)]])
    angles = angles.astype(np.float32)
    wrapped = np.asarray(planar.wrap(jnp.asarray(angles)))
    assert wrapped.min() >= np.float32(-np.pi) and wrapped.max() < np.pi
    np.testing.assert_allclose(np.exp(1j * wrapped), np.exp(1j * angles), atol=1e-5)


def test_sines_and_cosines_and_back():
    angles = np.random.default_rng(2).uniform(-np.pi, np.pi, (7, 3)).astype(np.float32)
    pairs = planar.to_sincos(jnp.asarray(angles))
    expected = [f(angles[:, i]) for i in range(3) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(pairs, np.stack(expected, -1), atol=1e-6)
    np.testing.assert_allclose(planar.from_sincos(2.5 * pairs), angles, atol=1e-5)


def crossing(first, second):
    """By solving ``p + s u = q + t v`` for s and t in (0, 1)."""
    u, v = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    s, t = np.linalg.solve(np.stack([u, -v], -1), (second[:, 0] - first[:, 0])[..., None])[..., 0].T
    return (s > 0) & (s < 1) & (t > 0) & (t < 1)


def test_segments_cross_where_their_lines_meet_inside_both():
    first, second = np.random.default_rng(3).normal(size=(2, 2_000, 2, 2)).astype(np.float32)
    expected = crossing(first, second)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(planar.segments_cross(jnp.asarray(first), jnp.asarray(second)), expected)
    touching = jnp.asarray([[[0.0, 0.0], [1.0, 0.0]], [[0.5, 0.0], [0.5, 1.0]], [[2.0, 0.0], [3.0, 0.0]]])
    assert not planar.segments_cross(touching[0], touching[1]) and not planar.segments_cross(touching[0], touching[2])


def test_metrics_of_reaching():
    error = jnp.asarray([[0.1, 0.2], [0.3, 1.0]])
    metrics = jax.jit(reaching.tip_metrics)(error)
    expected = {"success@0.1": 25, "success@0.3": 75, "success@0.5": 75, "tip_error": 0.4, "tip_error_median": 0.25}
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value), name


def test_all_reached_counts_targets_that_have_a_solution():
    hit = jnp.zeros((3, 2, 4), bool).at[0, 0, 0].set(True).at[2, 1, 0].set(True).at[1, 0, 1].set(True)
    hit = hit.at[1, 0, 2].set(True).at[0, 1, 3].set(True)
    exists = jnp.asarray([[True, True, True, False], [True, False, True, False]])
    # Both reached; the only one reached; one of two; none there is.
    assert float(reaching.all_reached(hit, exists)) == pytest.approx(100 * 2 / 3)
    assert np.isnan(reaching.all_reached(hit, jnp.zeros_like(exists)))
