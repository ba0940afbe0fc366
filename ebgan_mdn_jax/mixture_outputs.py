"""Mixtures from the unconstrained outputs of a network, and the outputs that give a mixture."""

import math
from typing import Literal

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax import linear_algebra
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.types import Array

Covariance = Literal["isotropic", "diagonal", "shared", "fixed", "low_rank", "full", "tied"]


def num_outputs(num_components: int, action_dim: int, covariance: Covariance, rank: int = 0) -> int:
    """Length ``P`` of the network output that `from_outputs` reads; ``rank`` is R of "low_rank"."""
    k, d = num_components, action_dim
    scales = {"isotropic": k, "diagonal": k * d, "shared": 1, "fixed": 0}
    scales |= {"low_rank": k * d * (1 + rank), "full": k * d * (d + 1) // 2, "tied": d * (d + 1) // 2}
    return k + k * d + scales[covariance]


def from_outputs(
    outputs: Array,
    num_components: int,
    action_dim: int,
    covariance: Covariance,
    scale_floor: Array | float,
    fixed_scale: float = 0.1,
    rank: int = 0,
) -> mixtures.JointMixture:
    """Read a mixture off unconstrained network outputs ``[..., P]``: K logits, K*Da means, then the raw scales.

    Scales (for "full": the diagonal of the Cholesky factor) are ``scale_floor + exp(raw)``, so they never fall below the floor and
    the gradient never dies. "isotropic" has one per component, "shared" one for all, "fixed" the constant ``fixed_scale``, "tied" one full
    covariance for all components. Factors of "low_rank" follow on its scales, as they are.

    Args:
      outputs: ``[..., P]``, with P as `num_outputs` says.
      num_components: K.
      action_dim: ``Da``.
      covariance: see above.
      scale_floor: least standard deviation, in units of the action.
      fixed_scale: the deviation of "fixed".
      rank: R, number of factors of "low_rank".
    """
    chex.assert_axis_dimension(outputs, -1, num_outputs(num_components, action_dim, covariance, rank))
    lead, k, d = outputs.shape[:-1], num_components, action_dim
    logits, means, raw = jnp.split(outputs, [k, k + k * d], axis=-1)
    log_weights = jax.nn.log_softmax(logits)
    means = means.reshape(*lead, k, d)
    if covariance in ("full", "tied"):
        raw = raw.reshape(*lead, k if covariance == "full" else 1, -1)
        tril = jnp.zeros((*raw.shape[:-1], d, d), outputs.dtype).at[(..., *jnp.tril_indices(d))].set(raw)
        on_diagonal = jnp.broadcast_to(jnp.eye(d, dtype=bool), tril.shape)
        # exp only sees the diagonal: off-diagonal entries may be large, and inf * 0 would poison the gradient.
        diagonal = scale_floor + jnp.exp(jnp.where(on_diagonal, tril, 0.0))
        return mixtures.FullMixture(log_weights, means, jnp.where(on_diagonal, diagonal, tril))
    if covariance == "low_rank":
        raw, factors = jnp.split(raw, [k * d], axis=-1)
        scales = scale_floor + jnp.exp(raw.reshape(*lead, k, d))
        return mixtures.LowRankMixture(log_weights, means, scales, factors.reshape(*lead, k, d, rank))
    if covariance == "fixed":
        return mixtures.Mixture(log_weights, means, jnp.full_like(means, fixed_scale))
    raw = raw.reshape(*lead, *{"isotropic": (k, 1), "diagonal": (k, d), "shared": (1, 1)}[covariance])
    return mixtures.Mixture(log_weights, means, jnp.broadcast_to(scale_floor + jnp.exp(raw), means.shape))


def to_outputs(means: Array, scale: float, covariance: Covariance, rank: int = 0) -> Array:
    """Outputs ``[P]`` for equal weights, ``means [K, Da]`` and one scale: what `from_outputs` makes these of without a floor."""
    k, d = means.shape
    raw = jnp.zeros((num_outputs(k, d, covariance, rank) - k - k * d,), means.dtype)
    if covariance in ("full", "tied"):
        raw = (
            raw.reshape(-1, d * (d + 1) // 2)
            .at[:, jnp.cumsum(jnp.arange(1, d + 1)) - 1]
            .set(math.log(scale))
            .reshape(-1)
        )
    elif covariance == "low_rank":
        raw = raw.at[: k * d].set(math.log(scale))
    else:
        raw += math.log(scale)
    return jnp.concatenate([jnp.zeros((k,), means.dtype), means.reshape(-1), raw])


def clusters_to_outputs(
    log_weights: Array, means: Array, within: Array, covariance: Covariance, rank: int = 0
) -> Array:
    """Outputs ``[P]`` for ``log_weights [K]``, ``means [K, Da]`` and the covariance ``within [Da, Da]`` of every component.

    What a kind cannot hold of it is left out: deviations only ("diagonal"), or their root mean square ("isotropic", "shared"); of
    "low_rank" the factors are principal components (as exact as `linear_algebra.eigenvectors` are), and the scale is that of the rest
    (Tipping and Bishop 1999, eq. 7 and 8).
    """
    k, d = means.shape
    if covariance in ("full", "tied"):
        tril = linear_algebra.cholesky(within)
        on_diagonal = jnp.eye(d, dtype=bool)
        raw = jnp.where(on_diagonal, jnp.log(jnp.where(on_diagonal, tril, 1.0)), tril)[jnp.tril_indices(d)]
    elif covariance == "low_rank":
        values, vectors = linear_algebra.eigenvectors(within)
        rest = jnp.mean(values[rank:]) if rank < d else values[-1] / 2
        principal = (vectors * jnp.sqrt(jnp.maximum(values - rest, 0.0))[None])[:, :rank]
        factors = jnp.pad(principal, ((0, 0), (0, rank - principal.shape[1])))
        raw = jnp.concatenate([jnp.full(k * d, jnp.log(rest) / 2), jnp.tile(factors.reshape(-1), k)])
    elif covariance == "fixed":
        raw = jnp.zeros((0,), means.dtype)
    else:
        variance = jnp.diagonal(within) if covariance == "diagonal" else jnp.mean(jnp.diagonal(within))[None]
        raw = jnp.log(variance) / 2
    if covariance not in ("low_rank", "shared", "tied", "fixed"):
        raw = jnp.tile(raw, k)
    return jnp.concatenate([log_weights, means.reshape(-1), raw])
