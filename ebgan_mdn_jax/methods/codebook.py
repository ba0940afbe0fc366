r"""Codebooks of residual vector quantisation, learned as moving averages of what their codes stand for.

A level's code is the nearest one; each further level quantises what the ones before left. As of van den Oord et al. (2017, arXiv
1711.00937, appendix A.1), with n the share of a minibatch's rows that take code e and m their mean, its average share N and e become

.. math:: N \gets \gamma N + (1-\gamma)\, n, \qquad e \gets \frac{\gamma N_{old}\, e + (1-\gamma)\, n\, m}{N}

which is k-means, one minibatch at a time. Codes that hardly any row takes restart at rows of the minibatch (Dhariwal et al. 2020), which
k-means++ picks given the other codes; at the first step that is all codes.
"""

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.linear_algebra import product
from ebgan_mdn_jax.methods.clusters import spread_rows
from ebgan_mdn_jax.types import Array, PRNGKey


def quantise(codes: Array, latent: Array) -> Array:
    """Indices ``[B, L]`` of the codes ``[L, K, Dz]`` that stand for ``latent [B, Dz]``."""
    chex.assert_rank([codes, latent], [3, 2])
    found = []
    for level in codes:
        found.append(_nearest(level, latent))
        latent = latent - level[found[-1]]
    return jnp.stack(found, axis=-1)


def look_up(codes: Array, found: Array) -> Array:
    """Sums ``[..., Dz]`` over levels of the codes ``[L, K, Dz]`` with indices ``found [..., L]``."""
    return sum(level[found[..., i]] for i, level in enumerate(codes))


def straight_through(latent: Array, quantised: Array) -> Array:
    """The value of ``quantised`` with the gradient of ``latent`` (Bengio et al. 2013)."""
    return latent + jax.lax.stop_gradient(quantised - latent)


def restarted(key: PRNGKey, level: Array, usage: Array, rows: Array, least: Array | float) -> tuple[Array, Array]:
    """Codes ``[K, Dz]`` of a level and their shares ``usage [K]``, with those used by less than ``least`` put at some of ``rows [B, Dz]``.

    These are drawn one after the other by the squared distance to the nearest code; they start with a usage of 1/K.
    """
    dead, most = usage < least, jnp.finfo(rows.dtype).max
    apart = jnp.min(jnp.where(dead[None], most, _squared_distances(level, rows)), axis=-1)
    fresh = jax.lax.cond(jnp.any(dead), lambda: spread_rows(key, rows, len(level), apart), lambda: level)
    fresh = fresh[jnp.cumsum(dead) - 1]  # in the order that they were drawn in
    return jnp.where(dead[:, None], fresh, level), jnp.where(dead, 1 / len(level), usage)


def averaged(level: Array, usage: Array, rows: Array, found: Array, decay: Array | float) -> tuple[Array, Array, Array]:
    """Codes ``[K, Dz]`` and usage ``[K]`` after ``rows [B, Dz]``, each of which has code ``found [B]``; and the codes' shares of them."""
    member = jax.nn.one_hot(found, len(level), dtype=rows.dtype)
    share = jnp.mean(member, axis=0)
    total = product(member.T, rows) / len(rows)
    kept = decay * usage
    usage = kept + (1 - decay) * share
    level = kept[:, None] * level + (1 - decay) * total
    return level / jnp.maximum(usage, jnp.finfo(rows.dtype).tiny)[:, None], usage, share


def learn(
    key: PRNGKey, codes: Array, usage: Array, latent: Array, decay: Array | float, restart_below: Array | float
) -> tuple[Array, Array, Array, Array]:
    """What a minibatch does to the codes ``[L, K, Dz]`` and their ``usage [L, K]``.

    Args:
      key: of the restarts.
      codes: of all levels.
      usage: average shares of rows; 0 before the first step.
      latent: all rows of the minibatch, ``[B, Dz]``.
      decay: of both averages.
      restart_below: a code whose usage is less than this part of 1/K restarts.

    Returns:
      The codes to quantise this minibatch with, codes and usage after it, and how many of K codes its rows use (the exponential of their
      entropy), a mean over levels.
    """
    current, after, used = [], [], []
    for i, (level, shares) in enumerate(zip(codes, usage, strict=True)):
        level, shares = restarted(jax.random.fold_in(key, i), level, shares, latent, restart_below / len(level))
        found = _nearest(level, latent)
        *averages, share = averaged(level, shares, latent, found, decay)
        current.append(level)
        after.append(averages)
        used.append(jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share))))
        latent = latent - level[found]
    codes, usage = (jnp.stack(leaves) for leaves in zip(*after, strict=True))
    return jnp.stack(current), codes, usage, jnp.mean(jnp.stack(used))


def _nearest(level: Array, rows: Array) -> Array:
    return jnp.argmin(_squared_distances(level, rows), axis=-1)


def _squared_distances(level: Array, rows: Array) -> Array:
    """``[B, K]``."""
    return jnp.sum((rows[:, None] - level[None]) ** 2, axis=-1)
