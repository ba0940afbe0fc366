"""Cholesky factors and triangular solves of batches of small matrices, as products of blocks.

JAX calls LAPACK for these on a CPU. Two such calls that run at once can wait for each other's threads forever (seen with jaxlib 0.10.2 on
two cores, `lapack_strsm_ffi`), and a mixture of several thousand components makes many. Here a matrix is halved until its blocks are
single numbers; what is left are matrix products, which accelerators like as well.
"""

import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def cholesky(matrices: Array) -> Array:
    """Lower Cholesky factors of positive definite ``matrices [..., D, D]``; not a number where one is not."""
    d = matrices.shape[-1]
    if d == 1:
        return jnp.sqrt(matrices)
    half = d // 2
    top = cholesky(matrices[..., :half, :half])
    left = jnp.swapaxes(solve_lower(top, jnp.swapaxes(matrices[..., half:, :half], -1, -2)), -1, -2)
    bottom = cholesky(matrices[..., half:, half:] - left @ jnp.swapaxes(left, -1, -2))
    zero = jnp.zeros((*matrices.shape[:-2], half, d - half), matrices.dtype)
    return jnp.concatenate([jnp.concatenate([top, zero], -1), jnp.concatenate([left, bottom], -1)], -2)


def solve_lower(trils: Array, columns: Array) -> Array:
    """``x [..., D, N]`` of ``trils @ x = columns [..., D, N]``; what is above the diagonals of ``trils [..., D, D]`` is not read."""
    d = trils.shape[-1]
    if d == 1:
        return columns / trils
    half = d // 2
    top = solve_lower(trils[..., :half, :half], columns[..., :half, :])
    rest = columns[..., half:, :] - trils[..., half:, :half] @ top
    return jnp.concatenate([top, solve_lower(trils[..., half:, half:], rest)], -2)
