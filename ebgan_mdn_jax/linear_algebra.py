"""Cholesky factors and triangular solves of batches of small matrices, row by row, with their derivatives; eigenvectors of one.

JAX calls LAPACK for these on a CPU. Two such calls that run at once can wait for each other's threads forever (seen with jaxlib 0.10.2 on
two cores, in `lapack_strsm_ffi`), and a program with mixtures of many components makes several. Here all matrices of a batch take a step
together. Products are of full precision, which an accelerator would cut.
"""

import functools

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array

_einsum = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def solve_lower(trils: Array, columns: Array) -> Array:
    """``x [..., D, N]`` of ``trils @ x = columns [..., D, N]``, by substitution; ``trils [..., D, D]`` are lower triangular."""
    d = trils.shape[-1]

    def substitute(matrices, right, order):
        diagonals = jnp.diagonal(matrices, axis1=-2, axis2=-1)

        def one(step, x):
            i = order(step)
            known = _einsum("...d,...dn->...n", matrices[..., i, :], x)  # rows to come are still 0
            return x.at[..., i, :].set((right[..., i, :] - known) / diagonals[..., i, None])

        return jax.lax.fori_loop(0, d, one, jnp.zeros_like(right))

    return jax.lax.custom_linear_solve(
        lambda x: product(trils, x),
        columns,
        solve=lambda _, right: substitute(trils, right, lambda step: step),
        transpose_solve=lambda _, right: substitute(jnp.swapaxes(trils, -1, -2), right, lambda step: d - 1 - step),
    )


@jax.custom_jvp
def cholesky(matrices: Array) -> Array:
    """Lower Cholesky factors of positive definite ``matrices [..., D, D]``; not a number where one is not."""
    d = matrices.shape[-1]

    def one(j, tril):
        column = matrices[..., :, j] - _einsum("...ik,...k->...i", tril, tril[..., j, :])
        column /= jnp.sqrt(column[..., j, None])
        return tril.at[..., :, j].set(jnp.where(jnp.arange(d) >= j, column, 0.0))

    return jax.lax.fori_loop(0, d, one, jnp.zeros_like(matrices))


@cholesky.defjvp
def _cholesky_jvp(primals, tangents):
    """``dL = L phi(L^-1 dA L^-T)``, where phi keeps the lower triangle and half the diagonal (Murray 2016, arXiv 1602.07527, eq. 8)."""
    tril, (change,) = cholesky(*primals), tangents
    inner = solve_lower(tril, jnp.swapaxes(solve_lower(tril, change), -1, -2))
    d = tril.shape[-1]
    keep = jnp.tril(jnp.ones((d, d), tril.dtype)) - 0.5 * jnp.eye(d, dtype=tril.dtype)
    return tril, product(tril, inner * jnp.broadcast_to(keep, inner.shape))


def eigenvectors(matrix: Array, num_iterations: int = 50) -> tuple[Array, Array]:
    """Eigenvalues ``[D]``, largest first, and eigenvectors ``[D, D]``, orthonormal columns, of a positive semi-definite ``matrix [D, D]``.

    By orthogonal iteration (Golub and Van Loan 2013, 8.2.4) from random directions, whose errors fall as powers of ratios of neighbouring
    eigenvalues: those that differ by less than about a tenth stay mixed, and where the matrix is 0 any directions are taken.
    """
    d = matrix.shape[-1]
    # The same directions, of a size at which no column of the product underflows.
    scaled = matrix / jnp.maximum(jnp.trace(matrix), jnp.finfo(matrix.dtype).tiny)
    scaled += jnp.finfo(matrix.dtype).eps * jnp.eye(d, dtype=matrix.dtype)

    def orthonormal(columns):
        def one(i, found):
            column = columns[:, i]
            for _ in range(2):  # once leaves rounding errors where the column is nearly within those before
                column /= jnp.linalg.norm(column)
                column -= product(found, product(found.T, column))
            return found.at[:, i].set(column / jnp.linalg.norm(column))

        return jax.lax.fori_loop(0, d, one, jnp.zeros_like(columns))

    start = orthonormal(jax.random.normal(jax.random.key(0), matrix.shape, matrix.dtype))
    vectors = jax.lax.fori_loop(0, num_iterations, lambda _, found: orthonormal(product(scaled, found)), start)
    values = jnp.sum(vectors * product(matrix, vectors), axis=0)
    order = jnp.argsort(-values)
    return values[order], vectors[:, order]
