"""The derivative-free search against closed forms: what it resamples, how it spreads, what it returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ebgan_mdn_jax.samplers import derivative_free

MEAN, SPREAD = 0.3, 0.2


def gaussian(obs, action):
    """Energy of a Gaussian around ``MEAN * obs`` with deviation ``SPREAD``, ``[C, B]``."""
    return jnp.sum((action - MEAN * obs[None]) ** 2, -1) / (2 * SPREAD**2)


def search(key, num_iterations, energy=gaussian, low=(-2.0,), high=(2.0,), sigma=0.1, shrink=0.5, num=20_000):
    obs = jnp.ones((1,))
    run = jax.jit(
        lambda key: derivative_free.search(key, energy, obs, low, high, num, num_iterations, sigma, shrink),
    )
    return run(jax.random.key(key))


def test_draws_have_the_frequencies_of_the_softmax():
    """Chi-squared over 8 outcomes, false-fail rate 1e-6; an outcome of probability 0 never comes."""
    logits = jnp.asarray([0.0, 1.0, -2.0, -jnp.inf, 3.0, 0.5, 0.5, -1.0, -jnp.inf])
    index = np.asarray(derivative_free.resample(jax.random.key(0), logits, 50_000))
    expected = np.exp(np.asarray(logits, np.float64))
    expected *= index.size / expected.sum()
    counts = np.bincount(index, minlength=9)
    possible = expected > 0
    assert not counts[~possible].any()
    assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-6


@pytest.mark.parametrize("num_iterations", [1, 2, 3])
def test_population_has_the_spread_of_repeated_reweighting(num_iterations):
    """A Gaussian energy keeps it Gaussian: reweighting adds 1 / SPREAD^2 to the precision, noise its variance. 6 standard errors."""
    population = search(num_iterations, num_iterations)
    precision = 0.0
    for index in range(num_iterations):
        variance = 1 / (precision + 1 / SPREAD**2) + (0.1 * 2.0 * 0.5**index) ** 2  # half extent 2
        precision = 1 / variance
    action = np.asarray(population.action, np.float64)[:, 0]
    # Resampling the same candidates again leaves fewer that differ, so errors are larger than of independent draws.
    slack = 6 * np.sqrt(2 * num_iterations / action.size)
    assert abs(action.var() / variance - 1) < np.sqrt(2) * slack
    assert abs(action.mean() - MEAN) < np.sqrt(variance) * slack


def test_returned_energies_are_those_of_the_returned_actions():
    """The public code returns energies of the population before the last resampling."""
    for num_iterations in (0, 1, 3):
        population = search(0, num_iterations, num=500)
        expected = gaussian(jnp.ones((1, 1)), population.action[:, None])[:, 0]
        np.testing.assert_allclose(population.energy, expected, rtol=1e-5, atol=1e-6)


def test_starts_uniform_and_stays_in_a_box_with_its_own_sides():
    """Kolmogorov-Smirnov with false-fail rate 1e-6; noise is in half extents of each side, so clamping piles up on both."""
    low, high = (-1.0, 10.0), (1.0, 50.0)
    flat = lambda obs, action: jnp.zeros(action.shape[:2])  # noqa: E731
    start = np.asarray(search(1, 0, flat, low, high).action)
    for side in range(2):
        assert stats.kstest(start[:, side], stats.uniform(low[side], high[side] - low[side]).cdf).pvalue > 1e-6
    noisy = np.asarray(search(1, 1, flat, low, high, sigma=0.5).action)
    assert np.all((noisy >= low) & (noisy <= high))
    # P(u + 0.5 xi > 1) for u ~ U(-1, 1) is E[max(0.5 xi, 0)] / 2 up to the far side: 0.5 / sqrt(2 pi) / 2.
    expected = 0.5 / np.sqrt(2 * np.pi) / 2
    for side in range(2):
        for bound in (low[side], high[side]):
            share = np.mean(noisy[:, side] == np.float32(bound))
            assert abs(share - expected) < 6 * np.sqrt(expected / 20_000)


@pytest.mark.parametrize("together", [1, 200, 600, 10**6])
def test_blocks_of_rows_change_nothing(together):
    """Per-row keys: the same with 1, 2, 6 of 7 rows at a time and with all."""
    obs = jnp.linspace(-1, 1, 7)[:, None]
    keys = jax.random.split(jax.random.key(0), 7)

    def of_row(key, row):
        return derivative_free.search(key, gaussian, row, (-1.0,), (1.0,), 100, 2, 0.3, 0.5)

    blocks = jax.jit(lambda: derivative_free.map_rows(of_row, keys, obs, 100, together))()
    alone = [jax.jit(of_row)(keys[i], obs[i]) for i in range(7)]
    for i, one in enumerate(alone):
        np.testing.assert_allclose(blocks.action[i], one.action, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(blocks.energy[i], one.energy, rtol=1e-4, atol=1e-5)


def test_memory_does_not_grow_with_the_rows():
    def peak(rows):
        keys = jax.random.split(jax.random.key(0), rows)

        def of_row(key, row):
            return jnp.min(derivative_free.search(key, gaussian, row, (-1.0,), (1.0,), 16_384, 1, 0.3, 0.5).energy)

        run = jax.jit(lambda obs: derivative_free.map_rows(of_row, keys, obs, 16_384))
        return run.lower(jnp.zeros((rows, 1))).compile().memory_analysis().temp_size_in_bytes

    assert peak(1000) < 1.5 * peak(8)
