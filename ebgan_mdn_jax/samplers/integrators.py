r"""From noise to actions: Euler's method on a velocity, and denoising diffusion implicit models on a prediction of noise.

Both are maps of their start, differentiable through all steps, and act on whole arrays ``[..., B, Da]`` whose rows do not interact.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.types import Array, PRNGKey, require

Schedule = Literal["cosine", "linear"]


def euler(velocity: Callable, start: Array, num_steps: int) -> Array:
    """Solve ``dx/dt = velocity(x, t)`` from t = 0 to 1 in equal steps; t is a scalar."""
    require(num_steps >= 1, f"num_steps={num_steps}: needs at least 1")

    def step(index, x):
        return x + velocity(x, index.astype(x.dtype) / num_steps) / num_steps

    return jax.lax.fori_loop(0, num_steps, step, start)


def alpha_bars(schedule: Schedule, num_steps: int) -> np.ndarray:
    r"""Share of the data's variance that is left at times 0 to T, ``[T + 1]``, from 1 down: NumPy, float64.

    "cosine" (Nichol & Dhariwal 2021, eq. 17): :math:`\bar\alpha_t = f(t)/f(0)`, :math:`f(t) = \cos^2\frac{t/T + s}{1 + s}\frac\pi2`,
    s = 0.008, of whose steps none takes more than 99.9 %. "linear" (Ho et al. 2020): :math:`\beta_t` from 1e-4 to 0.02 in 1,000 steps, and
    with fewer steps larger in proportion, at most 0.999.

    Raises:
      InputError: for another schedule.
    """
    require(schedule in get_args(Schedule), f"schedule={schedule!r}: expected one of {', '.join(get_args(Schedule))}")
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, num_steps) * 1000 / num_steps
    else:
        left = np.cos((np.arange(num_steps + 1) / num_steps + 0.008) / 1.008 * np.pi / 2) ** 2
        betas = 1 - left[1:] / left[:-1]
    return np.concatenate([np.ones(1), np.cumprod(1 - np.minimum(betas, 0.999))])


def ddim(
    key: PRNGKey,
    noise_fn: Callable,
    start: Array,
    alpha_bar: np.ndarray,
    num_steps: int,
    eta: float = 0.0,
    bound: float | None = None,
) -> Array:
    r"""Denoise from time T to 0 (Song et al. 2021, eq. 12), in ``num_steps`` steps spread evenly over the T of training.

    With :math:`e = \epsilon(x_t, t)` and :math:`\hat x_0 = (x_t - \sqrt{1 - \bar\alpha_t}\, e) / \sqrt{\bar\alpha_t}` a step goes to

    .. math::
      \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, e + \sigma z, \quad
      \sigma^2 = \eta^2\, \frac{1 - \bar\alpha_s}{1 - \bar\alpha_t} \Big(1 - \frac{\bar\alpha_t}{\bar\alpha_s}\Big)

    Args:
      key: for z, which is not drawn at ``eta = 0``.
      noise_fn: ``(x, t) -> e``, with t a whole number from 1 to T.
      start: standard normal draws.
      alpha_bar: see `alpha_bars`.
      num_steps: at most T.
      eta: 0 is deterministic, 1 is ancestral sampling of the diffusion (Ho et al. 2020) with the smaller of its two variances.
      bound: largest absolute value of an element of :math:`\hat x_0`, or None; what is cut off then counts as noise, e.

    Raises:
      InputError: if there are more steps than in training, or none.
    """
    most = len(alpha_bar) - 1
    require(1 <= num_steps <= most, f"num_steps={num_steps}: needs 1 to the {most} steps of training")
    times = np.round(np.linspace(most, 0, num_steps + 1)).astype(int)
    now, after = alpha_bar[times[:-1]], alpha_bar[times[1:]]
    sigma = eta * np.sqrt((1 - after) / (1 - now) * (1 - now / after))
    rows = jnp.asarray(np.stack([now, after, sigma], axis=1), start.dtype)

    def step(x, of_step):
        time, (now, after, sigma) = of_step
        noise = noise_fn(x, time)
        clean = (x - jnp.sqrt(1 - now) * noise) / jnp.sqrt(now)
        if bound is not None:
            clean = jnp.clip(clean, -bound, bound)
            noise = (x - jnp.sqrt(now) * clean) / jnp.sqrt(1 - now)
        x = jnp.sqrt(after) * clean + jnp.sqrt(jnp.maximum(1 - after - sigma**2, 0)) * noise
        if eta:
            x = x + sigma * jax.random.normal(jax.random.fold_in(key, time), x.shape, x.dtype)
        return x, ()

    return jax.lax.scan(step, start, (jnp.asarray(times[:-1]), rows))[0]
