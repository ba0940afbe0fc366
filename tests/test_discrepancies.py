"""Discrepancies of samples: against loops, exact assignments, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special

from ebgan_mdn_jax import discrepancies

sinkhorn = jax.jit(discrepancies.sinkhorn, static_argnums=3)


def test_mmd_is_that_of_loops_and_vanishes_on_average_for_one_law():
    """The mean over 300 pairs of samples of one law is 0 to within 5 standard errors."""
    a, b = (np.random.default_rng(i).normal(i, 1, (6, 2)) for i in range(2))
    kernel = lambda x, y: sum(s * 4 / (s * 4 + np.sum((x - y) ** 2)) for s in (0.5, 1, 2, 4))  # noqa: E731
    pairs = lambda x: np.mean([kernel(x[i], x[j]) for i in range(6) for j in range(6) if i != j])  # noqa: E731
    expected = pairs(a) + pairs(b) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    np.testing.assert_allclose(discrepancies.mmd(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-4)
    draws = jax.random.normal(jax.random.key(0), (2, 300, 16, 2))
    values = np.asarray(jax.jit(jax.vmap(discrepancies.mmd))(*draws))
    assert abs(values.mean()) < 5 * values.std() / np.sqrt(300)
    shifted = np.asarray(jax.jit(jax.vmap(discrepancies.mmd))(draws[0] + 1, draws[1]))
    assert shifted.mean() > 10 * shifted.std() / np.sqrt(300)


def samples(num=40):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(num, 2)), generator.normal([1.0, 0.0], 0.7, (num, 2))
    return x.astype(np.float32), y.astype(np.float32)


def reference(x, y, blur):
    """The definition, in float64: both potentials from each other until they rest, each of the three problems on its own."""

    def transport(a, b):
        cost = 0.5 * ((a[:, None].astype(float) - b[None]) ** 2).sum(-1)
        f = np.zeros(len(a))
        for _ in range(200):
            g = -(blur**2) * (scipy.special.logsumexp((f[:, None] - cost) / blur**2, axis=0) - np.log(len(a)))
            f = -(blur**2) * (scipy.special.logsumexp((g[None] - cost) / blur**2, axis=1) - np.log(len(b)))
        return f.mean() + g.mean()

    return transport(x, y) - 0.5 * transport(x, x) - 0.5 * transport(y, y)


def test_sinkhorn_without_blur_is_the_best_assignment():
    x, y = samples()
    cost = 0.5 * ((x[:, None] - y[None]) ** 2).sum(-1)
    expected = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
    np.testing.assert_allclose(sinkhorn(x, y, 0.02, 1000), expected, rtol=2e-3)
    assert abs(float(sinkhorn(x, y, 0.1)) / expected - 1) < 0.02  # as iterated in training


def test_sinkhorn_is_the_definition_and_so_is_its_gradient():
    """By central differences of the definition; the second sample has no gradient."""
    x, y = samples(12)
    value, (gradient, none) = jax.jit(jax.value_and_grad(discrepancies.sinkhorn, (0, 1)))(
        jnp.asarray(x), jnp.asarray(y), 0.5
    )
    np.testing.assert_allclose(value, reference(x, y, 0.5), rtol=1e-4)
    np.testing.assert_array_equal(none, 0)
    for row, dim in ((0, 0), (3, 1), (11, 0)):
        step = np.zeros((12, 2))
        step[row, dim] = 1e-4
        expected = (reference(x + step, y, 0.5) - reference(x - step, y, 0.5)) / 2e-4
        np.testing.assert_allclose(gradient[row, dim], expected, rtol=5e-3, atol=1e-4)


def test_sinkhorn_of_a_moved_sample_is_half_the_squared_way():
    """With any blur, as the entropy does not see where things are; and every point is drawn along the way."""
    x, way = samples()[0], np.float32([1.0, 2.0])
    slope = jax.jit(jax.value_and_grad(discrepancies.sinkhorn))
    for blur in (0.1, 1.0, 10.0):
        value, gradient = slope(jnp.asarray(x), jnp.asarray(x + way), blur)
        np.testing.assert_allclose(value, 2.5, rtol=2e-3)
        np.testing.assert_allclose(gradient.sum(0), -way, rtol=2e-3)
    assert abs(float(sinkhorn(x, x, 0.1))) < 1e-4


def test_sinkhorn_with_a_large_blur_sees_the_means():
    x, y = samples()
    expected = 0.5 * np.sum((x.mean(0) - y.mean(0)) ** 2)
    np.testing.assert_allclose(sinkhorn(x, y, 30.0), expected, rtol=1e-2)
