"""Places to start from: chosen rows against the probabilities of k-means++, clusters against those that made the rows."""

import jax
import jax.numpy as jnp
import numpy as np
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
    """Sixteen places a line apart, in one of 40 directions; what the others add is as large as 40 deviations of theirs, in each."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    along = np.repeat(np.arange(16.0), 16) + 0.02 * rng.normal(size=256)
    noise = rng.normal(size=(256, 39))
    rows = jnp.asarray(np.column_stack([along, noise]) @ turn.T, jnp.float32)
    for seed in range(4):
        log_weights, means, within = jax.jit(clusters.tied_gaussians, static_argnums=2)(jax.random.key(seed), rows, 32)
        places = np.asarray(means @ turn[:, 0])
        assert np.all(np.min(np.abs(places[:, None] - np.arange(16)[None]), axis=1) < 0.1)
        assert set(np.round(places)) == set(range(16))
        np.testing.assert_allclose(turn[:, 0] @ within @ turn[:, 0], 0.02**2, rtol=1.0, atol=2e-3)
        np.testing.assert_allclose(np.sum(np.exp(log_weights)), 1.0, rtol=1e-5)


def test_fewer_rows_than_clusters_and_rows_all_alike_give_something_finite():
    rows = jnp.asarray([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    log_weights, means, within = clusters.tied_gaussians(jax.random.key(0), rows, 4)
    apart = np.max(np.abs(np.asarray(means)[:, None] - np.asarray(rows)[None]), axis=-1)
    assert np.all(np.min(apart, axis=0) < 1e-5) and np.all(np.min(apart, axis=1) < 1e-5)  # also those without a row
    np.testing.assert_allclose(np.sum(np.exp(log_weights)), 1.0, rtol=1e-5)
    assert np.all(np.isfinite(within))
    for leaf in clusters.tied_gaussians(jax.random.key(0), jnp.ones((5, 2)), 3):
        assert np.all(np.isfinite(leaf))
