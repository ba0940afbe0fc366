"""Statistics over members (seeds), on the host."""

import numpy as np
import scipy.stats


def summarize(values: np.ndarray, num_resamples: int = 10_000) -> dict[str, float]:
    """Mean, interquartile mean and median of a metric over seeds, with a 95 % interval of the mean.

    The interval is the percentile bootstrap with a fixed seed, so it is a pure function of the values. It is a point where all values
    agree, and undefined (NaN) for a single seed.

    Args:
      values: ``[S]``, one value per seed; non-finite values are an outcome too and make every statistic NaN.
      num_resamples: bootstrap resamples.

    Returns:
      ``mean, iqm, median, low, high, min, max``.
    """
    values = np.asarray(values, np.float64)
    names = ("mean", "iqm", "median", "low", "high", "min", "max")
    if not np.all(np.isfinite(values)):
        return dict.fromkeys(names, float("nan"))
    if values.size == 1:
        low = high = np.nan
    elif np.ptp(values) == 0:
        low = high = values[0]
    else:
        interval = scipy.stats.bootstrap(
            (values,), np.mean, n_resamples=num_resamples, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        low, high = interval.low, interval.high
    # 25 % trimmed on each side: the mean of the middle half (Agarwal et al. 2021).
    middle = scipy.stats.trim_mean(values, 0.25)
    result = (values.mean(), middle, np.median(values), low, high, values.min(), values.max())
    return dict(zip(names, map(float, result), strict=True))
