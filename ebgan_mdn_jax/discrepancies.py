r"""How far two samples ``[N, D]`` are from each other, as one number that training can lower.

The Sinkhorn divergence (Genevay et al. 2018; Feydy et al. 2019, arXiv 1810.08278) of laws :math:`\alpha, \beta` on points x and y is

.. math:: S = OT(\alpha, \beta) - \tfrac12 OT(\alpha, \alpha) - \tfrac12 OT(\beta, \beta), \qquad
   OT = \min_\pi \mathbb E_\pi \tfrac12\|x - y\|^2 + \varepsilon\, \mathrm{KL}(\pi\,\|\,\alpha \otimes \beta)

over couplings :math:`\pi`, with :math:`\varepsilon` the square of the ``blur``, the distance below which points are one. It goes from half
the squared Wasserstein distance (no blur) to half the squared distance of the means, and is 0 for equal samples only. The dual potentials
solve :math:`f_i = -\varepsilon \log \sum_j \beta_j e^{(g_j - c_{ij})/\varepsilon}` and likewise g, one from the other.
"""

import math

import chex
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array


def mmd(codes: Array, draws: Array) -> Array:
    """Squared maximum mean discrepancy of two samples ``[N, Dz]``, unbiased, so that it may be negative (Gretton et al. 2012, eq. 3).

    The kernel is the sum of ``c / (c + d^2)`` of the distance d, for c of 0.5, 1, 2 and 4 times ``2 Dz``, the mean squared distance of two
    draws of a standard normal law.
    """
    chex.assert_equal_shape([codes, draws])
    num, dim = codes.shape

    def kernel(a, b):
        squared = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
        return sum(scale * 2 * dim / (scale * 2 * dim + squared) for scale in (0.5, 1.0, 2.0, 4.0))

    def within(a):  # pairs of two different ones; of one with itself the kernel is 4
        return (jnp.sum(kernel(a, a)) - 4.0 * num) / (num * (num - 1))

    return within(codes) + within(draws) - 2.0 * jnp.mean(kernel(codes, draws))


def sinkhorn(codes: Array, draws: Array, blur: Array | float, num_iterations: int = 24) -> Array:
    """Sinkhorn divergence of two samples ``[N, Dz]`` of equal size, with a gradient for ``codes`` alone.

    Potentials are iterated in the log domain, those of a sample to itself as the mean of the last two; epsilon falls from the largest cost
    to ``blur^2`` in the first half of the iterations. The gradient holds the last potentials constant (Feydy et al., section 3.2).
    """
    chex.assert_equal_shape([codes, draws])

    def cost(a, b):
        return 0.5 * jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)

    def update(costs, potential, epsilon):
        """Soft minimum ``[N]`` over the second axis of costs ``[N, N]`` less the potential ``[N]`` there."""
        terms = (potential[None] - costs) / epsilon
        return -epsilon * (jax.nn.logsumexp(terms, axis=1) - math.log(len(potential)))

    fixed, draws = jax.lax.stop_gradient((codes, draws))
    across, within_codes, within_draws = cost(fixed, draws), cost(fixed, fixed), cost(draws, draws)
    least = jnp.asarray(blur, codes.dtype) ** 2
    most = jnp.maximum(jnp.max(across), least)

    def iterate(i, potentials):
        left = jnp.maximum(0.0, 1.0 - i / (num_iterations // 2))
        epsilon = least * (most / least) ** left.astype(least.dtype)
        of_codes, of_draws, own_codes, own_draws = potentials
        of_codes = update(across, of_draws, epsilon)
        of_draws = update(across.T, of_codes, epsilon)
        own_codes = 0.5 * (own_codes + update(within_codes, own_codes, epsilon))
        own_draws = 0.5 * (own_draws + update(within_draws, own_draws, epsilon))
        return of_codes, of_draws, own_codes, own_draws

    start = (jnp.zeros_like(codes[:, 0]),) * 4
    of_codes, of_draws, own_codes, own_draws = jax.lax.fori_loop(0, num_iterations, iterate, start)
    codes_apart = update(cost(codes, draws), of_draws, least) - update(cost(codes, fixed), own_codes, least)
    draws_apart = update(across.T, of_codes, least) - own_draws
    return jnp.mean(codes_apart) + jnp.mean(jax.lax.stop_gradient(draws_apart))
