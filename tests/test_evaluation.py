"""Coverage on hand-made arrays, divergences against closed forms and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.evaluation import coverage, divergences
from ebgan_mdn_jax.types import Spec

# Two observations: modes at 0 and 1, and a single mode at 5 with an empty slot at 7.
MODES = jnp.asarray([[[0.0], [5.0]], [[1.0], [7.0]]])
MASK = jnp.asarray([[True, True], [True, False]])
SAMPLES = jnp.asarray([[[0.04], [7.0]], [[0.9], [5.2]], [[-0.3], [4.5]]])


def test_distances_are_infinite_to_modes_that_do_not_exist():
    expected = [
        [[0.04, 2.0], [0.96, np.inf]],
        [[0.9, 0.2], [0.1, np.inf]],
        [[0.3, 0.5], [1.3, np.inf]],
    ]
    np.testing.assert_allclose(coverage.distances(SAMPLES, MODES, MASK), expected, rtol=1e-5)


def test_distances_are_euclidean():
    samples, modes = jnp.asarray([[[3.0, 4.0]]]), jnp.zeros((1, 1, 2))
    assert float(coverage.distances(samples, modes, jnp.ones((1, 1), bool))[0, 0, 0]) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("tolerance", "captured", "tmc", "amc"),
    [
        (0.01, [[0, 0], [0, 0]], 0.0, 0.0),
        (0.05, [[1, 0], [0, 0]], 0.0, 0.5),
        (0.15, [[1, 0], [1, 0]], 50.0, 1.0),
        (0.25, [[1, 1], [1, 0]], 100.0, 1.5),  # the missing mode is never counted
    ],
)
def test_mode_coverage_by_hand(tolerance, captured, tmc, amc):
    distance = coverage.distances(SAMPLES, MODES, MASK)
    np.testing.assert_array_equal(coverage.captured(distance, tolerance), np.asarray(captured, bool))
    assert float(coverage.total_mode_coverage(distance, MASK, tolerance)) == tmc
    assert float(coverage.average_modes_captured(distance, tolerance)) == amc
    share = float(coverage.mode_coverage(distance, MASK, tolerance))
    assert share == pytest.approx(100 * np.sum(captured) / 3)


def test_nearest_mode_distance_by_hand():
    distance = coverage.distances(SAMPLES, MODES, MASK)
    expected = np.mean([0.04, 2.0, 0.1, 0.2, 0.3, 0.5])
    assert float(coverage.nearest_mode_distance(distance)) == pytest.approx(expected, rel=1e-5)


def test_mode_shares_by_hand():
    distance = coverage.distances(SAMPLES, MODES, MASK)
    np.testing.assert_allclose(coverage.mode_shares(distance), [[2 / 3, 1.0], [1 / 3, 0.0]], rtol=1e-6)
    weight = jnp.asarray([[0.5, 0.2], [0.3, 0.3], [0.2, 0.5]])
    np.testing.assert_allclose(coverage.mode_shares(distance, weight), [[0.7, 1.0], [0.3, 0.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("shares", "expected"), [((0.69, 0.59, 1.0), 50), ((0.71, 0.61, 1.0), 0), ((0.31, 0.41, 0), 50)]
)
def test_balanced_is_within_40_percent_of_the_true_shares(shares, expected):
    """Two equal modes: 30 to 70 %; true shares of 0.9 and 0.1: 0.06 to 0.14; a single mode does not count."""
    first = jnp.asarray(shares)
    true = jnp.asarray([[0.5, 0.9, 1.0], [0.5, 0.1, 0.0]])
    mask = jnp.asarray([[True, True, True], [True, True, False]])
    assert float(coverage.balanced(jnp.stack([first, 1 - first]), true, mask)) == expected


def test_coverage_refuses_other_ranks():
    for samples, modes, mask in (
        ((3, 2), (2, 2, 1), (2, 2)),
        ((3, 2, 1), (2, 2, 1), (2,)),
        ((3, 2, 1), (2, 2, 1), (2, 3)),
    ):
        with pytest.raises(AssertionError):
            coverage.distances(jnp.zeros(samples), jnp.zeros(modes), jnp.ones(mask, bool))


@pytest.mark.parametrize("shape", [(3, 1, 2), (3, 4, 1)])
def test_distances_refuse_to_broadcast(shape):
    with pytest.raises(AssertionError):
        coverage.distances(jnp.zeros(shape), jnp.zeros((2, 4, 2)), jnp.ones((2, 4), bool))


@pytest.mark.parametrize(("samples", "grid"), [((5, 1), 10), ((5, 4), 11)])
def test_w1_refuses_to_broadcast(samples, grid):
    with pytest.raises(AssertionError):
        divergences.wasserstein_1d(jnp.zeros(samples), jnp.arange(float(grid)), jnp.zeros((10, 4)))


def test_action_grid_tiles_the_widened_box():
    grid, volume = divergences.action_grid(Spec((0.0,), (1.0,), (-1.0, 0.0), (1.0, 4.0)), 10, margin=0.25)
    assert grid.shape == (100, 2)
    assert volume == pytest.approx(0.3 * 0.6)
    np.testing.assert_allclose([grid.min(0), grid.max(0)], [[-1.35, -0.7], [1.35, 4.7]], rtol=1e-5)
    assert float(grid.shape[0] * volume) == pytest.approx(3.0 * 6.0)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 0.2), (0.15, 0.2), (0.0, 0.3), (-0.1, 0.1), (0.2, 0.4)])
def test_kl_of_two_gaussians_is_the_closed_form(shift, scale):
    """KL is not symmetric, so these also fix its direction."""
    grid, volume = divergences.action_grid(Spec((0.0,), (1.0,), (-2.0,), (2.0,)), 2_000)
    log_true = scipy.stats.norm.logpdf(np.asarray(grid), 0.0, 0.2)
    log_model = scipy.stats.norm.logpdf(np.asarray(grid), shift, scale)
    expected = np.log(scale / 0.2) + (0.2**2 + shift**2) / (2 * scale**2) - 0.5
    value = divergences.conditional_kl(jnp.asarray(log_true), jnp.asarray(log_model), volume)
    assert float(value) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_kl_averages_observations_and_ignores_where_the_truth_is_zero():
    grid, volume = divergences.action_grid(Spec((0.0,), (1.0,), (0.0,), (1.0,)), 1_000, margin=0.0)
    uniform = jnp.zeros((1_000, 1))
    half = jnp.where(grid < 0.5, jnp.log(2.0), -jnp.inf)
    both = jnp.concatenate([half, uniform], axis=1)
    np.testing.assert_allclose(
        divergences.conditional_kl(both, jnp.zeros((1_000, 2)), volume), np.log(2) / 2, rtol=1e-4
    )
    # A policy that gives no mass to part of the truth is infinitely far.
    assert np.isposinf(divergences.conditional_kl(uniform, half, volume))
    # The truth need not be normalised on the grid; the policy must be.
    np.testing.assert_allclose(divergences.conditional_kl(uniform + 3.0, uniform, volume), 0.0, atol=1e-5)
    np.testing.assert_allclose(divergences.conditional_kl(uniform, uniform + 3.0, volume), -3.0, rtol=1e-5)


def test_kl_refuses_to_broadcast():
    with pytest.raises(AssertionError):
        divergences.conditional_kl(jnp.zeros((5, 2)), jnp.zeros((5, 1)), 0.1)


def test_w1_matches_scipy():
    grid = np.linspace(-3, 3, 3_001)
    log_true = scipy.stats.norm.logpdf(grid)
    samples = np.random.default_rng(0).normal(0.4, 0.5, size=400)
    reference = scipy.stats.wasserstein_distance(samples, grid, None, np.exp(log_true))
    value = divergences.wasserstein_1d(jnp.asarray(samples)[:, None], jnp.asarray(grid), jnp.asarray(log_true)[:, None])
    # The N quantiles in the middle of their cells stand for the cells: an error of order 1 / N.
    assert float(value) == pytest.approx(reference, abs=0.01)


def test_w1_of_exact_quantiles_is_zero_and_of_a_shift_is_the_shift():
    grid = jnp.linspace(-4, 4, 4_001)
    log_true = jnp.broadcast_to(jnp.asarray(scipy.stats.norm.logpdf(grid))[:, None], (4_001, 2))
    quantiles = scipy.stats.norm.ppf((np.arange(100) + 0.5) / 100)
    samples = np.random.default_rng(0).permutation(quantiles)[:, None] + np.asarray([0.0, 0.3])
    value = divergences.wasserstein_1d(jnp.asarray(samples), grid, log_true)
    assert float(value) == pytest.approx(0.15, abs=2e-3)  # the mean of 0 and 0.3


@pytest.mark.parametrize(("samples", "expected"), [([0.0], 0.0), ([2.0], 2.0), ([0.0, 1.0], 0.0), ([1.0, 3.0], 1.5)])
def test_w1_quantile_is_the_least_point_that_reaches_its_level(samples, expected):
    """Half the mass at 0 and half at 1: the quantile at exactly 1/2 is 0, where the cumulative mass first reaches it."""
    log_true = jnp.asarray([[0.0], [0.0]])
    value = divergences.wasserstein_1d(jnp.asarray(samples)[:, None], jnp.asarray([0.0, 1.0]), log_true)
    assert float(value) == pytest.approx(expected)


@pytest.mark.parametrize(("sign", "share"), [(1.0, 100.0), (-1.0, 0.0)])
def test_downhill_of_the_distance_leads_to_the_nearest_mode(sign, share):
    """Of two modes at the first observation; the second has one alone, whose other slot must not attract."""
    modes = jnp.asarray([[[-1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [5.0, 5.0]]])
    mask = jnp.asarray([[True, True], [True, False]])
    actions = jax.random.uniform(jax.random.key(0), (200, 2, 2), minval=-3, maxval=6)

    def energy(actions):
        return sign * jnp.sum(jnp.min(coverage.distances(actions, modes, mask), axis=1))

    assert float(coverage.downhill_to_mode(jax.grad(energy)(actions), actions, modes, mask, 0.1)) == share


def test_downhill_leaves_out_what_is_at_a_mode():
    modes, mask = jnp.zeros((1, 1, 1)), jnp.ones((1, 1), bool)
    actions = jnp.asarray([[[0.05]], [[0.2]], [[-0.2]]])
    slope = jnp.asarray([[[-1.0]], [[1.0]], [[1.0]]])
    assert float(coverage.downhill_to_mode(slope, actions, modes, mask, 0.1)) == 50.0
