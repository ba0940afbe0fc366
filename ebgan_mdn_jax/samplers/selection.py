"""Choose among candidates that a generator proposed, by an energy trained with InfoNCE.

What the energy means decides the weights. With N uniform negatives of density u and one generator sample of weight alpha, InfoNCE is
a ranking objective whose proposal is ``r = (N u + alpha q) / (N + alpha)``; for many negatives its optimum is
``exp(-E)`` proportional to ``p / r`` (Ma & Collins 2018, ranking NCE). So importance weights of candidates from q are
``p / q``, proportional to ``exp(-E) r / q``; if r was already taken out in training, they are ``exp(-E) / q``.
"""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey


def lowest_energy(candidates: Array, energy: Array) -> Array:
    """The candidate ``[..., Da]`` of lowest energy among ``candidates [C, ..., Da]`` with ``energy [C, ...]``."""
    chex.assert_equal_shape_prefix((candidates, energy), energy.ndim)
    return _take(candidates, jnp.argmin(energy, axis=0))


def importance_resample(key: PRNGKey, candidates: Array, log_weights: Array) -> Array:
    """One candidate ``[..., Da]`` drawn with unnormalised ``log_weights [C, ...]`` (sampling-importance-resampling, Rubin 1988)."""
    chex.assert_equal_shape_prefix((candidates, log_weights), log_weights.ndim)
    return _take(candidates, jax.random.categorical(key, log_weights, axis=0))


def clipped_reweighting(log_weights: Array, log_ratio: Array, clip: float) -> Array:
    """Normalised log weights ``[..., K]`` after multiplying by ratios, of which none counts more than ``exp(clip)`` times their mean.

    The mean of ``exp(log_ratio) [..., K]`` is under ``log_weights [..., K]``. An infinite clip is importance weighting; a negative one
    leaves the proportions of all but the components of low ratio as they are.
    """
    chex.assert_equal_shape([log_weights, log_ratio])
    mean = jax.nn.logsumexp(log_weights + log_ratio, axis=-1, keepdims=True)
    relative = log_ratio - jnp.broadcast_to(mean, log_ratio.shape)
    return jax.nn.log_softmax(log_weights + jnp.minimum(relative, clip), axis=-1)


def info_nce_proposal(log_uniform: Array, log_generator: Array, num_negatives: int, alpha: Array | float) -> Array:
    """``log r`` of the module docstring, from ``log u`` and ``log q`` of the same shape."""
    chex.assert_equal_shape([log_uniform, log_generator])
    # At alpha = 0 an action outside the box has r = 0; the least positive weight keeps its logarithm finite.
    log_alpha = jnp.log(jnp.maximum(alpha, jnp.finfo(log_uniform.dtype).tiny))
    total = jnp.logaddexp(jnp.log(num_negatives) + log_uniform, log_alpha + log_generator)
    return total - jnp.log(num_negatives + alpha)


def uniform_log_prob(action: Array, low: tuple[float, ...], high: tuple[float, ...]) -> Array:
    """Log density ``[...]`` of the uniform distribution on a box at ``action [..., Da]``; minus infinity outside."""
    chex.assert_axis_dimension(action, -1, len(low))
    low, high = (jnp.broadcast_to(jnp.asarray(bound, action.dtype), action.shape) for bound in (low, high))
    inside = jnp.all((action >= low) & (action <= high), axis=-1)
    return jnp.where(inside, -jnp.sum(jnp.log(high - low), axis=-1), -jnp.inf)


def _take(candidates: Array, index: Array) -> Array:
    return jnp.take_along_axis(candidates, index[None, ..., None], axis=0)[0]
