"""Statistics over members (seeds), on the host: how good, how sure, how often better.

Intervals are 95 % percentile intervals of the stratified bootstrap (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", arXiv 2108.13264): members are drawn again, with replacement, within their stratum. Strata are what the seeds do
not choose: the fold of a recording that a member held out, or the task where tasks are pooled. What differs between strata then does
not widen the interval. Resampling starts from a fixed seed, so everything here is a pure function of the values.

A stratum of one member shows no spread of its own. Such strata are collapsed into one (a single such stratum joins the smallest other),
the survey statistician's remedy (Cochran 1977, "Sampling Techniques", section 5A.12), which errs on the wide side; one seed on each of 5
folds is thus resampled as 5 seeds. Otherwise the bootstrap errs on the narrow side where members are few: it understates the variance
of a mean by the factor 1 - 1/n for n members per stratum. In simulations with normal values, the interval of the mean covers the truth
92 % of the time with 16 members, 88 % with 8, 83 % with 5; with 5 folds, 89 % with 4 members on each and 77 % with 2.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_SEED = 0
_LEVELS = (0.025, 0.975)


class Estimate(NamedTuple):
    """A value, or an array of them, and its 95 % interval; ``low`` and ``high`` are NaN where there is but one member."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def summarize(values: ArrayLike, strata: ArrayLike | None = None, num_resamples: int = 10_000) -> dict[str, float]:
    """Mean, interquartile mean and median of a metric over seeds, with 95 % intervals of the first two.

    An interval is a point where all values agree, and undefined (NaN) for a single seed.

    Args:
      values: ``[S]``, one value per seed; non-finite values are an outcome too and make every statistic NaN.
      strata: ``[S]`` integers, the stratum of each value; None: all belong to one.
      num_resamples: bootstrap resamples.

    Returns:
      ``mean, iqm, median``, ``low, high`` of the mean, ``min, max``, ``iqm_low, iqm_high``, in the unit of the values.
    """
    values = np.asarray(values, np.float64)
    names = ("mean", "iqm", "median", "low", "high", "min", "max", "iqm_low", "iqm_high")
    if not np.all(np.isfinite(values)):
        return dict.fromkeys(names, float("nan"))
    if values.size == 1:
        low = high = iqm_low = iqm_high = np.nan
    elif np.ptp(values) == 0:
        low = high = iqm_low = iqm_high = values[0]
    else:
        resampled = values[_draws(values.size, strata, num_resamples)]
        low, high = np.quantile(resampled.mean(1), _LEVELS)
        iqm_low, iqm_high = np.quantile(_interquartile_mean(resampled), _LEVELS)
    middle = _interquartile_mean(values)
    result = (values.mean(), middle, np.median(values), low, high, values.min(), values.max(), iqm_low, iqm_high)
    return dict(zip(names, map(float, result), strict=True))


def probability_of_improvement(
    values: ArrayLike, baseline: ArrayLike, direction: int, strata: ArrayLike | None = None, num_resamples: int = 10_000
) -> Estimate:
    """Probability that a member is better than the baseline's member of the same seed; a tie counts 1/2.

    The estimate is the share of pairs that are won. Agarwal et al. (2021) compare every run with every run of the baseline instead (the
    Mann-Whitney statistic): how often is one better than an independent other? Here members of one seed share the fold that they hold
    out and the noise they are evaluated with, so the question is how often the method is better when all else is equal, and strata
    that differ in difficulty do not blur it. Without anything shared both estimate the same number, and all pairs with less variance.

    Where every pair is won the interval is the point 1, as the bootstrap has it; n pairs do not exclude a probability as low as
    0.025^(1/n), 0.79 for 16.

    Args:
      values: ``[S]``, one per seed. A value that is not finite (a diverged member) is the worst outcome: it loses to every finite one and
        ties with another such.
      baseline: ``[S]``, of the same seeds in the same order.
      direction: 1 if higher is better, -1 if lower.
      strata: ``[S]`` integers, the stratum of each pair; None: all belong to one.
      num_resamples: bootstrap resamples of pairs.
    """
    ours, theirs = _goodness(values, direction), _goodness(baseline, direction)
    if ours.shape != theirs.shape:
        raise ValueError(f"{ours.size} values and {theirs.size} of the baseline do not form pairs")
    outcome = np.where(ours == theirs, 0.5, ours > theirs)
    if outcome.size == 1:
        return Estimate(outcome[0], np.nan, np.nan)
    low, high = np.quantile(outcome[_draws(outcome.size, strata, num_resamples)].mean(1), _LEVELS)
    return Estimate(outcome.mean(), low, high)


def performance_profile(
    values: ArrayLike,
    thresholds: ArrayLike,
    direction: int,
    strata: ArrayLike | None = None,
    num_resamples: int = 2_000,
) -> Estimate:
    """Fraction of members that are as good as each threshold or better, with a pointwise bootstrap band.

    Args:
      values: ``[S]``, one per seed; one that is not finite (a diverged member) reaches no threshold, and counts.
      thresholds: ``[T]``, finite.
      direction: 1 if higher is better (members at or above a threshold count), -1 if lower (at or below).
      strata: ``[S]`` integers, the stratum of each value; None: all belong to one.
      num_resamples: bootstrap resamples.

    Returns:
      Fractions and their band, each ``[T]``.
    """
    reached = _goodness(values, direction)[:, None] >= direction * np.asarray(thresholds, np.float64)
    fraction = reached.mean(0)
    size = len(reached)
    if size == 1:
        return Estimate(fraction, *np.full((2, fraction.size), np.nan))
    draws = _draws(size, strata, num_resamples) + size * np.arange(num_resamples)[:, None]
    counts = np.bincount(draws.ravel(), minlength=num_resamples * size).reshape(num_resamples, size)
    # Between two values in a row the same members reach every threshold: at most S + 1 columns differ.
    columns, place = np.unique(reached, axis=1, return_inverse=True)
    low, high = np.quantile(counts @ columns.astype(np.float64) / size, _LEVELS, axis=0)
    return Estimate(fraction, low[place], high[place])


def _interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without a quarter (rounded down) of the members at each end."""
    size = values.shape[-1]
    cut = size // 4
    return np.sort(values, axis=-1)[..., cut : size - cut].mean(-1)


def _goodness(values: ArrayLike, direction: int) -> np.ndarray:
    """Values turned so that higher is better; what is not finite becomes minus infinity."""
    if direction not in (1, -1):
        raise ValueError(f"direction={direction}: expected 1 (higher is better) or -1 (lower is better)")
    values = direction * np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, -np.inf)


def _draws(size: int, strata: ArrayLike | None, num_resamples: int) -> np.ndarray:
    """Indices ``[num_resamples, size]`` of members drawn with replacement within their stratum."""
    strata = np.zeros(size, int) if strata is None else _collapse(np.asarray(strata))
    if strata.shape != (size,):
        raise ValueError(f"strata has shape {strata.shape}, expected ({size},)")
    rng = np.random.default_rng(_SEED)
    draws = np.empty((num_resamples, size), np.intp)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        draws[:, members] = members[rng.integers(0, members.size, (num_resamples, members.size))]
    return draws


def _collapse(strata: np.ndarray) -> np.ndarray:
    """The same strata, with those of one member made one; a single such stratum joins the smallest other."""
    _, index, counts = np.unique(strata, return_inverse=True, return_counts=True)
    merged = counts == 1
    if merged.sum() == 1 and counts.size > 1:
        merged[np.argmin(np.where(merged, strata.size, counts))] = True
    return np.where(merged[index], -1, index)
