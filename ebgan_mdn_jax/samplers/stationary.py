"""What chains of this package end up sampling, worked out without running them: in NumPy, float64.

An unadjusted Langevin chain does not sample ``exp(-E)`` but a law of its own, which depends on the step size. For a Gaussian that law has a
closed form; in one dimension, with a box that clips, it is the stationary vector of the transition matrix between the cells of a grid.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ebgan_mdn_jax.samplers import langevin


class Law(NamedTuple):
    """Mean and standard deviation of each dimension, ``[Da]``."""

    mean: np.ndarray
    std: np.ndarray


class Grid(NamedTuple):
    """Cells of the interval ``[low, high]``: ``edges [M + 1]``, ``points [M]`` in their middle."""

    edges: np.ndarray
    points: np.ndarray


def make_grid(low: float, high: float, num_cells: int = 1000) -> Grid:
    """Cells of equal width."""
    edges = np.linspace(low, high, num_cells + 1)
    return Grid(edges, (edges[1:] + edges[:-1]) / 2)


def law_of(points: np.ndarray, weights: np.ndarray) -> Law:
    """Of a distribution on ``points [M]`` with unnormalised ``weights [M]``."""
    weights = weights / weights.sum()
    mean = np.sum(weights * points)
    return Law(np.array([mean]), np.array([np.sqrt(np.sum(weights * (points - mean) ** 2))]))


def langevin_on_gaussian(
    mean: np.ndarray, covariance: np.ndarray, step_size: float, noise: langevin.Noise, noise_scale: float = 1.0
) -> Law:
    """Of a constant step on the energy of a Gaussian ``[Da], [Da, Da]``: along its principal axes by `langevin.gaussian_std`."""
    variances, axes = np.linalg.eigh(covariance)
    stds = np.asarray(langevin.gaussian_std(np.sqrt(variances), step_size, noise, noise_scale), np.float64)
    return Law(np.asarray(mean, np.float64), np.sqrt(np.sum(axes**2 * stds**2, axis=1)))


def langevin_on_grid(
    gradient: Callable, grid: Grid, step_size: float, noise: langevin.Noise, noise_scale: float = 1.0
) -> Law:
    """Of a constant step in a box of one dimension; ``gradient`` is dE/da of ``[M]``.

    Cells should be no wider than a third of a step's noise, so that rounding to them adds under 1 % to it. NaN where the chain cannot go
    from everywhere to everywhere, to the precision of floats, and so has no single stationary law.
    """
    drift, scale = (float(value) for value in langevin.coefficients(noise, step_size))
    transition = _moves(grid, grid.points - drift * gradient(grid.points), scale * noise_scale)
    # Solve p T = p with the last equation replaced by sum(p) = 1.
    system = transition.T - np.eye(len(grid.points))
    system[-1] = 1.0
    try:
        weights = np.linalg.solve(system, np.eye(len(grid.points))[-1])
    except np.linalg.LinAlgError:
        weights = np.full(len(grid.points), np.nan)
    return law_of(_places(grid), weights if weights.min() > -1e-6 else np.nan * weights)


def derivative_free_on_grid(
    energy: Callable, grid: Grid, num_iterations: int, sigma: float, shrink: float
) -> tuple[Law, Law]:
    """Of the population of `samplers.derivative_free`, and of one draw of it by ``softmax(-E)``, for infinitely many candidates."""
    weights, half = np.ones(len(grid.points)), (grid.edges[-1] - grid.edges[0]) / 2
    boltzmann = np.exp(-energy(grid.points))
    for index in range(num_iterations):
        weights = weights * boltzmann
        weights = (weights / weights.sum()) @ _moves(grid, grid.points, sigma * shrink**index * half)
    return law_of(_places(grid), weights), law_of(_places(grid), weights * boltzmann)


def _moves(grid: Grid, means: np.ndarray, scale: float) -> np.ndarray:
    """Probabilities ``[M, M]`` to go from a cell to a cell by a Gaussian step that the box clips."""
    edges = grid.edges.copy()
    edges[0], edges[-1] = -np.inf, np.inf
    return np.diff(stats.norm.cdf((edges[None] - means[:, None]) / scale), axis=1)


def _places(grid: Grid) -> np.ndarray:
    """Where the mass of each cell is taken to lie: at the ends of the box, where clipping puts it, and in the middle elsewhere."""
    return np.concatenate([grid.edges[:1], grid.points[1:-1], grid.edges[-1:]])
