import csv
import json
import re

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("pyarrow")

from test_plotting import arm_arrays, curve_arrays, plane_arrays

from ebgan_mdn_jax.evaluation.statistics import summarize as over_seeds
from ebgan_mdn_jax.types import InputError
from experiments import report as reports
from experiments import summary, tables

KL = {"mdn": [0.1, 0.12, 0.11], "ebgan_mdn": [0.3, 0.33, 0.31], "explicit_bc": None}


def strict(values):
    return [float(x) if np.isfinite(x) else None for x in values]


def write_run(
    path, task="hyperbola", method="mdn", metrics=None, hyper=None, seeds=3, arrays=None, settings=None, first_seed=0
):
    """A finished run as the trainer leaves it; ``hyper`` is a grid over one name, ``settings`` the method's part of the config."""
    path.mkdir(parents=True)
    name, values = next(iter(hyper.items())) if hyper else (None, [None])
    members = [
        {"seed": s, "hyper": {"unused": 1.0} | ({name: v} if hyper else {})}
        for v in values
        for s in range(first_seed, first_seed + seeds)
    ]
    metrics = metrics or {"kl": [0.1, 0.2, 0.3]}
    statistics = []
    for i, value in enumerate(values):
        mine = slice(i * seeds, (i + 1) * seeds)
        of_setting = {m: over_seeds(np.array(column, float)[mine], num_resamples=100) for m, column in metrics.items()}
        of_setting = {m: dict(zip(s, strict(s.values()), strict=True)) for m, s in of_setting.items()}
        statistics.append({"hyper": {name: value} if hyper else {}, "metrics": of_setting})
    results = {
        "task": task,
        "method": method,
        "members": members,
        "metrics": {m: strict(np.array(column, float)) for m, column in metrics.items()},
        "training": {"nll": [float(i) for i in range(len(members))]},
        "ceiling": {"kl": dict.fromkeys(summary.STATISTICS, 0.0)} if "kl" in metrics else None,
        "statistics": statistics,
    }
    (path / "results.json").write_text(json.dumps(results))
    (path / "config.json").write_text(json.dumps({"task_name": task, "note": "<b>&", "method": settings or {}}))
    rows = [{"step": step, "nll": [None] + [1.0 / step] * (len(members) - 1)} for step in (10, 20, 30)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(path / "arrays.npz", **(curve_arrays() if arrays is None else arrays))
    return path


def test_report_of_one_run(tmp_path):
    page = reports.report(write_run(tmp_path / "run"))
    assert page == tmp_path / "run" / "report.html"
    assert {p.name for p in page.parent.iterdir()} == {
        *(
            "results.json",
            "config.json",
            "metrics.jsonl",
            "arrays.npz",
            "report.html",
            "table.csv",
            "members.csv",
            "members.parquet",
            "figures",
        )
    }
    figures = sorted(p.name for p in (page.parent / "figures").iterdir())
    assert figures == ["hyperbola_profiles.png", "hyperbola_samples.png", "run_curves.png", "run_landscape.png"]
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 4
    assert html.count("<img") == html.count('alt="') == 4
    assert "exact sampler (ceiling)" in html and "n=3 seeds" in html
    assert "Probability of improvement" not in html and "All tasks" not in html
    # Written again it is the same, byte for byte.
    assert reports.report(page.parent).read_text() == html


def test_report_of_arms_shows_arms(tmp_path):
    rows = {"train_obs": np.zeros((9, 2)), "train_action": np.zeros((9, 2))}
    rows |= {"obs": np.zeros((7, 2)), "samples": np.zeros((2, 5, 7, 2))}
    for name in ("a", "b"):
        write_run(tmp_path / name, task="two_link", metrics={"success@0.1": [1.0, 2, 3]}, arrays=rows | arm_arrays())
    reports.report(tmp_path)
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == ["a_curves.png", "b_curves.png", "two_link_arms.png", "two_link_profiles.png"]


def test_page_is_self_contained_and_escaped(tmp_path):
    write_run(tmp_path / "a<script>alert(1)</script>".replace("/", "_"), method="mdn")
    write_run(tmp_path / "b&c", method="mdn")
    (tmp_path / "b&c" / "simulations").mkdir()
    (tmp_path / "b&c" / "simulations" / "Line<-v0,execute2.png").write_bytes(b"strips of frames, at least 20 bytes")
    html = reports.report(tmp_path).read_text()
    assert "Episodes: mdn (b&amp;c), Line&lt;-v0,execute2" in html
    assert "<script" not in html and "a&lt;script&gt;" in html and "b&amp;c" in html
    assert "&lt;b&gt;&amp;" in html  # from config.json
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//|@import|url\(|<link|<script", text)
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in (tmp_path / "figures").iterdir())


def test_sweep_lists_unfinished_and_tells_runs_of_one_method_apart(tmp_path):
    write_run(tmp_path / "low", hyper={"learning_rate": [1e-4, 1e-3]}, metrics={"kl": [1, 2, 3, 4, 5, 6.0]})
    write_run(tmp_path / "high")
    write_run(tmp_path / "grid", task="gaussian_grid", method="ebgan_mdn", arrays=plane_arrays())
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "config.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    html = reports.report(tmp_path).read_text()
    assert "unfinished: late." in html and "notes" not in html
    first, second = tables.tables(summary.summarize(summary.load_runs(tmp_path)[0]))
    assert (first.task, second.task) == ("gaussian_grid", "hyperbola")
    assert [name for name, _ in first.rows] == ["ebgan_mdn", "exact sampler (ceiling)"]
    names = [name for name, _ in second.rows]
    assert names[:3] == ["mdn (high)", "mdn (low), learning_rate=0.0001", "mdn (low), learning_rate=0.001"]
    assert reports.member_titles(summary.load_runs(tmp_path / "low")[0][0])[3] == "seed 0\nlearning_rate=0.001"


def test_a_baseline_is_a_line_and_many_parts_of_a_metric_are_a_table_of_their_own(tmp_path):
    metrics = {"frechet": [2.0, 3.0, 4.0]} | {f"frechet[s{i}]": [i, i, i + 0.5] for i in range(13)}
    path = write_run(tmp_path / "run", task="lasa", metrics=metrics)
    results = json.loads((path / "results.json").read_text())
    of_baseline = {"frechet": dict.fromkeys(summary.STATISTICS, 1.0)}
    (path / "results.json").write_text(
        json.dumps(results | {"baseline": {"name": "standing still", "metrics": of_baseline}})
    )
    rows = summary.summarize(summary.load_runs(path)[0])
    assert rows[-1][:7] == ("lasa", "", "standing still", "", "frechet", 3, 1.0)
    (table,) = tables.tables(rows)
    assert table.header == ["method", "frechet \u2193"] and [name for name, _ in table.rows] == [
        "mdn",
        "standing still",
    ]
    (parts,) = tables.part_tables(rows)
    assert parts.header == ["", "mdn", "standing still"] and [name for name, _ in parts.rows] == [
        f"s{i}" for i in range(13)
    ]
    assert float(parts.rows[7][1][0].value) == pytest.approx(7.17, abs=0.05) and parts.rows[7][1][1].value == "\u2013"
    text = tables.markdown_tables(rows)
    assert "#### lasa: frechet" in text and "s12" in text
    html = reports.report(path).read_text()
    assert "standing still" in html and "<td" in html and "s12" in html
    assert tables.part_tables([row for row in rows if row.metric != "frechet[s12]"]) == []


def test_csv_holds_every_number(tmp_path):
    path = write_run(tmp_path / "run", hyper={"w": [0.0, 1.0]}, metrics={"kl": [1, 2, 3, 4, 5, np.nan]})
    reports.report(path)
    rows = summary.read_rows(path / "table.csv")
    assert rows == summary.summarize(summary.load_runs(path)[0])
    assert rows[0][:8] == ("hyperbola", "run", "mdn", "w=0", "kl", 3, 2.0, 2.0)
    assert rows[1].mean is None and rows[1].hyper == "w=1"  # one seed of this setting is not finite
    assert rows[2].method == summary.CEILING and rows[2].num_seeds is None
    with open(path / "members.csv", newline="") as file:
        members = list(csv.DictReader(file))
    kl = [(row["seed"], row["hyper"], row["value"]) for row in members if row["metric"] == "kl"]
    assert kl[0] == ("0", "w=0", "1.0") and kl[5] == ("2", "w=1", "")
    assert [float(row["value"]) for row in members if row["metric"] == "training/nll"] == list(range(6))
    lines = (path / "table.csv").read_text().splitlines()
    assert lines[0].endswith(",min,max,iqm_low,iqm_high")
    (path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="other.csv"):
        summary.read_rows(path / "other.csv")


def row(method, mean, low, high, metric="kl", seeds=6):
    return summary.Row("t", method, method, "", metric, seeds, mean, mean, mean, low, high, low, high, None, None)


def test_parquet_has_a_column_for_each_setting_that_varies(tmp_path):
    from pyarrow import parquet

    nan = float("nan")
    write_run(
        tmp_path / "a", hyper={"w": [0.0, float(np.float32(0.01))]}, seeds=2, metrics={"kl": [1, 2, 3, nan]},
        settings={"width": 8, "layers": [1, 2], "schedule": "constant"},
    )  # fmt: skip
    write_run(
        tmp_path / "b", seeds=1, metrics={"kl": [5]}, settings={"width": 16, "layers": [1], "schedule": "constant"}
    )
    write_run(tmp_path / "c", "lines", "explicit_bc", seeds=1, metrics={"w1": [7]}, settings={"width": 99})
    reports.report(tmp_path)
    table = parquet.read_table(tmp_path / "members.parquet")
    assert table.column_names == [*summary.MEMBER_COLUMNS, "method.width", "method.layers", "hyper.w"]
    rows = [row for row in table.to_pylist() if not row["metric"].startswith("training/")]
    assert [(row["run"], row["seed"], row["hyper.w"], row["value"]) for row in rows] == [
        ("a", 0, 0.0, 1.0), ("a", 1, 0.0, 2.0), ("a", 0, 0.01, 3.0), ("a", 1, 0.01, None), ("b", 0, None, 5.0), ("c", 0, None, 7.0),
    ]  # fmt: skip
    assert [(row["method.width"], row["method.layers"]) for row in rows[3:]] == [(8, "[1, 2]"), (16, "[1]"), (99, None)]
    # Row for row the same as the CSV.
    with open(tmp_path / "members.csv", newline="") as file:
        lines = list(csv.reader(file))[1:]
    assert lines == [
        ["" if row[name] is None else str(row[name]) for name in summary.MEMBER_COLUMNS] for row in table.to_pylist()
    ]


@pytest.mark.parametrize(
    ("metric", "rows", "best"),
    [
        ("kl", [(0.1, 0.05, 0.15), (0.3, 0.2, 0.4)], [True, False]),
        ("kl", [(0.1, 0.05, 0.25), (0.3, 0.2, 0.4)], [False, False]),  # overlap
        ("tmc@S=10,tau=0.05", [(90, 88, 92), (97, 95, 99)], [False, True]),
        ("short_share[40,60)", [(90, 88, 92), (97, 95, 99)], [False, False]),  # neither way is better
        ("kl", [(0.1, None, None), (0.3, 0.2, 0.4)], [False, False]),  # one seed: nothing is known
        ("kl", [(0.1, 0.05, 0.15), (None, None, None)], [False, False]),  # nothing to compare with
    ],
)
def test_best_is_bold_only_where_intervals_part(metric, rows, best):
    rows = [row(f"m{i}", *values, metric=metric) for i, values in enumerate(rows)]
    ceiling = row(summary.CEILING, 0.0, 0.0, 0.0, metric, None)
    (table,) = tables.tables([*rows, ceiling])
    assert [cells[0].best for _, cells in table.rows] == [*best, False]


def test_markdown():
    rows = [row("mdn", 0.1, 0.05, 0.15), row("ebgan_mdn", 0.34, 0.3, 0.4), row("ebgan_mdn", 97.5, 95, 99, "tmc@S=10")]
    text = tables.markdown_tables(rows)
    assert text.splitlines()[:6] == [
        "### t",
        "",
        "| method    |        tmc@S=10 \u2191 |                  kl \u2193 |",
        "| --------- | ----------------: | --------------------: |",
        "| mdn       |                 \u2013 | **0.10** [0.05, 0.15] |",
        "| ebgan_mdn | 97.5 [95.0, 99.0] |     0.34 [0.30, 0.40] |",
    ]
    assert "n=6 seeds" in text
    assert tables.markdown_table(["a", "b"], [["x|y", "1"]]).splitlines()[2] == "| x\\|y |   1 |"


def test_results_table_takes_what_the_evaluator_returns():
    nan = float("nan")
    one = dict.fromkeys(summary.STATISTICS, 1.0) | dict.fromkeys(("low", "high", "iqm_low", "iqm_high"), nan)
    results = {
        "task": "geyser",
        "method": "mdn",
        "members": [{"seed": 0, "hyper": {"w": 1.0}}],
        "metrics": {"heldout_nll": np.array([1.0])},
        "ceiling": None,
        "statistics": [{"hyper": {}, "metrics": {"heldout_nll": one, "kl": dict.fromkeys(one, nan)}}],
    }
    text = tables.results_table(results)
    assert "not finite" in text and "| mdn " in text and "n=1 seed " in text and "[" not in text.splitlines()[4]


def test_frozen_members_are_named(tmp_path):
    run = write_run(tmp_path / "run", hyper={"rate": [0.1, 9.0]}, metrics={"kl": [0.1, 0.2, 0.3, None, 0.5, 0.6]})
    assert "frozen" not in reports.report(run).read_text()
    results = json.loads((run / "results.json").read_text())
    results["failures"] = [{"member": 3, "seed": 0, "step": 17, "cause": "parameters"}]
    (run / "results.json").write_text(json.dumps(results))
    line = "run: 1 of 6 members became non-finite and were frozen: seed 0, rate=9 at step 17 (parameters)."
    assert line in reports.report(run).read_text()


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        reports.report(tmp_path / "nowhere")
    (tmp_path / "sweep" / "late" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match=r"sweep: no results.json here or in a sub-folder \(1 unfinished: late\)"):
        reports.report(tmp_path / "sweep")
    run = write_run(tmp_path / "run")
    whole = (run / "results.json").read_text()
    for damaged in (whole[:50], "[]", "{}", whole.replace('"iqm"', '"x"'), whole.replace('"seed": 0', '"x": 0')):
        (run / "results.json").write_text(damaged)
        with pytest.raises(InputError, match=r"run/results.json: damaged") as caught:
            reports.report(run)
        assert "\n" not in str(caught.value)
    (run / "results.json").write_text(whole)
    for name, content in (("arrays.npz", b"PK nonsense"), ("metrics.jsonl", b'{"step": 1'), ("metrics.jsonl", b"")):
        before = (run / name).read_bytes()
        (run / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            reports.report(run)
        (run / name).unlink()
        with pytest.raises(InputError, match=name):
            reports.report(run)
        (run / name).write_bytes(before)
    assert not (run / "report.html").exists() and not (run / "figures").exists()
    (run / "config.json").unlink()
    with pytest.raises(InputError, match="config.json"):
        reports.report(run)


def test_extra_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ebgan_mdn_jax\[plots\]'"):
        reports.report(write_run(tmp_path / "run"))


def test_runs_come_in_the_order_of_the_numbers_in_their_names(tmp_path):
    names = [f"lines-mdn-{value}" for value in ("k=4", "k=16", "k=256", "noise=0.05", "noise=0.1", "noise=1")]
    for name in reversed(names):
        write_run(tmp_path / name)
    assert [run.path.name for run in summary.load_runs(tmp_path)[0]] == names
