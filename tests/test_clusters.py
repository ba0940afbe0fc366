"""Places to start from: chosen rows against the probabilities of k-means++, clusters against those that made the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.methods import clusters


def test_spread_rows_are_rows_and_more_than_there_are():
    rows = jnp.asarray([[0.0], [1.0], [3.0]])
    chosen = np.sort(np.asarray(jax.jit(clusters.spread_rows, static_argnums=2)(jax.random.key(0), rows, 6))[:, 0])
    assert set(chosen) == {0.0, 1.0, 3.0}
    first = jax.vmap(lambda key: clusters.spread_rows(key, rows, 2))(jax.random.split(jax.random.key(1), 9_000))[..., 0]
    # Of pairs (first, second): 1/3 times the share of the squared distance to the first.
    for one, two, chance in ((0.0, 1.0, 1 / 10), (0.0, 3.0, 9 / 10), (1.0, 0.0, 1 / 5), (3.0, 0.0, 9 / 13)):
        count = int(np.sum((first[:, 0] == one) & (first[:, 1] == two)))
        assert scipy.stats.binomtest(count, 9_000, chance / 3).pvalue > 1e-6


def test_k_means_moves_to_the_means_of_what_is_nearest():
    rows = jnp.asarray([[0.0], [1.0], [5.0], [7.0]])
    means, found = clusters.k_means(rows, jnp.asarray([[1.0], [5.0], [100.0]]))
    np.testing.assert_array_equal(means, [[0.5], [6.0], [100.0]])
    np.testing.assert_array_equal(found, [0, 0, 1, 1])


def test_clusters_that_most_directions_hide_are_found():
    """Sixteen places in a row, in one of 40 directions; each of the others adds noise half as wide as the gaps."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    along = np.repeat(np.arange(16.0), 16) + 0.1 * rng.normal(size=256)
    rows = jnp.asarray(np.column_stack([along, 0.5 * rng.normal(size=(256, 39))]) @ turn.T, jnp.float32)
    for seed in range(4):
        log_weights, means, within = jax.jit(clusters.tied_gaussians, static_argnums=2)(jax.random.key(seed), rows, 32)
        places = np.asarray(means @ turn[:, 0])
        nearest = np.round(places).astype(int)
        assert np.max(np.abs(places - nearest)) < 0.45
        np.testing.assert_allclose(np.bincount(nearest, np.exp(log_weights)), 1 / 16, rtol=1e-4)
        np.testing.assert_allclose(turn[:, 0] @ within @ turn[:, 0], 0.1**2 + 2.5e-4, rtol=0.5)
        np.testing.assert_allclose(np.trace(within) / 40, 0.25, rtol=0.1)


def test_fewer_rows_than_clusters():
    rows = jnp.asarray([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    log_weights, means, within = clusters.tied_gaussians(jax.random.key(0), rows, 4)
    apart = np.max(np.abs(np.asarray(means)[:, None] - np.asarray(rows)[None]), axis=-1)
    assert np.all(np.min(apart, axis=0) < 1e-5) and np.all(np.min(apart, axis=1) < 1e-5)  # also those without a row
    np.testing.assert_allclose(np.sort(np.exp(log_weights)), np.float32([0.5, 0.5, 1, 2]) / 4, rtol=1e-5)
    np.testing.assert_allclose(within, 1e-8 * np.eye(2), atol=1e-12)


@pytest.mark.parametrize("varying", [0, 2])
def test_dimensions_that_are_constant(varying):
    """Their means are rounded, so that what is left of them is not 0, but next to nothing."""
    rng = np.random.default_rng(0)
    rows = np.full((40, 16), 0.3)
    rows[:, :varying] = rng.integers(2, size=(40, varying)) + 0.01 * rng.normal(size=(40, varying))
    log_weights, means, within = clusters.tied_gaussians(jax.random.key(0), jnp.asarray(rows, jnp.float32), 8)
    np.testing.assert_allclose(means[:, varying:], 0.3, atol=1e-5)
    assert np.all(np.isfinite(log_weights)) and np.all(np.linalg.eigvalsh(within) > 0)
