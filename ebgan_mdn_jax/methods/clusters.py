"""Places among the rows of a minibatch to start from: rows far from each other, and the clusters around them."""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import linear_algebra
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.linear_algebra import product
from ebgan_mdn_jax.types import Array, PRNGKey


def spread_rows(key: PRNGKey, rows: Array, num: int, distance: Array | None = None) -> Array:
    """``num`` of ``rows [B, D]``, the next one drawn by its squared distance to the nearest so far.

    That is k-means++ (Arthur and Vassilvitskii 2007). ``distance [B]`` is the squared one to what is there before, if anything is. Where
    all rows are chosen, once more from all.
    """

    def choose_next(i, carry):
        distance, chosen = carry
        row = rows[jax.random.categorical(jax.random.fold_in(key, i), jnp.log(distance))]
        apart = jnp.sum((rows - jnp.broadcast_to(row, rows.shape)) ** 2, axis=-1)
        nearest = jnp.minimum(distance, apart)
        return jnp.where(jnp.any(nearest > 0), nearest, jnp.full_like(nearest, most)), chosen.at[i].set(row)

    most = jnp.finfo(rows.dtype).max
    distance = jnp.full(len(rows), most, rows.dtype) if distance is None else distance
    none = jnp.zeros((num, rows.shape[-1]), rows.dtype)
    return jax.lax.fori_loop(0, num, choose_next, (distance, none))[1]


def k_means(rows: Array, centres: Array, num_iterations: int = 10) -> tuple[Array, Array]:
    """Centres ``[K, D]`` of ``rows [B, D]`` and the index ``[B]`` of each row's nearest, from ``centres [K, D]`` on (Lloyd 1982).

    A cluster that loses all rows keeps its place.
    """

    def assign(means):
        squared = jax.vmap(lambda mean: jnp.sum((rows - mean[None]) ** 2, axis=-1), out_axes=1)(means)
        return jnp.argmin(squared, axis=1)

    centres = jax.lax.fori_loop(0, num_iterations, lambda _, means: _means(rows, assign(means), means)[0], centres)
    return centres, assign(centres)


def tied_gaussians(key: PRNGKey, rows: Array, num: int) -> tuple[Array, Array, Array]:
    """Log weights ``[K]``, means ``[K, D]`` and the one covariance ``[D, D]`` of ``num`` clusters of ``rows [B, D]``.

    Noise of many dimensions hides from k-means what a few tell apart. So it looks at the first 1, 2, 4, ... principal components of the
    rows, which show what parts the clusters where they are further apart than they are wide (Ding and He 2004), and at all; of these,
    the most likely mixture is taken. A cluster without rows weighs half a row. The covariance is that about the means, divided by B less
    the clusters that have rows, with a thousandth of its mean variance, and 1e-8 at least, added in each direction: few rows do not span
    all of them.
    """
    d, middle = rows.shape[-1], jnp.mean(rows, axis=0)[None]
    _, directions = linear_algebra.eigenvectors(product((rows - middle).T, rows - middle))
    components = product(rows - middle, directions)

    def of_subspace(dimensions):
        seen = jnp.where(jnp.arange(d)[None] < dimensions, components, 0.0)
        centres, found = k_means(seen, spread_rows(key, seen, num))
        means, counts = _means(rows, found, middle + product(centres, directions.T))
        deviations = rows - means[found]
        within = product(deviations.T, deviations) / jnp.maximum(len(rows) - jnp.sum(counts > 0), 1)
        within += jnp.maximum(1e-3 * jnp.mean(jnp.diagonal(within)), 1e-8) * jnp.eye(d, dtype=rows.dtype)
        log_weights = jax.nn.log_softmax(jnp.log(jnp.maximum(counts, 0.5)))
        mixture = mixtures.FullMixture(log_weights, means, linear_algebra.cholesky(within)[None])
        return jnp.sum(mixtures.log_prob(mixture, rows)), (log_weights, means, within)

    dimensions = [*(2**i for i in range(d.bit_length()) if 2**i < d), d]
    likelihood, found = jax.lax.map(of_subspace, jnp.asarray(dimensions))
    best = jnp.nanargmax(likelihood)
    return jax.tree.map(lambda x: x[best], found)


def _means(rows: Array, found: Array, otherwise: Array) -> tuple[Array, Array]:
    """Means ``[K, D]`` of the rows with each index of ``found [B]``, ``otherwise [K, D]`` where there are none; and how many, ``[K]``."""
    member = jax.nn.one_hot(found, len(otherwise), dtype=rows.dtype)
    counts = jnp.sum(member, axis=0)
    means = product(member.T, rows) / jnp.maximum(counts, 1.0)[:, None]
    return jnp.where(counts[:, None] > 0, means, otherwise), counts
