"""What do a policy's codes z say about actions? Measures of an encoder ``q(z|a,s) = N(m(a,s), diag s(a,s)^2)`` on demonstrations.

B demonstrations; ``same [B, B]`` says which of them share an observation. Information in nats; pure functions, to be jitted and vmapped.

For an observation's demonstrations ``q(z|s)`` is the mean of their posteriors. The mutual information of z and the demonstration's index is
``I = E log q(z|a,s) - log q(z|s)``, at most the logarithm of their number, and the encoder's rate ``R = E KL(q(z|a,s) || p)`` is the sum of
I and ``KL(q(z|s) || p)`` (Hoffman & Johnson 2016, "ELBO surgery"): what codes tell, and how far all of them together are from those drawn
when the policy acts.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, Batch, Latents, PRNGKey


class Codes(NamedTuple):
    """Gaussian posteriors: ``mean [B, Dz]`` and ``log_scale [B, Dz]``."""

    mean: Array
    log_scale: Array


def sample(key: PRNGKey, codes: Codes, num_samples: int) -> Array:
    """Codes ``[N, B, Dz]`` from the posteriors."""
    noise = jax.random.normal(key, (num_samples, *codes.mean.shape), codes.mean.dtype)
    return codes.mean[None] + jnp.exp(codes.log_scale)[None] * noise


def log_prob(latent: Array, codes: Codes) -> Array:
    """``log q(z|a_j,s_j)`` of every code under every posterior, ``[Q, B]`` nats of ``latent [Q, Dz]``."""
    chex.assert_equal_shape_suffix([latent, *codes], 1)
    inverse = jnp.exp(-codes.log_scale)
    units = (latent[:, None] - codes.mean[None]) * inverse[None]
    constant = jnp.sum(codes.log_scale, axis=-1) + 0.5 * codes.mean.shape[-1] * math.log(2 * math.pi)
    return -0.5 * jnp.sum(units**2, axis=-1) - constant[None]


def information(latent: Array, codes: Codes, same: Array) -> Array:
    """``I(A; Z | S)`` per demonstration, ``[B]`` nats, from ``latent [N, B, Dz]``, draws of their posteriors.

    The expectation over draws is exact for the law that takes one of the B demonstrations, and not above the logarithm of their number.
    """
    chex.assert_shape(same, (codes.mean.shape[0],) * 2)

    def of_draw(latent):
        each = log_prob(latent, codes)
        mixed = jax.nn.logsumexp(jnp.where(same, each, -jnp.inf), axis=1) - jnp.log(jnp.sum(same, axis=1))
        return jnp.diagonal(each) - mixed

    return jnp.mean(jax.lax.map(of_draw, latent), axis=0)


def active_units(codes: Codes, least_variance: float = 0.01) -> Array:
    """How many dimensions are used: those whose posterior mean varies by more (Burda et al. 2016, arXiv 1509.00519)."""
    return jnp.sum(jnp.var(codes.mean, axis=0) > least_variance)


def best_constant(action: Array, group: Array, num_groups: int, centre: Callable) -> Array:
    """For each demonstration the ``centre`` (`jnp.nanmedian` or `jnp.nanmean`) of the actions in its group, ``[B, Da]``."""
    member = group[None] == jnp.arange(num_groups)[:, None]
    centres = centre(jnp.where(member[..., None], action[None], jnp.nan), axis=1)
    return centres[group]


def measure(
    key: PRNGKey, latents: Latents, batch: Batch, group: Array, num_groups: int, unit: Array, num_draws: int = 4
) -> tuple[dict[str, Array], Array, Array]:
    """Metrics of a policy's codes; what it decodes from ``num_draws`` for each demonstration, ``[N, B, Da]``; and from z = 0, ``[B, Da]``.

    ``rate`` R, ``information`` I and ``marginal_kl``, R - I, in nats; ``active_units``. Losses are means over an action's elements in
    their ``unit``: ``reconstruction``, the absolute ("@l1") and the squared error of what is decoded, and ``spread``, the least of an
    action that ignores the code, the best constant for each observation. The difference of spread and least reconstruction is the gain
    that bounds the rate (`theory.rate_cap`). ``z_advantage``: by how many % "l1" is less with the code than with z = 0.

    Args:
      key: of the draws.
      latents: the policy's.
      batch: demonstrations.
      group: ``[B]`` ints below ``num_groups``: which observation each demonstration is of.
      num_groups: how many observations there are.
      unit: ``[Da]``, for training's loss that of network actions.
      num_draws: N.
    """
    obs, action = jax.lax.optimization_barrier(batch)  # or XLA takes minutes to fold medians of constants
    chex.assert_shape([group, unit], [(obs.shape[0],), (action.shape[1],)])
    codes = Codes(*latents.encode(obs, action))
    latent = sample(key, codes, num_draws)
    decoded = latents.decode(latent, obs)
    rate = jnp.mean(latents.rate(obs, action))
    nats = jnp.mean(information(latent, codes, group[:, None] == group[None]))
    metrics = {"rate": rate, "information": nats, "marginal_kl": rate - nats, "active_units": active_units(codes)}

    def losses(guess):
        off = (guess - jnp.broadcast_to(action, guess.shape)) / jnp.broadcast_to(unit, guess.shape)
        return {"l1": jnp.mean(jnp.abs(off)), "squared": jnp.mean(off**2)}

    for name, centre in (("l1", jnp.nanmedian), ("squared", jnp.nanmean)):
        metrics[f"reconstruction@{name}"] = losses(decoded)[name]
        metrics[f"spread@{name}"] = losses(best_constant(action, group, num_groups, centre))[name]
    at_zero = latents.decode(jnp.zeros_like(codes.mean), obs)
    metrics["z_advantage"] = 100.0 * (1.0 - metrics["reconstruction@l1"] / losses(at_zero)["l1"])
    return metrics, decoded, at_zero
