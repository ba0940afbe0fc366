"""Cholesky factors and triangular solves of batches of small matrices, row by row, with their derivatives; principal directions.

JAX calls LAPACK for these on a CPU. Two such calls that run at once can wait for each other's threads forever (seen with jaxlib 0.10.2 on
two cores, in `lapack_strsm_ffi`), and a program with mixtures of many components makes several. Here all matrices of a batch take a step
together.
"""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def solve_lower(trils: Array, columns: Array) -> Array:
    """``x [..., D, N]`` of ``trils @ x = columns [..., D, N]``, by substitution; ``trils [..., D, D]`` are lower triangular."""
    d = trils.shape[-1]

    def substitute(matrices, right, order):
        diagonals = jnp.diagonal(matrices, axis1=-2, axis2=-1)

        def one(step, x):
            i = order(step)
            known = jnp.einsum("...d,...dn->...n", matrices[..., i, :], x)  # rows to come are still 0
            return x.at[..., i, :].set((right[..., i, :] - known) / diagonals[..., i, None])

        return jax.lax.fori_loop(0, d, one, jnp.zeros_like(right))

    return jax.lax.custom_linear_solve(
        lambda x: trils @ x,
        columns,
        solve=lambda _, right: substitute(trils, right, lambda step: step),
        transpose_solve=lambda _, right: substitute(jnp.swapaxes(trils, -1, -2), right, lambda step: d - 1 - step),
    )


@jax.custom_jvp
def cholesky(matrices: Array) -> Array:
    """Lower Cholesky factors of positive definite ``matrices [..., D, D]``; not a number where one is not."""
    d = matrices.shape[-1]

    def one(j, tril):
        column = matrices[..., :, j] - jnp.einsum("...ik,...k->...i", tril, tril[..., j, :])
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
    return tril, tril @ (inner * jnp.broadcast_to(keep, inner.shape))


def principal_directions(matrix: Array, num_iterations: int = 50) -> tuple[Array, Array]:
    """Eigenvalues ``[D]``, largest first, and eigenvectors ``[D, D]``, as columns, of a positive semi-definite ``matrix [D, D]``.

    By orthogonal iteration (Golub and Van Loan 2013, 8.2.4), so those whose eigenvalues are nearly the same stay mixed with each other.
    """
    d = matrix.shape[-1]

    def orthonormal(columns):
        def one(i, found):
            column = columns[:, i]
            for _ in range(2):  # once leaves rounding errors where the column is nearly within those before
                column -= found @ (found.T @ column)
            return found.at[:, i].set(column / jnp.maximum(jnp.linalg.norm(column), jnp.finfo(column.dtype).tiny))

        return jax.lax.fori_loop(0, d, one, jnp.zeros_like(columns))

    start = orthonormal(jax.random.normal(jax.random.key(0), matrix.shape, matrix.dtype))
    vectors = jax.lax.fori_loop(0, num_iterations, lambda _, columns: orthonormal(matrix @ columns), start)
    return jnp.sum(vectors * (matrix @ vectors), axis=0), vectors
