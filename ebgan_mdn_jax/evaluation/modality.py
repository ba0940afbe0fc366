"""Does one observation have several actions in this data set? To be asked before a method that can be multimodal is said to help.

At a query the actions that other episodes took nearby are compared as one Gaussian and as two with the same covariance. The query counts
as bimodal if the Bayesian information criterion is lower for two by more than 6, which Kass & Raftery (1995) call strong evidence, their
means are more than 4 deviations apart, along the line between them, and the smaller weight is above 0.15. How often that happens by chance
is measured: by as many queries whose actions are drawn from one Gaussian with the mean and covariance that the query's have. For 16 actions
in two dimensions it is 1 % (10 % if any difference counted).

Neighbours come from different episodes, since steps of one episode follow each other and would pass for agreement. A crude audit: two
Gaussians see neither three modes nor curved ones, and a neighbourhood that is wide, because data are few, can look bimodal where each of
its points is not.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey

EVIDENCE = 6.0
SEPARATION = 4.0
LEAST_WEIGHT = 0.15
REACH = 3.0
_NUM_ITERATIONS = 50
_RIDGE = 1e-3  # of the variance of all points, added to that within components


class TwoGaussians(NamedTuple):
    """The better description of points by two Gaussians, all ``[...]``.

    ``bic_gain``: how much lower the criterion is than for one (nats, times 2); ``separation``: between means, in deviations;
    ``least_weight``: of the two.
    """

    bic_gain: Array
    separation: Array
    least_weight: Array

    @property
    def bimodal(self) -> Array:
        """Where all three criteria hold, bool ``[...]``."""
        return (self.bic_gain > EVIDENCE) & (self.separation > SEPARATION) & (self.least_weight > LEAST_WEIGHT)


def neighbours(query: Array, episode: Array, obs: Array, owner: Array, num_episodes: int, count: int) -> Array:
    """Rows ``[Q, count]`` of the nearest observations to each of ``query [Q, Do]``, one from each of the ``count`` nearest other episodes.

    Args:
      query: ``[Q, Do]``.
      episode: ``[Q]``, from which episode each query is; none of its rows counts.
      obs: ``[rows, Do]``; distances are Euclidean, so dimensions should be in comparable units.
      owner: ``[rows]``, the episode of each row, from 0 to ``num_episodes - 1``, all of which have a row.
      num_episodes: more than ``count``.
      count: neighbours of a query.
    """
    chex.assert_rank([query, episode, obs, owner], [2, 1, 2, 1])

    def of_one(args):
        at, own = args
        distance = jnp.sum((obs - at[None]) ** 2, axis=-1)
        nearest = jax.ops.segment_min(distance, owner, num_episodes)
        is_nearest = distance <= nearest[owner]
        row = jax.ops.segment_min(jnp.where(is_nearest, jnp.arange(len(obs)), len(obs)), owner, num_episodes)
        others = jnp.where(jnp.arange(num_episodes) == own, jnp.inf, nearest)
        return row[jax.lax.top_k(-others, count)[1]]

    return jax.lax.map(of_one, (query, episode))


def two_gaussians(points: Array) -> TwoGaussians:
    """Fit ``points [..., n, D]`` by EM, started from the two halves along their first principal axis.

    In standardised coordinates, those of one Gaussian fitted by maximum likelihood, which makes the result invariant to linear maps of the
    points, but for a ridge where points lie in a subspace.
    """
    if points.ndim > 2:
        flat = jax.vmap(two_gaussians)(points.reshape(-1, *points.shape[-2:]))
        return jax.tree.map(lambda x: x.reshape(points.shape[:-2]), flat)
    return _fit(points)[0]


def shares_of_draws(points: Array, draws: Array) -> tuple[Array, Array]:
    """How ``draws [Q, N, D]`` are divided between the two Gaussians of ``points [Q, n, D]``.

    Draws of one wide Gaussian over both have a share in each: whether draws are two modes is for `two_gaussians` of them to say.

    Returns:
      The weights of the Gaussians ``[Q, 2]``, and the shares ``[Q, 2]`` of the draws that belong to them: to the nearer of the two,
      measured in deviations, if it is at most `REACH` away. What the shares lack to 1 belongs to neither.
    """
    chex.assert_rank([points, draws], 3)

    def of_one(points, draws):
        _, weights, means, precision, standardise = _fit(points)
        square = _square_distance(standardise(draws), means, precision)
        is_nearest = jax.nn.one_hot(jnp.argmin(square, axis=-1), 2, dtype=bool)
        return weights, jnp.mean(is_nearest & (square <= REACH**2), axis=0)

    return jax.vmap(of_one)(points, draws)


def _square_distance(standard: Array, means: Array, precision: Array) -> Array:
    """Of ``standard [n, D]`` from each of ``means [2, D]``, in deviations, squared ``[n, 2]``."""
    apart = standard[:, None] - means[None]
    return jnp.einsum("nkd,de,nke->nk", apart, precision, apart)


def _fit(points: Array) -> tuple[TwoGaussians, Array, Array, Array, Callable[[Array], Array]]:
    """The description of ``points [n, D]``, weights, means and precision in standardised coordinates, and the map ``[..., D]`` to those."""
    count = points.shape[0]
    centre = jnp.mean(points, axis=0, keepdims=True)
    axes, scales, directions = jnp.linalg.svd(points - centre, full_matrices=False)
    scales = scales / jnp.sqrt(count)
    rank = scales > 1e-6 * jnp.maximum(scales[:1], 1e-30)
    standard = jnp.where(rank[None], axes * jnp.sqrt(count), 0.0)  # [n, D], with the identity as covariance
    dims = standard.shape[1]

    def standardise(others):
        return jnp.where(rank[None], (others - centre) @ directions.T / jnp.where(rank, scales, 1.0)[None], 0.0)

    def log_density(weights, means, precision):
        """Of each point in each component, ``[n, 2]``, up to what one Gaussian has too."""
        square = _square_distance(standard, means, precision)
        return jnp.log(weights)[None] - 0.5 * square + 0.5 * jnp.linalg.slogdet(precision)[1]

    def m_step(share):
        total = jnp.sum(share, axis=0)
        means = jnp.einsum("nk,nd->kd", share, standard) / jnp.maximum(total, 1e-9)[:, None]
        # The covariance within components is that of all points, the identity, less that between the means.
        within = jnp.eye(dims) * (1 + _RIDGE) - jnp.einsum("k,kd,ke->de", total / count, means, means)
        return total / count, means, jnp.linalg.inv(within)

    def improve(share, _):
        return jax.nn.softmax(log_density(*m_step(share)), axis=-1), None

    halves = jax.nn.one_hot((standard[:, 0] > 0).astype(int), 2)
    share, _ = jax.lax.scan(improve, halves, None, _NUM_ITERATIONS)
    weights, means, precision = m_step(share)
    log_two = jnp.sum(jax.nn.logsumexp(log_density(weights, means, precision), axis=-1))
    log_one = -0.5 * jnp.sum(standard**2)
    between = means[1] - means[0]
    separation = jnp.sqrt(between @ precision @ between)
    extra = (jnp.sum(rank) + 1) * jnp.log(count)
    fit = TwoGaussians(2 * (log_two - log_one) - extra, separation, jnp.min(weights))
    return fit, weights, means, precision, standardise


def null(key: PRNGKey, points: Array) -> Array:
    """Points ``[..., n, D]`` of one Gaussian with the mean and covariance of ``points``, where nothing is bimodal."""
    centre = jnp.mean(points, axis=-2, keepdims=True)
    count = points.shape[-2]
    mixing = jax.random.normal(key, (*points.shape[:-2], count, count), points.dtype) / jnp.sqrt(count)
    return centre + mixing @ (points - centre)
