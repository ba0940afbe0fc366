"""What a smooth map of Gaussian noise can do with separate modes: some noise has to land between them.

``T: R^d -> R^Da`` with ``|T(x) - T(y)| <= lipschitz |x - y|`` (Euclidean norms) is fed with ``N(0, I_d)``. The K sets of valid actions,
one a mode, are at least ``gap`` apart and get ``masses``; the rest is bridge mass. Only ``delta = gap / lipschitz`` matters, and d does
not. A one-shot generator, a decoder, a flow or diffusion sampler is such a map; one that first draws a component, a code or a bin is not,
nor are Metropolis steps or resampling. Scalars and arrays that broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from ebgan_mdn_jax.types import require


def isoperimetric_sum(masses: ArrayLike, gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    """``sum_k Phi(Phi^-1(p_k) + gap / (2 lipschitz))`` over the last axis of ``masses [..., K]``: at most 1 for every such map.

    Preimages of the modes are delta apart, so their open delta/2-neighbourhoods are disjoint and have a total mass of at most 1; and a
    set of mass p grows at least as a half-space does, to ``Phi(Phi^-1(p) + r)`` (Gaussian isoperimetry: Borell 1975, Sudakov & Tsirelson
    1974). A mode of mass 0 adds nothing.

    Raises:
      InputError: if a mass is not in [0, 1], they add up to more than 1, the gap is negative or the constant not positive.
    """
    masses, delta = np.asarray(masses, float), _delta(gap, lipschitz)
    sound = np.all((masses >= 0) & (masses <= 1)) and np.all(masses.sum(-1) <= 1 + 1e-9)
    require(sound, "masses: expected probabilities that add up to 1 or less")
    return np.sum(special.ndtr(special.ndtri(masses) + delta[..., None] / 2), axis=-1)


def bridge_mass_bound(num_modes: int, gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    """Least bridge mass with K modes of equal mass: ``1 - K Phi(Phi^-1(1/K) - gap / (2 lipschitz))``.

    `isoperimetric_sum` solved for the common mass. For two modes it is ``erf(delta / (2 sqrt 2))``, and a clipped linear map attains it. Of
    unequal masses less is possible: a collapsed generator has no bridge.

    Raises:
      InputError: for fewer than 1 mode, a negative gap, or a constant that is not positive.
    """
    _check_modes(num_modes)
    return 1 - num_modes * special.ndtr(special.ndtri(1 / num_modes) - _delta(gap, lipschitz) / 2)


def least_lipschitz(num_modes: int, gap: ArrayLike, bridge_mass: ArrayLike) -> np.ndarray:
    """The steepness that a bridge mass of at most this takes with equal modes: ``gap / (2 (Phi^-1(1/K) - Phi^-1((1 - B)/K)))``.

    `bridge_mass_bound` solved for the constant; 0 for one mode or no gap, else infinite for no bridge mass.

    Raises:
      InputError: for fewer than 1 mode, a negative gap, or a mass that is not in [0, 1].
    """
    _check_modes(num_modes)
    gap, bridge_mass = np.asarray(gap, float), np.asarray(bridge_mass, float)
    require(np.all(gap >= 0) and np.all((bridge_mass >= 0) & (bridge_mass <= 1)), "expected gap >= 0, bridge in [0, 1]")
    with np.errstate(divide="ignore", invalid="ignore"):
        steepness = gap / (2 * (special.ndtri(1 / num_modes) - special.ndtri((1 - bridge_mass) / num_modes)))
    return np.where((gap == 0) | (num_modes == 1), 0.0, steepness)


def second_group_bound(mass: ArrayLike, gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    """Most mass of all modes of a second group, if a first one has ``mass``: ``Phi(-gap / lipschitz - Phi^-1(mass))``.

    The delta-neighbourhood of the first group's preimage misses the second's. For modes of unequal weight, split as one likes.

    Raises:
      InputError: if a mass is not in [0, 1], the gap is negative or the constant not positive.
    """
    mass, delta = np.asarray(mass, float), _delta(gap, lipschitz)
    require(np.all((mass >= 0) & (mass <= 1)), f"mass={mass}: expected a probability")
    return special.ndtr(-delta - special.ndtri(mass))


def modes_along_path(length: ArrayLike, gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    """Most modes that T visits along a segment of this length in noise space: ``floor(1 + lipschitz length / gap)``.

    The image of the segment is at most ``lipschitz length`` long, and every change of mode takes at least the gap.

    Raises:
      InputError: if the length is negative, or gap or constant not positive.
    """
    delta, length = _delta(gap, lipschitz), np.asarray(length, float)
    require(np.all(delta > 0) and np.all(length >= 0), "expected gap > 0 and length >= 0")
    return np.floor(1 + length / delta + 1e-9)  # a ratio of floats may fall short of the integer that it is


def line_bridge_mass(num_modes: int, gap: float, lipschitz: float) -> float:
    """Least bridge mass with one-dimensional noise and K modes of equal mass: all of K - 1 gaps of width delta lie in the line.

    Intervals of mass p in a row, each starting delta after the last one ends; p is the largest that fits. About ``delta K / (2 sqrt pi)``
    for many modes and a small delta: more dimensions can be much better (`bridge_mass_bound`).

    Raises:
      InputError: as `bridge_mass_bound`.
    """
    _check_modes(num_modes)
    delta = float(_delta(gap, lipschitz))

    if delta == 0 or num_modes == 1:
        return 0.0

    def left_over(log_mass):
        """Mass right of the last gap, less that of one mode: 0 where the row just fits."""
        mass = np.exp(log_mass)
        end = -special.ndtri((1 - mass) / 2) if num_modes % 2 else -delta / 2  # around 0 lies an interval, or a gap
        for _ in range(num_modes // 2 - 1):
            rest = special.ndtr(-end - delta) - mass
            if rest <= 0:
                return -mass
            end = -special.ndtri(rest)
        return special.ndtr(-end - delta) - mass

    lowest = -700.0  # less than any mass that matters
    if left_over(lowest) <= 0:
        return 1.0
    return 1 - num_modes * float(np.exp(optimize.brentq(left_over, lowest, -np.log(num_modes))))


def sector_bridge_mass(num_modes: int, gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    """Bridge mass of a map that exists, for modes at the corners of a regular K-gon with sides ``gap`` and noise in two dimensions.

    The plane is cut into K equal sectors; what lies at least delta/2 from a sector's edges goes to its corner. Sets of sectors m apart are
    ``delta sin(pi m / K) / sin(pi / K)`` apart, as their corners are, so this is Lipschitz and extends to the plane with the same constant
    (Kirszbraun 1934). A shrunken sector is ``{n_1.x >= delta/2, n_2.x >= delta/2}`` with unit normals of correlation ``-cos(2 pi / K)``,
    so its mass is ``Phi(-delta/2) - 2 T(delta/2, cot(pi/K))`` with Owen's function T (Owen 1956).

    Raises:
      InputError: for fewer than 2 modes, a negative gap, or a constant that is not positive.
    """
    _check_modes(num_modes, 2)
    half = _delta(gap, lipschitz) / 2
    return 1 - num_modes * (special.ndtr(-half) - 2 * special.owens_t(half, 1 / np.tan(np.pi / num_modes)))


def _delta(gap: ArrayLike, lipschitz: ArrayLike) -> np.ndarray:
    gap, lipschitz = np.asarray(gap, float), np.asarray(lipschitz, float)
    require(np.all(gap >= 0) and np.all(lipschitz > 0), f"gap={gap}, lipschitz={lipschitz}: expected >= 0 and > 0")
    return gap / lipschitz


def _check_modes(num_modes: int, least: int = 1) -> None:
    require(num_modes >= least, f"num_modes={num_modes}: needs at least {least}")
