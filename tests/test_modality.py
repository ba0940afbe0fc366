"""The audit of multimodality finds what is there, and calls a Gaussian bimodal as rarely as it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ebgan_mdn_jax.evaluation import modality

N, D = 16, 2


def gap(size, share=0.5, num=500, dims=D):
    """Queries with two Gaussians this many deviations apart, one of which has ``share`` of the points."""
    noise = jax.random.normal(jax.random.key(0), (num, N, dims))
    return noise.at[..., 0].add(size * jax.random.bernoulli(jax.random.key(1), share, (num, N)))


def test_one_gaussian_is_rarely_called_two_and_two_apart_are():
    one, two = (float(jnp.mean(modality.two_gaussians(points).bimodal)) for points in (gap(0.0, num=2000), gap(8.0)))
    assert 0.003 < one < 0.025 and two > 0.97
    assert float(jnp.mean(modality.two_gaussians(gap(8.0, share=0.05)).bimodal)) < 0.15  # a stray or two is no mode


def test_the_null_has_the_moments_and_no_modes():
    points = gap(8.0)
    null = modality.null(jax.random.key(2), points)
    covariance = lambda x: np.mean([np.cov(one, rowvar=False, bias=True) for one in np.asarray(x)], axis=0)  # noqa: E731
    # A resample of n points has the covariance times (n - 1) / n.
    np.testing.assert_allclose(covariance(null) * N / (N - 1), covariance(points), rtol=0.1, atol=0.25)
    assert float(jnp.mean(modality.two_gaussians(null).bimodal)) < 0.03


def test_fit_is_that_of_plain_em():
    for points in np.asarray(gap(5.0, num=5), np.float64):
        fit = modality.two_gaussians(jnp.asarray(points, jnp.float32))
        axis = np.linalg.svd(points - points.mean(0))[2][0]
        share = ((points - points.mean(0)) @ axis > 0).astype(float)
        for _ in range(51):
            weights = np.array([1 - share.mean(), share.mean()])
            means = [np.average(points, axis=0, weights=w) for w in (1 - share, share)]
            within = sum(
                (w[:, None] * (points - m)).T @ (points - m) for w, m in zip((1 - share, share), means, strict=True)
            )
            within = within / N + 1e-3 * np.cov(points, rowvar=False, bias=True)
            density = np.stack(
                [w * multivariate_normal(m, within).pdf(points) for w, m in zip(weights, means, strict=True)]
            )
            share = density[1] / density.sum(0)
        one = multivariate_normal(points.mean(0), np.cov(points, rowvar=False, bias=True)).logpdf(points).sum()
        gain = 2 * (np.log(density.sum(0)).sum() - one) - 3 * np.log(N)
        between = means[1] - means[0]
        np.testing.assert_allclose(fit.bic_gain, gain, rtol=0.01, atol=0.05)
        np.testing.assert_allclose(fit.separation, np.sqrt(between @ np.linalg.inv(within) @ between), rtol=0.01)
        np.testing.assert_allclose(fit.least_weight, weights.min(), atol=0.01)


def test_linear_maps_change_nothing_and_flat_points_are_no_trouble():
    points = gap(6.0, num=50)
    mapped = points @ jnp.asarray([[3.0, 0.5], [0.0, 0.01]]) + 7.0
    for plain, other in zip(modality.two_gaussians(points), modality.two_gaussians(mapped), strict=True):
        np.testing.assert_allclose(plain, other, rtol=0.02, atol=0.05)
    flat = points.at[..., 1].set(0.0)
    line, alone = modality.two_gaussians(flat), modality.two_gaussians(points[..., :1])
    np.testing.assert_allclose(line.bic_gain, alone.bic_gain, atol=0.05)
    assert not np.any(np.asarray(modality.two_gaussians(jnp.ones((3, N, D))).bimodal))  # all the same


def test_neighbours_are_of_different_other_episodes():
    rng = np.random.default_rng(0)
    obs, owner = rng.normal(size=(200, 2)).astype(np.float32), np.arange(200) % 20
    query = np.array([3, 50, 77])
    found = np.asarray(modality.neighbours(jnp.asarray(obs[query]), owner[query], jnp.asarray(obs), owner, 20, 6))
    for row, q in zip(found, query, strict=True):
        distance = np.linalg.norm(obs - obs[q], axis=1)
        best = {e: min((distance[r], r) for r in np.flatnonzero(owner == e)) for e in range(20) if e != owner[q]}
        assert list(row) == [r for _, r in sorted(best.values())[:6]]


@pytest.mark.parametrize("dims", [1, 4])
def test_other_dimensions(dims):
    assert float(jnp.mean(modality.two_gaussians(gap(9.0, dims=dims)).bimodal)) > 0.9
    assert float(jnp.mean(modality.two_gaussians(gap(0.0, dims=dims, num=1000)).bimodal)) < 0.04


def test_draws_are_divided_between_the_two_or_belong_to_neither():
    points = gap(10.0, num=200)
    weights, shares = modality.shares_of_draws(points, points)
    found = np.asarray(modality.two_gaussians(points).bimodal)
    assert found.mean() > 0.9
    np.testing.assert_allclose(shares[found].sum(-1), 1, atol=0.1)  # a few points are more than three deviations off
    np.testing.assert_allclose(shares[found], weights[found], atol=0.13)
    scaled = modality.shares_of_draws(5 * points + 3, 5 * points + 3)[1]
    np.testing.assert_allclose(scaled[found], shares[found], atol=0.07)
    left = points[..., :1] < 5.0
    one = jnp.where(left, points, points.at[..., 0].add(-10.0))  # all in one of the two
    _, shares = modality.shares_of_draws(points, one)
    # With 16 points the covariance is uncertain, so that draws of the mode that are new may lie outside.
    assert np.median(np.max(shares[found], axis=-1)) > 0.9 and np.mean(np.min(shares[found], axis=-1) < 0.1) > 0.97
    between = jnp.broadcast_to(jnp.asarray([5.0, 0.0]), points.shape)
    assert np.mean(np.sum(modality.shares_of_draws(points, between)[1][found], axis=-1) < 0.1) > 0.9
    flat = points.at[..., 1].set(0.0)
    np.testing.assert_allclose(modality.shares_of_draws(flat, flat)[1][found].sum(-1), 1, atol=0.15)
