"""Probability of improvement, aggregates and profiles from finished runs, with the numbers of hand-made seeds."""

import csv
import io
import shutil

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("pyarrow")

from test_plotting import plane_arrays
from test_report import write_run
from test_run import call

from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.types import InputError
from experiments import comparisons, report, summary

TMC = "tmc@S=10,tau=0.05"


def lines_of(path, task=None):
    lines = comparisons.lines_of(summary.load_runs(path)[0])
    return [line for line in lines if task in (None, line.task)]


@pytest.fixture
def sweep(tmp_path):
    """Two tasks; on the first a grid, a variant and a seed that diverged."""
    nan = float("nan")
    seeds = {"seeds": 6}
    write_run(tmp_path / "hyperbola-mdn", metrics={TMC: [10, 20, 30, 40, 50, 60], "kl": [1, 2, 3, 4, 5, 6]}, **seeds)
    write_run(
        tmp_path / "hyperbola-mdn-wide",
        metrics={TMC: [11, 21, 31, 41, 51, 61], "kl": [1, 1, 1, 4, 9, nan]},
        **seeds,
    )
    grid = {"w": [0.0, 1.0]}
    write_run(tmp_path / "hyperbola-ebgan_mdn", method="ebgan_mdn", hyper=grid, metrics={TMC: range(12)}, **seeds)
    for method, shift in (("mdn", 0), ("ebgan_mdn", 5)):
        values = {TMC: np.arange(6) + 90.0 - shift, "precision": np.arange(6)}
        write_run(tmp_path / f"lines-{method}", "lines", method, metrics=values, **seeds)
    return tmp_path


def test_improvement_by_seed(sweep):
    table = comparisons.improvement_table(lines_of(sweep, "hyperbola"), "mdn")
    assert table.header == ["method", f"{TMC} \u2191", "kl \u2193"]
    cells = dict(table.rows)
    assert list(cells) == ["mdn (wide)", "ebgan_mdn, w=0", "ebgan_mdn, w=1"]
    tmc, kl = cells["mdn (wide)"]
    assert (tmc.value, tmc.interval, tmc.best) == ("1.00", "[1.00, 1.00]", True)
    # Ties with seeds 0 and 3, wins with 1 and 2, losses with 4 and with 5, which diverged.
    expected = statistics.probability_of_improvement([1, 1, 1, 4, 9, np.nan], [1, 2, 3, 4, 5, 6], -1)
    assert (kl.value, kl.interval, kl.best) == ("0.50", f"[{expected.low:.2f}, {expected.high:.2f}]", False)
    assert kl.details == "6 pairs; diverged: 1 here, 0 of mdn"
    assert cells["ebgan_mdn, w=0"][0].value == "0.00" and cells["ebgan_mdn, w=0"][1].value == "\u2013"


def test_seeds_are_matched_wherever_they_stand(tmp_path):
    write_run(tmp_path / "a", metrics={"kl": [1, 2, 3]})
    write_run(tmp_path / "b", method="ebgan_mdn", metrics={"kl": [0, 1, 2]})
    ours, theirs = lines_of(tmp_path)
    ours = ours._replace(seeds=[2, 0, 1], metrics={"kl": ours.metrics["kl"][[2, 0, 1]]})
    (row,) = comparisons.improvement_table([ours, theirs], "mdn").rows
    assert row[1][0].value == "1.00" and not row[1][0].best  # three pairs cannot exclude 1/2


def test_folds_are_strata(tmp_path):
    values = np.arange(10.0) % 5
    write_run(tmp_path / "a", "geyser", metrics={"heldout_nll": np.zeros(10)}, seeds=10)
    write_run(tmp_path / "b", "geyser", "ebgan_mdn", metrics={"heldout_nll": values - 2}, seeds=10)
    (row,) = comparisons.improvement_table(lines_of(tmp_path), "a").rows
    assert (row[1][0].value, row[1][0].interval) == ("0.50", "[0.50, 0.50]")  # it is the fold that decides


@pytest.mark.parametrize(
    ("baseline", "meant"),
    [("mdn", "mdn"), ("mdn (wide)", "mdn (wide)"), ("hyperbola-mdn-wide", "mdn (wide)"), ("ebgan_mdn, w=1", "ebgan_mdn, w=1")],
)  # fmt: skip
def test_a_baseline_is_named_by_line_method_or_run(sweep, baseline, meant):
    table = comparisons.improvement_table(lines_of(sweep, "hyperbola"), baseline)
    assert meant not in dict(table.rows) and len(table.rows) == 3


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("gan", r"--baseline=gan: hyperbola has no such line; expected one of 'mdn'; 'mdn \(wide\)'; 'ebgan_mdn, w=0'; 'ebgan_mdn, w=1'"),
        ("ebgan_mdn", "hyperbola has several lines of it; give one of 'ebgan_mdn, w=0'; 'ebgan_mdn, w=1'"),
        ("hyperbola-mdn", "lines has no such line"),
    ],
)  # fmt: skip
def test_baselines_that_are_not_there_are_refused(sweep, baseline, message):
    with pytest.raises(InputError, match=message):
        report.report(sweep, baseline)
    assert not (sweep / "report.html").exists() and not (sweep / "figures").exists()


def test_seeds_that_do_not_match_are_refused(tmp_path, capsys):
    write_run(tmp_path / "a", metrics={"kl": [1, 2, 3]}, first_seed=2)
    write_run(tmp_path / "b", method="ebgan_mdn", metrics={"kl": [1, 2, 3]})
    assert call(report.main, f"--workdir={tmp_path}", "--baseline=mdn") == 2
    error = capsys.readouterr().err
    assert "on hyperbola, ebgan_mdn has the seeds 0 to 2 and mdn 2 to 4; train both with the same --seeds" in error
    assert len(error.splitlines()) == 1 and not (tmp_path / "report.html").exists()
    with pytest.raises(InputError, match="has no other line to compare with"):
        report.report(tmp_path / "a", "mdn")


def test_aggregate_pools_tasks(sweep):
    table = comparisons.aggregate_table(lines_of(sweep))
    # kl has no fixed range, precision is on one task only, and no other line is on both.
    assert table.header == ["method", f"{TMC} \u2191"]
    ((name, (cell,)),) = table.rows
    values = np.concatenate([np.arange(10, 70, 10), np.arange(6) + 90.0])
    expected = statistics.summarize(values, [0] * 6 + [1] * 6)
    assert (name, cell.value) == ("mdn", f"{expected['iqm']:.0f}")
    assert cell.interval == f"[{expected['iqm_low']:.0f}, {expected['iqm_high']:.0f}]"
    assert f"mean {expected['mean']:.0f} [{expected['low']:.0f}, {expected['high']:.0f}]" in cell.details
    assert "hyperbola, lines together (n=12)" in table.caption


def test_no_aggregate_without_a_shared_metric(tmp_path, sweep):
    assert comparisons.aggregate_table(lines_of(sweep, "hyperbola")) is None
    lines = lines_of(sweep)
    other = [line._replace(metrics={"tmc@S=3": line.metrics[TMC]}) if line.task == "lines" else line for line in lines]
    assert comparisons.aggregate_table(other) is None


def test_profiles_are_exact_at_every_value(sweep):
    panels = comparisons.profiles(lines_of(sweep, "hyperbola"))
    assert [(panel.metric, panel.direction) for panel in panels] == [(TMC, 1), ("kl", -1)]
    kl = panels[1]
    np.testing.assert_array_equal(kl.thresholds, [1, 2, 3, 4, 5, 6, 9])
    np.testing.assert_allclose(kl.lines["mdn (wide)"].value, [3 / 6, 3 / 6, 3 / 6, 4 / 6, 4 / 6, 4 / 6, 5 / 6])
    assert list(kl.lines) == ["mdn", "mdn (wide)"]
    # Where all members agree there is nothing to draw.
    flat = [line._replace(metrics={TMC: np.zeros(6)}) for line in lines_of(sweep, "lines")]
    assert comparisons.profiles(flat) == []


def test_report_shows_all_of_it(sweep, capsys):
    for name in ("hyperbola-ebgan_mdn", "hyperbola-mdn-wide"):
        shutil.rmtree(sweep / name)
    write_run(sweep / "hyperbola-ebgan_mdn", method="ebgan_mdn", metrics={TMC: np.arange(6) + 50.0}, seeds=6)
    assert call(report.main, f"--workdir={sweep}", "--baseline=mdn") == 0
    printed = capsys.readouterr().out
    assert "### hyperbola: probability of improvement over mdn" in printed and "0.83 [0.50, 1.00]" in printed
    html = (sweep / "report.html").read_text()
    assert html.count("Probability of improvement over mdn") == 2
    assert html.index("All tasks</h2>") < html.index("hyperbola</h2>")
    assert html.count("Performance profiles. ") == 2 and (sweep / "figures" / "lines_profiles.png").is_file()
    middle = statistics.summarize(np.arange(10, 70, 10.0), num_resamples=100)
    assert f"interquartile mean 35 [{middle['iqm_low']:.0f}, {middle['iqm_high']:.0f}], median 35" in html


def test_profiles_too_many_to_tell_apart_are_left_out(tmp_path):
    grid = {"w": list(range(report.MOST_PROFILES + 1))}
    values = np.arange(2.0 * len(grid["w"]))
    html = report.report(write_run(tmp_path / "a", hyper=grid, metrics={"kl": values}, seeds=2)).read_text()
    assert "Performance profiles are drawn of at most 12 lines" in html and "Performance profiles. " not in html


def test_one_seed_has_no_profile(tmp_path):
    write_run(tmp_path / "a", metrics={"kl": [1.0]}, seeds=1)
    write_run(tmp_path / "b", "gaussian_grid", metrics={"w1": [1.0]}, seeds=1, arrays=plane_arrays())
    assert "Performance profiles" not in report.report(tmp_path).read_text()


def test_primary_metric_against_the_baseline_from_published_members(tmp_path):
    for method, shift in (("mdn", 0.0), ("ebgan_mdn", -0.1)):
        metrics = {"w1": np.arange(6.0) + shift, "kl": np.ones(6)}
        write_run(tmp_path / f"lines-{method}", "lines", method, metrics=metrics, seeds=6)
    runs, _ = summary.load_runs(tmp_path)
    published = comparisons.lines_of_csv(csv.DictReader(io.StringIO(summary.members_csv(runs))))
    rows = comparisons.primary_rows(published, "mdn", {})
    assert rows == comparisons.primary_rows(comparisons.lines_of(runs), "mdn", {})
    assert comparisons.primary_rows(published, None, {}) == [row[:5] for row in rows]
    cells = {row[2]: row for row in rows}
    assert cells["mdn"][:2] == ["lines", "w1 \u2193"] and cells["mdn"][5] == "\u2013"
    assert cells["ebgan_mdn"][3].startswith("2.4 [") and cells["ebgan_mdn"][5] == "**1.00** [1.00, 1.00]"


def test_every_task_has_its_primary_metric():
    """Of the two_link arm a setting of one metric, of the others the metric itself."""
    assert comparisons.primary_metric("two_link", ["success@0.3", "success@0.1"]) == "success@0.1"
    assert comparisons.primary_metric("gaussian_grid", ["w1", "coverage@S=10,tau=0.1"]) == "coverage@S=10,tau=0.1"
    with pytest.raises(InputError, match="lines: no w1 among kl"):
        comparisons.primary_metric("lines", ["kl"])


def test_failures_are_lost_modes_and_outliers():
    def failed(task, ceilings=None, **metrics):
        values = {name: np.array(v, float) for name, v in metrics.items()}
        line = comparisons.Line(task, "mdn", f"{task}-mdn", "", "mdn", [0, 1, 2], values)
        return comparisons.failures(line, ceilings or {}).tolist()

    half = {("lines", "tmc"): 96.0, ("gaussian_grid", "coverage"): 100.0, ("gaussian_grid", "tmc"): 90.0}
    assert failed("lines", half, tmc=[47.9, 48.1, 96]) == [True, False, False]
    assert failed("lines", half, kl=[0.1, 0.2, 1.01], w1=[1, 1, np.nan]) == [False, False, True]
    assert failed("lines", half, kl=[0.1, 0.2, 0.99], w1=[1, 50, 1]) == [False] * 3
    assert failed("gaussian_grid", half, tmc=[0, 0, 0], coverage=[49, 51, 90]) == [True, False, False]
    assert failed("two_link", {}, **{"success@0.1": [80, 39, 80]}) == [False, True, False]
    assert failed("two_link", {}, **{"success@0.3": [80, 39, 80]}) == [False] * 3
