"""How much must a latent say about the mode, and how much may it? For a CVAE at one ambiguous observation.

M is one of K modes with probabilities ``weights``, the action A determines M, ``q(z|A)`` is the encoder, ``p(z)`` the prior, D the
reconstruction loss and ``R = E KL(q(z|A) || p)``. Training minimises ``D + beta R``, and ``R = I(A; Z) + KL(q(z) || p)``. Rates in nats.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from ebgan_mdn_jax.types import require

Loss = Literal["squared", "absolute"]
_NOISE = np.linspace(-12.0, 12.0, 4001)  # quadrature over N(0, 1): the trapezoidal rule
_NOISE_MASS = np.exp(-0.5 * _NOISE**2) / np.sum(np.exp(-0.5 * _NOISE**2))


class TwoModeLaw(NamedTuple):
    """A code for two modes: ``rate`` R and ``information`` I in nats, chance of ``error``, prior mass on ``blended`` outputs."""

    rate: float
    information: float
    error: float
    blended: float


def mode_entropy(weights: ArrayLike) -> float:
    """``H(M)`` in nats.

    Raises:
      InputError: if ``weights [K]`` are not probabilities that add up to 1.
    """
    weights = _probabilities(weights)
    return float(np.sum(special.entr(weights)))


def fano_floor(weights: ArrayLike, error: float) -> float:
    """Least ``I(A; Z)``, in nats, with which the mode is decoded wrongly at most this often: ``H(M) - h(error) - error log(K - 1)``.

    M - A - Z - decoded mode is a Markov chain, so ``I(A; Z) >= H(M) - H(M | decoded)``, and Fano's inequality (Cover & Thomas 2006,
    theorem 2.10.1) bounds the last term. It is largest at an error of ``1 - 1/K``; beyond that, as where the difference is negative, 0.

    Raises:
      InputError: if the weights are no probabilities or the error is not in [0, 1].
    """
    weights = _probabilities(weights)
    require(0 <= error <= 1, f"error={error}: expected a probability")
    num_modes = np.count_nonzero(weights)
    error = min(error, 1 - 1 / num_modes)
    return max(0.0, mode_entropy(weights) - _binary_entropy(error) - error * np.log(max(num_modes - 1, 1)))


def rate_cap(gain: float, beta: float) -> float:
    """Most rate, and so most information, that is worth its price: ``R <= (D_0 - D_min) / beta``, in nats.

    D_0 is the loss of the best policy that ignores z, D_min that of the best one with ``beta = 0``, ``gain`` their difference, in the
    units that training adds up. Ignoring z costs D_0 and no rate, so a minimiser has ``D_min + beta R <= D + beta R <= D_0``.

    Raises:
      InputError: if beta is not positive or the gain negative.
    """
    require(beta > 0 and gain >= 0, f"gain={gain}, beta={beta}: expected gain >= 0 and beta > 0")
    return gain / beta


def beta_crit(gain: float, weights: ArrayLike, error: float) -> float:
    """The beta above which no minimiser decodes the mode with so few errors: `rate_cap` meets `fano_floor`; infinite if the floor is 0.

    An upper bound: of the two equal modes of `two_mode_law` an error of 0.1 needs a beta 2.7 (squared) or 3.8 times (absolute) smaller.

    Raises:
      InputError: as those two.
    """
    floor = fano_floor(weights, error)
    return rate_cap(gain, floor) if floor > 0 else np.inf


def collapse_betas(modes: ArrayLike, weights: ArrayLike) -> tuple[float, float]:
    """Where the rate becomes 0 with squared error, summed over dimensions: no later than the second, no earlier than the first beta.

    The first is ``2 lambda_max`` of the covariance between ``modes [K, Da]``: below it the policy that ignores z is a saddle, since a weak
    linear code along the first principal axis gains ``lambda m^2`` for ``beta m^2 / 2`` (as in probabilistic PCA, Lucas et al. 2019, arXiv
    1911.02469). The second is ``2 s^2`` with s^2 the least variance proxy with which the centred modes are sub-Gaussian: then
    ``|E[a|z] - E[a]|^2 <= 2 s^2 KL(p(a|z) || p(a))`` (Donsker & Varadhan), so D falls by at most ``2 s^2 I``; and rare posteriors reach
    that, so it is the exact point for encoders and priors of any form. For two equal modes both are ``gap^2 / 2``. They can differ: for
    unequal weights, or three or more modes all equally far from each other. A Gaussian code's rate then jumps to 0 between them; the best
    code's jumps at the second for equally far modes, and falls to 0 steadily for two unequal ones.

    s^2 is the highest of local searches from all modes' directions. Divide by the number of dimensions for mean squared error.

    Raises:
      InputError: if the weights are no probabilities, or not one for each mode.
    """
    weights, modes = _probabilities(weights), np.asarray(modes, float)
    require(modes.ndim == 2 and len(modes) == len(weights), f"{modes.shape} modes: expected [{len(weights)}, Da]")
    centred = modes - weights @ modes
    _, deviations, axes = np.linalg.svd(np.sqrt(weights)[:, None] * centred, full_matrices=False)
    local, points = 2 * deviations[0] ** 2, centred @ axes.T
    if local == 0:
        return 0.0, 0.0
    points = points[:, deviations > 1e-9 * deviations[0]] / deviations[0]

    def negative_proxy(theta):
        norm, exponents = theta @ theta, points @ theta
        if not 1e-6 < norm < 1e6:  # the limit of small theta is the first beta, that of large ones 0
            return -float(norm <= 1e-6), np.zeros_like(theta)
        tilted = weights * np.exp(exponents - exponents.max())
        log_mgf = np.log(tilted.sum()) + exponents.max()
        slope = points.T @ (tilted / tilted.sum())
        return -2 * log_mgf / norm, -2 * slope / norm + 4 * log_mgf * theta / norm**2

    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    directions = (points / np.maximum(lengths, 1e-12))[lengths[:, 0] > 1e-6]
    starts = [scale * sign * direction for direction in directions for sign in (1, -1) for scale in (1, 3)]
    best = max(-optimize.minimize(negative_proxy, start, jac=True, method="L-BFGS-B").fun for start in starts)
    return float(local), float(local * max(best, 1.0))


def two_mode_law(half_gap: float, beta: float, loss: Loss = "squared") -> TwoModeLaw:
    """The exact minimum of ``D + beta R`` for two equal modes at ``+-half_gap``, a Gaussian encoder ``N(+-m, s^2)``, prior N(0, 1).

    D depends on the code by its signal-to-noise ratio ``g = (m/s)^2`` alone, and at a given g the least rate is ``log(1 + g) / 2``, with
    ``s^2 = 1 / (1 + g)``. With mu for half_gap and x ~ N(0, 1):

    * squared error, ``D = mu^2 E[1 - tanh(g + sqrt(g) x)]``: g solves ``beta = 2 mu^2 (1 + g) E[sech(g + sqrt(g) x)^4]``; the rate is 0
      from ``beta = 2 mu^2`` on, a continuous transition. (D is the MMSE of a binary input, its derivative that of Guo et al. 2005,
      "Mutual information and minimum mean-square error in Gaussian channels".)
    * absolute error, ``D = 2 mu Phi(-sqrt(g))``: ``beta = 2 mu phi(sqrt(g)) (1 + g) / sqrt(g)``, which falls in g and has a solution for
      every beta: no transition. For beta above 3 mu to within 4 %, ``m = 2 phi(0) mu / beta``, ``R = (mu / beta)^2 / pi``, error
      ``1/2 - mu / (pi beta)``.

    For actions of several dimensions half_gap is half the distance of the modes (squared error, summed) or the sum, for mean absolute
    error the mean, of half their differences. A mode is decoded wrongly if z has the other's sign. An output is blended if it is nearer
    to 0 than 0.9 half_gap, for z from the prior.

    Raises:
      InputError: if half_gap or beta is not positive, or for another loss.
    """
    _check_two_modes(half_gap, beta, loss)

    def price(root):  # the beta at which this square root of g is stationary
        if loss == "absolute":
            return 2 * half_gap * np.exp(-0.5 * root**2) / np.sqrt(2 * np.pi) * (1 + root**2) / root
        decay = np.exp(-np.abs(root**2 + root * _NOISE))
        return 2 * half_gap**2 * (1 + root**2) * np.sum(_NOISE_MASS * (2 * decay / (1 + decay**2)) ** 4)

    if loss == "squared" and beta >= 2 * half_gap**2:
        return TwoModeLaw(0.0, 0.0, 0.5, 1.0)
    low, high = (1e-12, 20.0) if loss == "absolute" else (0.0, 12.0)
    require(price(high) < beta, f"beta={beta}: too small for half_gap={half_gap} to be told from 0")
    root = optimize.brentq(lambda root: price(root) - beta, low, high, xtol=1e-14)
    information = np.log(2) - np.sum(_NOISE_MASS * np.logaddexp(0, -2 * (root**2 + root * _NOISE)))
    reach = np.arctanh(0.9) / (root * np.sqrt(1 + root**2)) if root > 0 else np.inf
    blended = 2 * special.ndtr(reach) - 1 if loss == "squared" else 0.0
    return TwoModeLaw(0.5 * float(np.log1p(root**2)), float(information), float(special.ndtr(-root)), float(blended))


def two_mode_rate_distortion(half_gap: float, beta: float, loss: Loss = "squared") -> TwoModeLaw:
    """The same minimum for the best encoder of any form, so a lower bound on ``D + beta R``. All z are then equally telling.

    ``q(z)`` can equal the prior whatever ``t = P(wrong | z)`` is, so ``R = I = log 2 - h(t)``, and D is ``4 mu^2 t (1 - t)`` or ``2 mu t``:
    the rate-distortion function. ``t = (1 - u) / 2`` with ``u = tanh(2 mu^2 u / beta)`` for squared error (the mean field of an Ising
    magnet, 0 from ``beta = 2 mu^2`` on), ``t = 1 / (1 + exp(2 mu / beta))`` for absolute error.

    Raises:
      InputError: as `two_mode_law`.
    """
    _check_two_modes(half_gap, beta, loss)
    if loss == "absolute":
        error = special.expit(-2 * half_gap / beta)
    elif beta >= 2 * half_gap**2:
        error = 0.5
    else:
        coupling = 2 * half_gap**2 / beta
        # u = tanh(x) with x = coupling tanh(x), and 1 - u keeps its digits.
        x = optimize.brentq(lambda x: coupling * np.tanh(x) - x, 1e-9 + 0.5 * np.sqrt(1 - 1 / coupling), coupling)
        error = special.expit(-2 * x)
    rate = float(np.log(2)) - _binary_entropy(error)
    return TwoModeLaw(rate, rate, float(error), float(loss == "squared" and 1 - 2 * error < 0.9))


def prior_mass_interval(posterior_mass: float, marginal_kl: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the prior mass ``p(V)`` of a set of codes lies, from its mass ``q(V)`` under the aggregate posterior and ``KL(q(z) || p(z))``.

    V may be the codes that decode to a valid action, or to one mode; the KL is ``R - I``, in nats. Two intervals: Pinsker's,
    ``|p(V) - q(V)| <= sqrt(KL / 2)``, and the tighter one by data processing, ``KL(Bernoulli(q(V)) || Bernoulli(p(V))) <= KL``. Both follow
    from mapping z to whether it is in V, which loses information.

    Raises:
      InputError: if the mass is not in [0, 1] or the KL negative.
    """
    q = posterior_mass
    require(0 <= q <= 1 and marginal_kl >= 0, f"mass {q}, KL {marginal_kl}: expected a probability and a KL >= 0")
    width = float(np.sqrt(marginal_kl / 2))

    def least(q):
        def excess(p):
            return special.rel_entr(q, p) + special.rel_entr(1 - q, 1 - p) - marginal_kl

        return optimize.brentq(excess, 1e-300, q, xtol=1e-15) if q > 0 and excess(1e-300) > 0 else 0.0

    return (max(0.0, q - width), min(1.0, q + width)), (least(q), 1 - least(1 - q))


def _probabilities(weights: ArrayLike) -> np.ndarray:
    weights = np.asarray(weights, float)
    sound = weights.ndim == 1 and weights.size > 0 and np.all(weights >= 0) and abs(weights.sum() - 1) < 1e-6
    require(sound, f"weights={weights}: expected probabilities that add up to 1")
    return weights


def _binary_entropy(p: float) -> float:
    return float(special.entr(p) + special.entr(1 - p))


def _check_two_modes(half_gap: float, beta: float, loss: str) -> None:
    require(half_gap > 0 and beta > 0, f"half_gap={half_gap}, beta={beta}: both must be positive")
    require(loss in ("squared", "absolute"), f"loss={loss!r}: expected 'squared' or 'absolute'")
