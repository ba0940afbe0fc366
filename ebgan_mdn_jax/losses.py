"""Losses of plain arrays, one value per example ``[B]``; the caller takes the mean."""

from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.types import Array

AlphaForm = Literal["weight", "logit"]


def info_nce(
    positive_energy: Array,
    negative_energy: Array,
    generator_energy: Array | None = None,
    alpha: Array | float = 1.0,
    alpha_form: AlphaForm = "weight",
) -> Array:
    r"""InfoNCE with the generator's draws among the negatives (EBGAN-MDN; without it: IBC, Florence et al. 2021, eq. 3).

    .. math:: -\log\frac{e^{-E(x)}}{e^{-E(x)} + \sum_{j=1}^N e^{-E(x_j)} + \alpha \sum_{g=1}^M e^{-E(x_g)}}

    ``alpha_form="weight"`` is this formula: ``log(alpha)`` is added to the generator's logit. The authors' code multiplies the logit
    instead, ``exp(-alpha E)``; that form ("logit", for parity only) is not invariant to ``E + b(obs)``, and training drives all
    energies to minus infinity.

    Args:
      positive_energy: ``[B]``, energy of the demonstrated action.
      negative_energy: ``[N, B]``.
      generator_energy: ``[M, B]`` of M draws, or None.
      alpha: weight of each of the generator's draws, a scalar.
      alpha_form: see above.

    Returns:
      Loss ``[B]``; ``log(1 + N + alpha M)`` for constant energies in weight form.

    Raises:
      ValueError: for an unknown ``alpha_form``.
    """
    chex.assert_rank([positive_energy, negative_energy, alpha], [1, 2, 0])
    if alpha_form not in get_args(AlphaForm):
        raise ValueError(f"alpha_form={alpha_form!r}: expected one of {get_args(AlphaForm)}")
    chex.assert_axis_dimension(negative_energy, 1, positive_energy.shape[0])
    logits = [-positive_energy[None], -negative_energy]
    if generator_energy is not None:
        chex.assert_rank(generator_energy, 2)
        chex.assert_equal_shape_suffix([negative_energy, generator_energy], 1)
        logit = -generator_energy
        logits.append(logit + jnp.log(alpha) if alpha_form == "weight" else alpha * logit)
    return jax.nn.logsumexp(jnp.concatenate(logits), axis=0) + positive_energy


def mi_bound(info_nce_loss: Array, num_negatives: int) -> Array:
    """``log(N + 1)`` less the InfoNCE loss, of any shape, in nats: its mean is at most the mutual information of observation and action.

    Proven where the N negatives are independent draws of the marginal p(action), for any energy (van den Oord et al. 2018, Poole et al.
    2019), and never above ``log(N + 1)``. With uniform negatives, or states of one chain, it is no bound.
    """
    return jnp.log(num_negatives + 1) - info_nce_loss


def importance_nll(
    positive_energy: Array, negative_energy: Array, log_proposal: Array, log_weight: Array | None = None
) -> Array:
    r"""Negative log-likelihood ``[B]`` of ``exp(-E) / Z``, with Z estimated by importance sampling.

    .. math:: E(x) + \log \frac{\sum_j w_j\, e^{-E(x_j)} / r(x_j)}{\sum_j w_j}

    It is too small on average, as the logarithm is concave, by about half the squared relative error of Z; InfoNCE has the demonstrated
    action in the sum, too, which keeps it above 0. In nats and the units of ``r``.

    Args:
      positive_energy: ``[B]``, energy of the demonstrated action.
      negative_energy: ``[N, B]``.
      log_proposal: ``log r [N, B]``, of the density that the N negatives together are drawn from.
      log_weight: ``log w [N]`` where some count for more; default none.
    """
    chex.assert_rank([positive_energy, negative_energy], [1, 2])
    chex.assert_axis_dimension(negative_energy, 1, positive_energy.shape[0])
    chex.assert_equal_shape([negative_energy, log_proposal])
    log_weight = jnp.zeros(negative_energy.shape[0]) if log_weight is None else log_weight
    ratio = jnp.broadcast_to(log_weight[:, None], negative_energy.shape) - negative_energy - log_proposal
    return positive_energy + jax.nn.logsumexp(ratio, axis=0) - jax.nn.logsumexp(log_weight)


def contrastive_divergence(positive_energy: Array, negative_energy: Array) -> Array:
    r"""Contrastive divergence ``[B]`` (Hinton 2002; the "MCMC loss" of Ta et al. 2022, eq. 4): ``E(x) - mean_j E(x_j)``.

    Of ``positive_energy [B]`` and ``negative_energy [N, B]``. Its gradient is that of the negative log-likelihood where the negatives are
    draws of ``exp(-E)``, as long as they are held constant; it does not bound energies, which need a penalty to stay finite.
    """
    chex.assert_rank([positive_energy, negative_energy], [1, 2])
    chex.assert_axis_dimension(negative_energy, 1, positive_energy.shape[0])
    return positive_energy - jnp.mean(negative_energy, axis=0)


def max_entropy(positive_energy: Array, negative_energy: Array) -> Array:
    r"""Contrastive divergence plus half the variance of the negatives' energies, ``[B]`` (Ta et al. 2022, section III-B).

    .. math:: E(x) - \bar E + \tfrac12\Big(\frac1N\sum_j E(x_j)^2 - \bar E^2\Big), \quad \bar E = \frac1N\sum_j E(x_j)

    Negatives of equal energy are draws of great entropy; the gradient with respect to one of them is ``(-1 + E(x_j) - mean) / N``.
    """
    return contrastive_divergence(positive_energy, negative_energy) + 0.5 * jnp.var(negative_energy, axis=0)


def binary_critic(positive_energy: Array, generator_energy: Array) -> Array:
    """Cross-entropy ``[B]`` of a discriminator whose logit for "demonstrated" is ``-E`` (Goodfellow et al. 2014, eq. 1).

    Of ``positive_energy [B]`` and ``generator_energy [M, B]``, whose draws share the weight of the one demonstrated action.
    """
    chex.assert_rank([positive_energy, generator_energy], [1, 2])
    chex.assert_axis_dimension(generator_energy, 1, positive_energy.shape[0])
    return jax.nn.softplus(positive_energy) + jnp.mean(jax.nn.softplus(-generator_energy), axis=0)


def gradient_penalty(gradient: Array, norm: Literal["1", "2", "inf"], margin: Array | float) -> Array:
    r"""Penalty ``[B]`` on gradients ``dE/da [N, B, Da]`` longer than ``margin`` (Florence et al. 2021, section B.3.1; ``norm="inf"``).

    .. math:: \frac1N \sum_j \max(0, \|\nabla_a E(a_j)\| - m)^2

    Their text sums over points; their code, as here, takes the mean over all N of them (its negatives and the demonstrated action).

    Raises:
      ValueError: for another norm.
    """
    chex.assert_rank(gradient, 3)
    if norm not in ("1", "2", "inf"):
        raise ValueError(f"norm={norm!r}: expected 1, 2 or inf")
    size = {
        "1": lambda g: jnp.sum(jnp.abs(g), axis=-1),
        # Squared first and floored: the root has no slope at 0.
        "2": lambda g: jnp.sqrt(jnp.maximum(jnp.sum(g**2, axis=-1), jnp.finfo(g.dtype).tiny)),
        "inf": lambda g: jnp.max(jnp.abs(g), axis=-1),
    }[norm](gradient)
    return jnp.mean(jnp.maximum(size - margin, 0) ** 2, axis=0)


def mixture_nll(mixture: mixtures.AnyMixture, action: Array, family: mixtures.Family = "gaussian") -> Array:
    """Negative log-likelihood ``[B]`` of ``action [B, Da]`` in nats, with the normalising constant."""
    chex.assert_rank(action, 2)
    return -mixtures.log_prob(mixture, action, family)


def squared_error(prediction: Array, target: Array) -> Array:
    """Squared error ``[B]`` of ``[B, Da]``, averaged over action dimensions."""
    chex.assert_rank(prediction, 2)
    chex.assert_equal_shape([prediction, target])
    return jnp.mean((prediction - target) ** 2, axis=-1)


def energy_score(draws: Array, action: Array) -> Array:
    r"""Energy score ``[B]`` of a policy (Gneiting & Raftery 2007), estimated without bias from N > 1 ``draws [N, B, Da]`` per row.

    .. math:: \mathbb E\|x - a\| - \tfrac12\,\mathbb E\|x - x'\|

    It judges policies that can only be sampled: its mean over demonstrations ``action [B, Da]`` is least for their own conditional
    distribution. It is no energy of an energy model; in one dimension it is the continuous ranked probability score.
    """
    chex.assert_rank(action, 2)
    chex.assert_shape(draws, (None, *action.shape))
    return jnp.mean(_norm(draws - action[None]), axis=0) - 0.5 * spread(draws)


def spread(draws: Array) -> Array:
    """Mean distance ``[B]`` of two of the N > 1 ``draws [N, B, Da]`` of a row."""
    chex.assert_rank(draws, 3)
    first, second = np.triu_indices(draws.shape[0], 1)
    return jnp.mean(_norm(draws[first] - draws[second]), axis=0)


def _norm(x: Array) -> Array:
    """Euclidean norm over the last axis, with slope 0 at 0, where there is none."""
    return jnp.sqrt(jnp.maximum(jnp.sum(x**2, axis=-1), jnp.finfo(x.dtype).tiny))
