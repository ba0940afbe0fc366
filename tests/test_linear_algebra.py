"""Factors and solutions against NumPy and SciPy, gradients against those of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from ebgan_mdn_jax import linear_algebra


@pytest.mark.parametrize("d", [1, 2, 5, 32])
def test_as_numpy_and_scipy(d):
    rng = np.random.default_rng(d)
    factors = rng.normal(size=(3, 4, d, d)) / np.sqrt(d) + 2 * np.eye(d)
    matrices = factors @ np.swapaxes(factors, -1, -2)
    tril = jax.jit(linear_algebra.cholesky)(jnp.asarray(matrices, jnp.float32))
    np.testing.assert_allclose(tril, np.linalg.cholesky(matrices), atol=2e-5)
    columns = rng.normal(size=(3, 4, d, 2))
    solved = jax.jit(linear_algebra.solve_lower)(jnp.asarray(factors, jnp.float32), jnp.asarray(columns, jnp.float32))
    for i, j in np.ndindex(3, 4):  # which reads below the diagonal only
        expected = scipy.linalg.solve_triangular(factors[i, j], columns[i, j], lower=True)
        np.testing.assert_allclose(solved[i, j], expected, rtol=1e-3, atol=1e-4)


def test_gradients_are_those_of_jax():
    rng = np.random.default_rng(0)
    factor = jnp.asarray(rng.normal(size=(7, 7)) / 3 + 2 * np.eye(7), jnp.float32)
    column = jnp.asarray(rng.normal(size=(7, 1)), jnp.float32)

    def whitened(cholesky, solve, factor):
        return jnp.sum(solve(cholesky(factor @ factor.T), column) ** 2)

    ours = jax.grad(lambda f: whitened(linear_algebra.cholesky, linear_algebra.solve_lower, f))(factor)
    theirs = lambda tril, b: jax.scipy.linalg.solve_triangular(tril, b, lower=True)  # noqa: E731
    np.testing.assert_allclose(
        ours, jax.grad(lambda f: whitened(jnp.linalg.cholesky, theirs, f))(factor), rtol=1e-3, atol=1e-5
    )


def test_a_matrix_that_is_not_positive_definite_has_no_factor():
    assert np.any(np.isnan(linear_algebra.cholesky(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]))))


@pytest.mark.parametrize("d", [1, 2, 24])
def test_eigenvectors_as_numpy(d):
    rng = np.random.default_rng(d)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spectrum = 3e-9 * 0.7 ** np.arange(d)
    values, vectors = jax.jit(linear_algebra.eigenvectors)(jnp.asarray(turn * spectrum @ turn.T, jnp.float32))
    np.testing.assert_allclose(values, spectrum, rtol=2e-3, atol=1e-15)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(d), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(vectors * turn, axis=0)), 1.0, atol=1e-3)


def test_eigenvectors_of_close_eigenvalues_come_in_order():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    spectrum = 0.97 ** np.arange(16)
    values, vectors = linear_algebra.eigenvectors(jnp.asarray(turn * spectrum @ turn.T, jnp.float32))
    assert np.all(np.diff(values) <= 0)
    np.testing.assert_allclose(values, spectrum, rtol=0.03)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(16), atol=1e-5)


@pytest.mark.parametrize("rows", [np.eye(20)[:3] * [[3.0], [2.0], [1.0]], np.ones((1, 20)), np.zeros((1, 20))])
def test_eigenvectors_where_some_values_are_0(rows):
    values, vectors = linear_algebra.eigenvectors(jnp.asarray(rows.T @ rows, jnp.float32))
    expected = np.concatenate([np.linalg.svd(rows)[1] ** 2, np.zeros(20 - len(rows))])
    np.testing.assert_allclose(values, expected, atol=1e-4)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)
