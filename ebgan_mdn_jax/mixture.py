"""Mixture densities over actions as plain data and pure functions.

A mixture is ``q(a) = sum_k exp(log_weights_k) f((a - means_k) / scales_k)`` with f a Gaussian or Laplace density (Bishop 1994,
"Mixture density networks"). The log densities carry their normalising constants; the authors' code drops ``Da/2 log(2 pi)``.
All gradients are exact; `sample` is reparameterised within the drawn component, so weights get no gradient through it.

A chunk of steps may have a mixture for each of them, from which components are drawn independently: `StepMixture`, a mixture of ``K^H``
components of which only the marginals at each step are free.
"""

import math
from typing import Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax import linear_algebra
from ebgan_mdn_jax.types import Array, PRNGKey

Family = Literal["gaussian", "laplace"]


class Mixture(NamedTuple):
    """Axis-aligned components: ``log_weights [..., K]`` (normalised), ``means [..., K, Da]``, ``scales [..., K, Da]``.

    A scale is the standard deviation of a Gaussian and the b of a Laplace density (whose standard deviation is ``sqrt(2) b``).
    """

    log_weights: Array
    means: Array
    scales: Array


class FullMixture(NamedTuple):
    """Correlated Gaussian components: ``scale_trils [..., K, Da, Da]`` are lower Cholesky factors of the covariances.

    Or ``[..., 1, Da, Da]``, of the one that all components share.
    """

    log_weights: Array
    means: Array
    scale_trils: Array


class LowRankMixture(NamedTuple):
    """Gaussian components of covariance ``diag(scales^2) + F F^T``, with ``scales [..., K, Da]`` and ``factors F [..., K, Da, R]``."""

    log_weights: Array
    means: Array
    scales: Array
    factors: Array


class StepMixture(NamedTuple):
    """Actions of H equal parts that are independent of each other: ``each`` part has K components.

    So it has ``log_weights [..., H, K]``, ``means [..., H, K, Da / H]`` and so on.
    """

    each: Mixture | FullMixture | LowRankMixture


JointMixture = Mixture | FullMixture | LowRankMixture
AnyMixture = JointMixture | StepMixture


def log_prob(mixture: AnyMixture, action: Array, family: Family = "gaussian") -> Array:
    """Log density ``[...]`` of ``action [..., Da]``, whose last axes are those of the mixture; more may lead.

    Of "low_rank" by the identities of Woodbury and the determinant lemma, which only factorise a matrix ``[R, R]``.

    Raises:
      ValueError: for an unknown family, or one without a full covariance.
    """
    if isinstance(mixture, StepMixture):
        *_, num_steps, _, d = mixture.each.means.shape
        return jnp.sum(log_prob(mixture.each, action.reshape(*action.shape[:-1], num_steps, d), family), axis=-1)
    batch, d = mixture.means.shape[:-2], mixture.means.shape[-1]
    _check_family(mixture, family)
    chex.assert_shape(action, (..., *batch, d))
    if action.ndim > len(batch) + 1:
        lead = action.shape[: action.ndim - len(batch) - 1]
        density = jax.vmap(lambda a: log_prob(mixture, a, family))(action.reshape(-1, *batch, d))
        return density.reshape(*lead, *batch)
    difference = jnp.expand_dims(action, -2) - mixture.means
    if isinstance(mixture, FullMixture):
        if mixture.scale_trils.shape[-3] == 1:  # one factor for K columns
            columns = jnp.swapaxes(difference, -1, -2)
            standard = jnp.swapaxes(linear_algebra.solve_lower(mixture.scale_trils[..., 0, :, :], columns), -1, -2)
        else:
            standard = linear_algebra.solve_lower(mixture.scale_trils, difference[..., None])[..., 0]
        log_det = jnp.sum(jnp.log(jnp.diagonal(mixture.scale_trils, axis1=-2, axis2=-1)), -1)
    else:
        standard = difference / mixture.scales
        log_det = jnp.sum(jnp.log(mixture.scales), -1)
    explained = 0.0
    if isinstance(mixture, LowRankMixture):
        factors = mixture.factors / mixture.scales[..., None]
        inner = jnp.einsum("...dr,...ds->...rs", factors, factors)
        tril = linear_algebra.cholesky(
            inner + jnp.broadcast_to(jnp.eye(inner.shape[-1], dtype=inner.dtype), inner.shape)
        )
        along = jnp.einsum("...dr,...d->...r", factors, standard)
        explained = jnp.sum(linear_algebra.solve_lower(tril, along[..., None])[..., 0] ** 2, -1)
        log_det += jnp.sum(jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)), -1)
    if family == "gaussian":
        log_density = -0.5 * (jnp.sum(standard**2, -1) - explained) - 0.5 * d * math.log(2 * math.pi)
    else:
        log_density = -jnp.sum(jnp.abs(standard), -1) - d * math.log(2)
    return jax.nn.logsumexp(mixture.log_weights + log_density - log_det, axis=-1)


def sample(key: PRNGKey, mixture: AnyMixture, num_samples: int, family: Family = "gaussian") -> Array:
    """Draws ``[N, ..., Da]``; differentiable in the means and scales of the components drawn."""
    if isinstance(mixture, StepMixture):
        return _whole(sample(key, mixture.each, num_samples, family))
    key_component, key_noise = jax.random.split(key)
    index = _choose(key_component, mixture, num_samples)
    return _pick(index, mixture.means) + _noise(key_noise, mixture, index, family)


def sample_one_component(key: PRNGKey, mixture: AnyMixture, num_samples: int, family: Family = "gaussian") -> Array:
    """Draws ``[N, ..., Da]`` from one component per mixture, itself drawn by weight."""
    if isinstance(mixture, StepMixture):
        return _whole(sample_one_component(key, mixture.each, num_samples, family))
    key_component, key_noise = jax.random.split(key)
    index = _choose(key_component, mixture, 1)
    index = jnp.broadcast_to(index, (num_samples, *index.shape[1:]))
    return _pick(index, mixture.means) + _noise(key_noise, mixture, index, family)


def sample_components(key: PRNGKey, mixture: JointMixture, family: Family = "gaussian") -> Array:
    """One reparameterised draw from *every* component, ``[K, ..., Da]``."""
    *lead, k = mixture.log_weights.shape
    every = jax.lax.broadcasted_iota(jnp.int32, (k, *lead), 0)
    return jnp.moveaxis(mixture.means, -2, 0) + _noise(key, mixture, every, family)


def component_mean(key: PRNGKey, mixture: AnyMixture, num_samples: int) -> Array:
    """Means ``[N, ..., Da]`` of components drawn by weight: samples without the noise within a component."""
    if isinstance(mixture, StepMixture):
        return _whole(component_mean(key, mixture.each, num_samples))
    return _pick(_choose(key, mixture, num_samples), mixture.means)


def mode(mixture: AnyMixture, family: Family = "gaussian") -> Array:
    """The component mean ``[..., Da]`` at which the density of the whole mixture is highest."""
    if isinstance(mixture, StepMixture):
        return _whole(mode(mixture.each, family))
    means = jnp.moveaxis(mixture.means, -2, 0)
    best = jnp.argmax(log_prob(mixture, means, family), axis=0)
    return _pick(best[None], mixture.means)[0]


def tempered(mixture: Mixture, temperature: float, scale_exponent: float) -> Mixture:
    """The mixture with weights to the power ``1 / temperature``, normalised again, and scales to the power ``scale_exponent``.

    The second is what IBC's MDN does when it acts (Florence et al. 2021, arXiv 2109.00137; its "variance exponent" is of the standard
    deviation): above 1 it shrinks scales below 1 and widens others, so it depends on the units of actions. IBC has a temperature too, but
    the same in training, so that it acts with the weights as trained: a temperature of 1 here.
    """
    return mixture._replace(
        log_weights=jax.nn.log_softmax(mixture.log_weights / temperature, axis=-1),
        scales=mixture.scales**scale_exponent,
    )


def full(mixture: LowRankMixture | FullMixture) -> FullMixture:
    """The same density with a Cholesky factor for each component."""
    if isinstance(mixture, FullMixture):
        trils = jnp.broadcast_to(mixture.scale_trils, (*mixture.means.shape, mixture.means.shape[-1]))
        return mixture._replace(scale_trils=trils)
    covariances = jnp.einsum("...dr,...er->...de", mixture.factors, mixture.factors)
    identity = jnp.broadcast_to(jnp.eye(covariances.shape[-1], dtype=covariances.dtype), covariances.shape)
    covariances += mixture.scales[..., None] ** 2 * identity
    return FullMixture(mixture.log_weights, mixture.means, linear_algebra.cholesky(covariances))


def weight_entropy(mixture: AnyMixture) -> Array:
    """Entropy ``[...]`` of the component weights in nats, between 0 and log K; of steps, their sum."""
    if isinstance(mixture, StepMixture):
        return jnp.sum(weight_entropy(mixture.each), axis=-1)
    return -jnp.sum(jnp.exp(mixture.log_weights) * mixture.log_weights, axis=-1)


def _whole(steps: Array) -> Array:
    """Actions ``[..., Da]`` from their parts ``[..., H, Da / H]``."""
    return steps.reshape(*steps.shape[:-2], -1)


def _choose(key: PRNGKey, mixture: JointMixture, num_samples: int) -> Array:
    """Components ``[N, ...]`` drawn by weight, by the inverse of the cumulative sum: a categorical would draw K noises for each."""
    reached = jnp.cumsum(jnp.exp(mixture.log_weights), axis=-1)
    total = reached[..., -1]
    # In (0, 1], so that a component without weight is never drawn, at either end.
    uniform = 1 - jax.random.uniform(key, (num_samples, *total.shape), total.dtype)
    return jnp.sum((uniform * total[None])[..., None] > reached[None], axis=-1, dtype=jnp.int32)


def _pick(index: Array, values: Array) -> Array:
    """Values ``[N, ..., Da]`` of ``values [..., K, Da]`` at ``index [N, ...]``."""
    at = jnp.take_along_axis(values[None], index[..., None, None], axis=-2, mode="promise_in_bounds")
    return at[..., 0, :]


def _noise(key: PRNGKey, mixture: JointMixture, index: Array, family: Family) -> Array:
    """Zero-mean noise ``[N, ..., Da]`` of the shape of component ``index [N, ...]``."""
    _check_family(mixture, family)
    shape, dtype = (*index.shape, mixture.means.shape[-1]), mixture.means.dtype
    if isinstance(mixture, FullMixture):
        return _correlated(key, mixture.scale_trils, index)
    if isinstance(mixture, LowRankMixture):
        key, key_factors = jax.random.split(key)
        own = _pick(index, mixture.scales) * jax.random.normal(key, shape, dtype)
        return own + _correlated(key_factors, mixture.factors, index)
    draw = jax.random.normal if family == "gaussian" else jax.random.laplace
    return _pick(index, mixture.scales) * draw(key, shape, dtype)


def _correlated(key: PRNGKey, matrices: Array, index: Array) -> Array:
    """Standard noise ``[N, ..., R]`` times the matrix of component ``index [N, ...]`` among ``[..., K, Da, R]``, or the only one."""
    *_, count, d, rank = matrices.shape
    index = jnp.minimum(index, count - 1)
    standard = jax.random.normal(key, (*index.shape, rank), matrices.dtype)
    rows = [_pick(index, matrices[..., i, :]) for i in range(d)]
    return jnp.stack([jnp.sum(row * standard, -1) for row in rows], -1)


def _check_family(mixture: JointMixture, family: Family) -> None:
    if family not in get_args(Family):
        raise ValueError(f"family={family!r}: expected one of {get_args(Family)}")
    if not isinstance(mixture, Mixture) and family != "gaussian":
        raise ValueError(
            f"family={family!r} has no full covariance, nor one of low rank; use covariance='diagonal' or family='gaussian'"
        )
