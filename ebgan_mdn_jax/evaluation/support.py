"""Do draws stay where demonstrations are, and are they everywhere where demonstrations are? Without asking for modes."""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def precision_recall(draws: Array, demonstrations: Array, num_neighbours: int = 5) -> tuple[Array, Array]:
    """Improved precision and recall of ``draws [N, D]`` (Kynkäänniemi et al. 2019, arXiv 1904.06991), scalars in %.

    Around each of ``demonstrations [M, D]`` is a ball that just holds the nearest ``num_neighbours`` of the others: precision is the share
    of draws in some ball. Recall is the same with the two exchanged. Both need more than ``num_neighbours`` rows, and even two samples of
    one law fall short of 100: hold them against those of an exact sampler.
    """
    chex.assert_rank([draws, demonstrations], 2)
    chex.assert_equal_shape_suffix([draws, demonstrations], 1)
    centre = jnp.mean(demonstrations, axis=0, keepdims=True)
    draws, demonstrations = draws - centre, demonstrations - centre

    def squared(a, b):
        norms = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None]
        return norms - 2 * a @ b.T

    def inside(points, centres):
        own = squared(centres, centres) + jnp.diag(jnp.full(len(centres), jnp.inf))
        radius = -jax.lax.top_k(-own, num_neighbours)[0][:, -1]
        return 100.0 * jnp.mean(jnp.any(squared(points, centres) <= radius[None], axis=1))

    return inside(draws, demonstrations), inside(demonstrations, draws)
