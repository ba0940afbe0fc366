"""Mixtures from the unconstrained outputs of a network, and the outputs that give a mixture."""

import math
from typing import Literal

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.types import Array

Covariance = Literal["isotropic", "diagonal", "shared", "fixed", "low_rank", "full"]


def num_outputs(num_components: int, action_dim: int, covariance: Covariance, rank: int = 0) -> int:
    """Length ``P`` of the network output that `from_outputs` reads; ``rank`` is R of "low_rank"."""
    k, d = num_components, action_dim
    scales = {"isotropic": k, "diagonal": k * d, "shared": 1, "fixed": 0}
    scales |= {"low_rank": k * d * (1 + rank), "full": k * d * (d + 1) // 2}
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
    the gradient never dies. "isotropic" has one per component, "shared" one for all, "fixed" the constant ``fixed_scale``. Factors of
    "low_rank" follow on its scales, as they are.

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
    if covariance == "full":
        rows, columns = jnp.tril_indices(d)
        tril = jnp.zeros((*lead, k, d, d), outputs.dtype).at[..., rows, columns].set(raw.reshape(*lead, k, -1))
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
    if covariance == "full":
        raw = raw.reshape(k, -1).at[:, jnp.cumsum(jnp.arange(1, d + 1)) - 1].set(math.log(scale)).reshape(-1)
    elif covariance == "low_rank":
        raw = raw.at[: k * d].set(math.log(scale))
    else:
        raw += math.log(scale)
    return jnp.concatenate([jnp.zeros((k,), means.dtype), means.reshape(-1), raw])
