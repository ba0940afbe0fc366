r"""Langevin dynamics on an energy, in the three forms of the literature on energy-based policies.

With gradient ``g``, step size ``s`` and noise ``w ~ N(0, sigma^2)`` a step goes to ``a - drift * g + scale * w``:

====================  ===========  ==============  ============================================================
``noise``             drift        scale           source
====================  ===========  ==============  ============================================================
"langevin"            ``s``        ``sqrt(2 s)``   Ta et al. 2022 (arXiv 2207.05824), eq. 8; the textbook form
"langevin_half"       ``s / 2``    ``sqrt(s)``     idem, eq. 5: the same with half the step
"ibc"                 ``s / 2``    ``s``           Florence et al. 2021 (arXiv 2109.00137), eq. 6 of Ta et al.
====================  ===========  ==============  ============================================================

The first two have ``exp(-E / sigma^2)`` for their stationary law as the step goes to 0. The third has temperature ``s sigma^2``, which
goes to 0 with the step: it is a noisy descent that ends far too narrow, by design or not (`gaussian_std` says by how much).

IBC clips what a step moves (``delta_clip``) and keeps actions in a box; neither changes the stationary law by much where it
rarely acts. ``metropolis`` accepts or rejects each step instead (MALA, Roberts & Tweedie 1996) and is exact for any step size.
"""

from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.samplers.base import Chains, Sampler, SamplerInfo, energy_and_gradient, row_noise
from ebgan_mdn_jax.types import Array, require

Noise = Literal["langevin", "langevin_half", "ibc"]


def polynomial_schedule(init: Array | float, final: Array | float, power: Array | float, num_steps: int) -> Array:
    """Step sizes ``[T]`` from ``init`` to ``final``: ``(init - final) (1 - k / (T - 1))^power + final`` (IBC's default)."""
    require(num_steps >= 1, f"num_steps={num_steps}: a schedule needs at least 1 step")
    left = 1 - jnp.arange(num_steps) / max(num_steps - 1, 1)
    return (init - final) * left**power + final


def exponential_schedule(init: Array | float, decay: Array | float, num_steps: int) -> Array:
    """Step sizes ``[T]``: ``init * decay^k``. (IBC's code, in graph mode, decays once and stays there.)"""
    require(num_steps >= 1, f"num_steps={num_steps}: a schedule needs at least 1 step")
    return init * decay ** jnp.arange(num_steps)


def make(
    step_sizes: Array,
    low: tuple[float, ...],
    high: tuple[float, ...],
    noise: Noise = "langevin",
    noise_scale: Array | float = 1.0,
    gradient_clip: Array | float | None = None,
    delta_clip: Array | float | None = None,
    metropolis: bool = False,
) -> Sampler:
    """A sampler that takes one step of each of ``step_sizes [T]``.

    Args:
      step_sizes: ``s`` of the module docstring.
      low: of the box that actions stay in, ``Da`` values; may be minus infinity.
      high: of the box.
      noise: the form, see above.
      noise_scale: ``sigma``; 0 descends the gradient.
      gradient_clip: largest absolute value of an element of the gradient, or None.
      delta_clip: largest move of a step along each dimension, in half extents of the box, or None.
      metropolis: accept or reject each step, for exact draws of ``exp(-E / sigma^2)`` in the box.

    Raises:
      InputError: for an unknown form, or if a Metropolis correction is asked for where there is none.
    """
    require(noise in get_args(Noise), f"noise={noise!r}: expected one of {', '.join(get_args(Noise))}")
    require(
        not (metropolis and noise == "ibc"),
        "metropolis=True: noise='ibc' has no stationary law to correct to; take 'langevin' or 'langevin_half'",
    )
    require(
        not (metropolis and delta_clip is not None),
        "metropolis=True: clipped moves have no density to correct by; set delta_clip=None (gradient_clip may stay)",
    )
    chex.assert_rank(step_sizes, 1)

    def init(energy_fn, obs, action):
        chex.assert_axis_dimension(action, -1, len(low))
        return Chains(action, *energy_and_gradient(energy_fn, obs, action), jnp.zeros((), jnp.int32))

    def step(keys, energy_fn, obs, chains):
        action, shape, dtype = chains.action, chains.action.shape, chains.action.dtype
        low_, high_ = (jnp.broadcast_to(jnp.asarray(bound, dtype), shape) for bound in (low, high))
        size = step_sizes[chains.index].astype(dtype)
        drift, scale = coefficients(noise, size)
        scale = scale * jnp.asarray(noise_scale, dtype)
        key_noise, key_accept = jax.vmap(jax.random.split, out_axes=1)(keys)

        def descent(gradient):
            return -drift * (gradient if gradient_clip is None else jnp.clip(gradient, -gradient_clip, gradient_clip))

        wanted = descent(chains.gradient)
        wanted = wanted + scale * row_noise(jax.random.normal, key_noise, (shape[0], shape[2]), dtype)
        most = jnp.inf if delta_clip is None else delta_clip * (high_ - low_) / 2
        move = jnp.clip(wanted, -most, most)
        proposal = jnp.clip(action + move, low_, high_)
        clipped = (move != wanted) | (proposal != action + move)
        moved = Chains(proposal, *energy_and_gradient(energy_fn, obs, proposal), chains.index + 1)
        accepted = jnp.ones(shape[:2], bool)
        if metropolis:
            there = jnp.sum((proposal - action - descent(chains.gradient)) ** 2, axis=-1)
            back = jnp.sum((action - proposal - descent(moved.gradient)) ** 2, axis=-1)
            gain = (chains.energy - moved.energy) / jnp.asarray(noise_scale, dtype) ** 2
            uniform = row_noise(jax.random.uniform, key_accept, shape[:1], dtype)
            accepted = ~clipped.any(axis=-1) & (jnp.log(uniform) < gain + (there - back) / (2 * scale**2))
            moved = moved._replace(
                action=jnp.where(accepted[..., None], moved.action, action),
                energy=jnp.where(accepted, moved.energy, chains.energy),
                gradient=jnp.where(accepted[..., None], moved.gradient, chains.gradient),
            )
        info = SamplerInfo(
            jnp.mean(chains.energy, axis=0),
            jnp.mean(jnp.linalg.norm(chains.gradient, axis=-1), axis=0),
            jnp.mean(accepted, axis=0, dtype=dtype),
            jnp.mean(clipped, axis=(0, 2), dtype=dtype),
        )
        return moved, info

    return Sampler(step_sizes.shape[0], init, step)


def gaussian_std(std: Array | float, step_size: Array | float, noise: Noise, noise_scale: Array | float = 1.0) -> Array:
    r"""Stationary deviation of a constant step on the energy of a Gaussian with deviation ``std``, without clips, exactly.

    A step is ``a' = (1 - drift / std^2) a + scale w``, so its variance is ``scale^2 / (1 - (1 - drift / std^2)^2)``; infinite where the
    step is too long to be stable (drift of ``2 std^2`` or more).
    """
    drift, scale = coefficients(noise, jnp.asarray(step_size, float))
    shrinkage = 1 - drift / jnp.asarray(std, float) ** 2
    variance = (scale * noise_scale) ** 2 / jnp.maximum(1 - shrinkage**2, 0)
    return jnp.sqrt(variance)


def coefficients(noise: Noise, size: Array) -> tuple[Array, Array]:
    """What multiplies the gradient, and the noise: ``drift`` and ``scale`` of the module docstring at ``sigma = 1``."""
    return {
        "langevin": (size, jnp.sqrt(2 * size)),
        "langevin_half": (size / 2, jnp.sqrt(size)),
        "ibc": (size / 2, size),
    }[noise]
