"""Statistics over seeds against SciPy, closed forms and simulation."""

import itertools
import time

import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.evaluation import statistics

POINTS = ("mean", "iqm", "median", "min", "max")
INTERVALS = ("low", "high", "iqm_low", "iqm_high")


def normal(size, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, size)


def test_summary_by_hand():
    result = statistics.summarize([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 99.0])
    assert result["mean"] == pytest.approx(15.0)
    assert result["median"] == pytest.approx(3.5)
    assert result["iqm"] == pytest.approx(np.mean([2, 3, 4, 5]))  # the outlier does not count
    assert (result["min"], result["max"]) == (0.0, 99.0)
    assert result["low"] < result["mean"] < result["high"]
    assert result["iqm_low"] < result["iqm"] < result["iqm_high"] < result["high"]
    assert set(result) == {*POINTS, *INTERVALS}


@pytest.mark.parametrize("size", [2, 3, 5, 16, 20])
def test_intervals_of_one_stratum_are_those_of_scipy(size):
    """The same draws, so to rounding."""
    values = normal(size)
    result = statistics.summarize(values)
    for name, statistic in (("", np.mean), ("iqm_", lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis))):
        expected = scipy.stats.bootstrap(
            (values,), statistic, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        assert (result[f"{name}low"], result[f"{name}high"]) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert result["iqm"] == pytest.approx(scipy.stats.trim_mean(values, 0.25))


def exact_interval(values, strata, statistic):
    """The percentile interval of all equally likely stratified resamples."""
    groups = [[v for v, s in zip(values, strata, strict=True) if s == stratum] for stratum in sorted(set(strata))]
    choices = itertools.product(*(itertools.product(group, repeat=len(group)) for group in groups))
    return np.quantile([statistic(np.concatenate(choice)) for choice in choices], [0.025, 0.975])


@pytest.mark.parametrize("strata", [[0, 0, 0, 0, 1, 1, 1], [7, 2, 7, 2, 2, 7, 2], [0, 0, 0, 1, 1, 1]])
def test_stratified_intervals_are_those_of_all_resamples(strata):
    """A 2.5 % quantile of 40,000 draws has a standard error of 0.014 standard deviations of what is drawn: a fifth of the tolerance."""
    values = normal(len(strata)) + 5 * np.asarray(strata)
    result = statistics.summarize(values, strata, num_resamples=40_000)
    spread = np.std(values) / len(values) ** 0.5
    for name, statistic in (("", np.mean), ("iqm_", lambda x: scipy.stats.trim_mean(x, 0.25))):
        expected = exact_interval(values, strata, statistic)
        assert [result[f"{name}low"], result[f"{name}high"]] == pytest.approx(expected, abs=0.07 * spread)


def test_differences_between_strata_do_not_widen_the_interval():
    values, folds = normal(20), np.arange(20) % 5
    plain, shifted = statistics.summarize(values, folds), statistics.summarize(values + 100 * folds, folds)
    assert shifted["high"] - shifted["low"] == pytest.approx(plain["high"] - plain["low"])
    pooled = statistics.summarize(values + 100 * folds)
    assert pooled["high"] - pooled["low"] > 10 * (shifted["high"] - shifted["low"])


def test_strata_of_one_member_are_collapsed():
    values = normal(5)
    assert statistics.summarize(values, np.arange(5)) == statistics.summarize(values)
    # Two on folds 0 and 1, one each on folds 2 to 4: the last three are resampled together.
    seven = normal(7)
    assert statistics.summarize(seven, [0, 1, 2, 3, 4, 0, 1]) == statistics.summarize(seven, [0, 1, -1, -1, -1, 0, 1])
    # A lone one joins the smallest other stratum.
    assert statistics.summarize(seven, [0, 1, 1, 0, 0, 0, 3]) == statistics.summarize(seven, [0, -1, -1, 0, 0, 0, -1])


def test_summary_interval_agrees_with_the_central_limit():
    values = normal(400)
    result = statistics.summarize(values)
    half = 1.96 * values.std() / 20
    assert result["low"] == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert result["high"] == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert statistics.summarize(values) == result  # no hidden randomness


@pytest.mark.parametrize(
    ("per_fold", "folds", "coverage", "coverage_iqm"), [(16, 1, 0.92, 0.94), (8, 1, 0.88, 0.93), (4, 5, 0.89, 0.89)]
)
def test_intervals_cover_the_truth_as_often_as_the_docs_say(per_fold, folds, coverage, coverage_iqm):
    """1,000 experiments: a standard error of 0.01, so 4 of them allow one false failure in 16,000 (6 checks: in 2,600)."""
    strata = np.arange(per_fold * folds) % folds
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    for _ in range(1_000):
        result = statistics.summarize(rng.normal(strata * 3.0), strata, num_resamples=500)
        truth = 3.0 * (folds - 1) / 2
        hits += [result["low"] <= truth <= result["high"], result["iqm_low"] <= truth <= result["iqm_high"]]
    assert hits / 1_000 == pytest.approx([coverage, coverage_iqm], abs=0.04)


def test_summary_of_one_seed_has_no_interval():
    result = statistics.summarize([2.5])
    assert all(np.isnan(result[name]) for name in INTERVALS)
    assert {result[name] for name in POINTS} == {2.5}


def test_summary_of_equal_seeds_is_the_point():
    assert set(statistics.summarize(np.full(5, 100.0)).values()) == {100.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_seed_makes_every_statistic_nan(bad):
    assert all(np.isnan(v) for v in statistics.summarize([1.0, bad, 2.0]).values())


def test_a_summary_is_fast():
    """5 ms are the aim at 16 seeds; three times that allows for a busy machine."""
    values, seconds = normal(16), []
    for _ in range(7):
        start = time.perf_counter()
        statistics.summarize(values)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.015


def test_improvement_by_hand():
    ours, theirs = [1.0, 2.0, 3.0, 5.0], [0.0, 2.0, 4.0, 4.0]  # won, tied, lost, won
    higher = statistics.probability_of_improvement(ours, theirs, 1)
    lower = statistics.probability_of_improvement(ours, theirs, -1)
    assert (higher.value, lower.value) == (0.625, 0.375)
    assert (higher.low, higher.high) == pytest.approx((1 - lower.high, 1 - lower.low))


def test_improvement_pairs_seeds():
    """A seed that is hard for both tells nothing; all pairs (Mann-Whitney) would see almost a draw."""
    difficulty = normal(12) * 100
    paired = statistics.probability_of_improvement(difficulty + 1, difficulty, 1)
    unpaired = scipy.stats.mannwhitneyu(difficulty + 1, difficulty).statistic / 12**2
    assert paired == (1.0, 1.0, 1.0) and unpaired < 0.6
    shuffled = np.random.default_rng(0).permutation(difficulty)
    assert statistics.probability_of_improvement(difficulty + 1, shuffled, 1).value < 0.9


def test_improvement_interval_is_that_of_a_share():
    """Shares of n pairs are binomial in the resamples: 9 of 12 won, so quantiles of Binomial(12, 3/4)."""
    ours = np.array([1.0] * 9 + [-1.0] * 3)
    result = statistics.probability_of_improvement(ours, np.zeros(12), 1)
    expected = scipy.stats.binom(12, 0.75).ppf([0.025, 0.975]) / 12
    assert (result.value, result.low, result.high) == pytest.approx((0.75, *expected))


def test_improvement_resamples_within_strata():
    outcome, folds = np.array([1.0] * 6 + [-1.0] * 6), np.repeat([0, 1], 6)  # won on one fold, lost on the other
    assert statistics.probability_of_improvement(outcome, np.zeros(12), 1, folds) == (0.5, 0.5, 0.5)
    assert statistics.probability_of_improvement(outcome, np.zeros(12), 1).low < 0.3


def test_improvement_covers_the_truth():
    """Paired normals whose difference is N(0.5, 1): P = Phi(0.5). 1,000 experiments of 24 pairs cover it at least 90 % of the time:
    93 to 94 % do, 3 standard errors away, one false failure in 700; the seed is fixed."""
    rng, truth = np.random.default_rng(2), scipy.stats.norm.cdf(0.5)
    hits = 0
    for _ in range(1_000):
        shared = rng.normal(size=24) * 3
        ours, theirs = shared + rng.normal(0.5, 0.6, 24), shared + rng.normal(0, 0.8, 24)
        result = statistics.probability_of_improvement(ours, theirs, 1, num_resamples=500)
        hits += result.low <= truth <= result.high
    assert 0.9 <= hits / 1_000 <= 0.98


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_member_is_the_worst_outcome(direction, bad):
    improvement = statistics.probability_of_improvement
    assert improvement([bad, bad], [5.0, -5.0], direction).value == 0.0
    assert improvement([5.0, -5.0], [bad, bad], direction).value == 1.0
    assert improvement([bad, bad], [bad, np.nan], direction).value == 0.5
    thresholds = [-1e300, 1e300]
    profile = statistics.performance_profile([0.0, bad], thresholds, direction)
    assert sorted(profile.value) == [0.0, 0.5]


def test_one_pair_has_no_interval():
    result = statistics.probability_of_improvement([1.0], [0.0], 1)
    assert result.value == 1.0 and np.isnan(result.low) and np.isnan(result.high)


def test_profile_by_hand():
    thresholds = [0.0, 1.0, 1.5, 2.0, 9.0]
    at_least = statistics.performance_profile([1.0, 2.0, 2.0, 4.0], thresholds, 1)
    np.testing.assert_array_equal(at_least.value, [1.0, 1.0, 0.75, 0.75, 0.0])
    at_most = statistics.performance_profile([1.0, 2.0, 2.0, 4.0], thresholds, -1)
    np.testing.assert_array_equal(at_most.value, [0.0, 0.25, 0.25, 0.75, 1.0])
    one = statistics.performance_profile([1.0], thresholds, 1)
    assert list(one.value) == [1, 1, 0, 0, 0] and np.all(np.isnan(one.low)) and np.all(np.isnan(one.high))


def test_profile_band_is_binomial_at_each_threshold():
    """k of n members reach a threshold, so resamples are Binomial(n, k / n); at most a step off where a quantile is next to one."""
    values = np.arange(20.0)
    thresholds = np.linspace(-1, 20, 43)
    profile = statistics.performance_profile(values, thresholds, 1, num_resamples=20_000)
    share = np.mean(values[:, None] >= thresholds, axis=0)
    np.testing.assert_allclose(profile.value, share)
    for level, band in ((0.025, profile.low), (0.975, profile.high)):
        np.testing.assert_allclose(band, scipy.stats.binom(20, share).ppf(level) / 20, atol=0.0501)
        assert np.mean(np.isclose(band, scipy.stats.binom(20, share).ppf(level) / 20)) > 0.8


def test_profile_band_is_stratified():
    values, folds = np.array([0.0] * 4 + [1.0] * 4), np.repeat([0, 1], 4)
    profile = statistics.performance_profile(values, [0.5], 1, folds)
    assert [float(x[0]) for x in profile] == [0.5, 0.5, 0.5]
    assert statistics.performance_profile(values, [0.5], 1).low[0] < 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: statistics.summarize([1.0, 2.0], [0, 0, 0]),
        lambda: statistics.probability_of_improvement([1.0, 2.0], [1.0], 1),
        lambda: statistics.probability_of_improvement([1.0, 2.0], [1.0, 2.0], 0),
        lambda: statistics.performance_profile([1.0, 2.0], [1.0], 2),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError, match="strata has shape|do not form pairs|expected 1 "):
        call()
