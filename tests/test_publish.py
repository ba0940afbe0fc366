"""Only traceable numbers are published, and the README shows exactly those."""

import json
import re
import shutil
import sys

import pytest
from test_report import write_run
from test_run import call

from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.types import InputError
from experiments import provenance, publish
from experiments.configs.base import CurvesFigure, SweepFigure
from experiments.summary import CEILING, STATISTICS, read_rows, rows_csv


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A finished sweep named "toy" made at one commit, with the published files elsewhere."""
    monkeypatch.setattr(publish, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(publish, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("before\n<!-- results: toy -->\noutdated\n<!-- end -->\nafter\n")
    directory = tmp_path / "runs"
    directory.mkdir()
    (directory / "table.csv").write_text(
        "task,run,method,hyper,metric,num_seeds,mean,iqm,median,low,high,min,max,iqm_low,iqm_high\n"
        "lines,lines-mdn,mdn,,kl,3,0.5,0.5,0.4,0.3,0.7,0.25,0.75,,\n"
    )
    (directory / "members.csv").write_text("task,run,method,seed,hyper,metric,value\n")
    write_launches(directory, "abc123")
    return directory


def write_launches(directory, *commits):
    launches = [
        {"command": "python -m toy", "commit": commit, "hardware": "abacus", "versions": {"jax": "0"}}
        for commit in commits
    ]
    (directory / "provenance.json").write_text(json.dumps({"launches": launches}))


def test_publishing_copies_the_files_and_renews_the_readme(sweep):
    publish.publish("toy", sweep)
    assert (publish.RESULTS / "toy" / "table.csv").read_bytes() == (sweep / "table.csv").read_bytes()
    readme = publish.README.read_text()
    assert readme.startswith("before\n<!-- results: toy -->\n") and readme.endswith("<!-- end -->\nafter\n")
    assert "outdated" not in readme
    assert "0.50 [0.30, 0.70]" in readme and "`python -m toy` at commit abc123 on abacus" in readme
    assert publish.renew(readme) == readme


@pytest.mark.parametrize(
    "given", ["--data_dir=/home/me/data", "--data_dir /home/me/data", "-data_dir '/home/me/my data'"]
)
def test_where_recordings_lie_is_not_told(sweep, given):
    path = sweep / "provenance.json"
    path.write_text(path.read_text().replace("-m toy", f"-m toy {given} --seeds=2"))
    publish.publish("toy", sweep)
    told = (publish.RESULTS / "toy" / "provenance.json").read_text(), publish.README.read_text()
    assert not any("/home/me" in text or "my data" in text for text in told)
    assert all("FOLDER --seeds=2" in text for text in told)
    assert "/home/me" in path.read_text()  # the run itself keeps it


def test_a_block_may_stand_in_the_results_page_whose_links_are_its_own(sweep):
    page = publish.README.parent / "experiments" / "README.md"
    page.parent.mkdir()
    publish.README.rename(page)
    publish.README.write_text("no block here")
    publish.publish("toy", sweep)
    assert publish.README.read_text() == "no block here"
    assert "[summary](results/toy/table.csv)" in page.read_text()
    assert publish.renew(page.read_text(), "") == page.read_text()


def test_figures_are_drawn_from_the_published_files_and_shown(sweep, monkeypatch):
    """Curves are read from the runs once, when the sweep is published; everything is drawn again without them."""
    pytest.importorskip("matplotlib")
    specs = (SweepFigure("k", "num_components", ("kl",)), CurvesFigure("curves", ("nll",)))
    monkeypatch.setitem(publish.FIGURES, "toy", specs)
    write_run(sweep / "lines-mdn-num_components=3", task="lines")
    (sweep / "members.csv").write_text(
        "task,run,method,seed,hyper,metric,value\n"
        + "".join(f"lines,lines-mdn-num_components=3,mdn,{seed},,kl,{0.1 * seed}\n" for seed in range(3))
    )
    rows = read_rows(sweep / "table.csv")
    (sweep / "table.csv").write_text(rows_csv([rows[0]._replace(run="lines-mdn-num_components=3")]))
    publish.publish("toy", sweep)
    figures = publish.RESULTS / "toy" / "figures"
    first = {path.name: path.read_bytes() for path in figures.iterdir()}
    assert set(first) == {"k.png", "curves.png"}
    assert "![k](experiments/results/toy/figures/k.png)" in publish.README.read_text()
    shutil.rmtree(sweep)
    (figures / "k.png").write_bytes(b"")
    (figures / "former.png").write_bytes(b"")
    assert call(publish.main, "--recompute") == 0
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == first


def test_reference_numbers_stand_beside_ours(sweep):
    (publish.RESULTS / "toy").mkdir(parents=True)
    (publish.RESULTS / "toy" / "reference.csv").write_text(
        "run,metric,paper,code_min,code_max\nlines-mdn,kl,9,0.1,0.2\n"
    )
    publish.publish("toy", sweep)
    assert "| 9 |" in publish.README.read_text().replace("  ", "")
    assert "0.4 (0.25 to 0.75)" in publish.README.read_text()


def test_the_same_run_of_another_published_sweep_stands_beside_ours(sweep):
    """With the paper's settings and with ours: the table of the other sweep is read, not this one's."""
    publish.publish("toy", sweep)
    text = (sweep / "table.csv").read_text()
    (publish.RESULTS / "paper").mkdir()
    (publish.RESULTS / "paper" / "table.csv").write_text(text.replace("0.4", "0.7"))
    (publish.RESULTS / "toy" / "reference.csv").write_text(
        "run,metric,paper,code_min,code_max,published\nlines-mdn,kl,9,0.1,0.2,paper\n"
    )
    publish.renew_documents()
    (line,) = (line for line in publish.README.read_text().splitlines() if line.startswith("| lines-mdn"))
    assert re.fullmatch(r"\| lines-mdn \| +kl \| +9 \| +0.1 to 0.2 \| +0.7 \(.*\) \| +0.4 \(0.25 to 0.75\) \|", line)


def test_a_reference_to_a_run_that_is_not_there_is_refused(sweep):
    (publish.RESULTS / "toy").mkdir(parents=True)
    (publish.RESULTS / "toy" / "reference.csv").write_text("run,metric,paper,code_min,code_max\nlines-cgan,kl,9,,\n")
    with pytest.raises(InputError, match="lines-cgan and kl are no run and metric of the sweep"):
        publish.publish("toy", sweep)


def test_figures_that_cannot_be_drawn_leave_what_was_published(sweep, monkeypatch):
    publish.publish("toy", sweep)
    before = {path.name: path.read_bytes() for path in (publish.RESULTS / "toy").iterdir()}
    (sweep / "table.csv").write_text((sweep / "table.csv").read_text().replace("0.75", "0.85"))
    monkeypatch.setitem(publish.FIGURES, "toy", (SweepFigure("k", "num_components", ("kl",)),))
    write_run(sweep / "lines-mdn", task="lines")
    with pytest.raises(InputError, match="nothing to draw as figure k"):
        publish.publish("toy", sweep)
    assert {path.name: path.read_bytes() for path in (publish.RESULTS / "toy").iterdir()} == before


def test_recomputing_takes_the_values_of_every_seed(sweep, capsys):
    """From a table without statistics of these values, written with seeds in any order, to one with them."""
    values = {0: 0.4, 2: 0.25, 1: 0.85}
    (sweep / "members.csv").write_text(
        "task,run,method,seed,hyper,metric,value\n"
        + "".join(f"lines,lines-mdn,mdn,{seed},,kl,{value}\n" for seed, value in values.items())
        + "lines,lines-mdn,mdn,0,,training/nll,7\n"
    )
    ceiling = f"lines,,{CEILING},,kl,,0.0,0.0,0.0,0.0,0.0,0.0,0.0,,\n"
    (sweep / "table.csv").write_text((sweep / "table.csv").read_text() + ceiling)
    publish.publish("toy", sweep)
    assert call(publish.main, "--recompute") == 0
    row, exact = read_rows(publish.RESULTS / "toy" / "table.csv")
    expected = statistics.summarize([0.4, 0.25, 0.85])
    assert row[:6] == ("lines", "lines-mdn", "mdn", "", "kl", 3)
    assert row[6:] == pytest.approx([expected[name] for name in STATISTICS]) and row.mean == pytest.approx(0.5)
    assert exact.mean == 0.0 and exact.iqm_low is None  # its seeds are not in the file
    assert publish.renew(publish.README.read_text()) == publish.README.read_text()
    assert "[0.25, 0.85]" in publish.README.read_text()


def test_recomputing_refuses_files_of_different_runs(sweep, capsys):
    publish.publish("toy", sweep)
    before = (publish.RESULTS / "toy" / "table.csv").read_bytes()
    assert call(publish.main, "--recompute") == 2
    assert "members.csv and table.csv are of different runs (lines-mdn, kl)" in capsys.readouterr().err
    assert (publish.RESULTS / "toy" / "table.csv").read_bytes() == before


@pytest.mark.parametrize("commits", [("abc", "def"), ("abc-dirty",), ("unknown",)])
def test_untraceable_runs_are_refused(sweep, commits):
    write_launches(sweep, *commits)
    with pytest.raises(InputError, match="publish only runs of one commit"):
        publish.publish("toy", sweep)
    assert "outdated" in publish.README.read_text() and not publish.RESULTS.exists()


def test_a_sweep_without_a_block_is_refused_before_anything_is_copied(sweep):
    with pytest.raises(InputError, match="no document has a block <!-- results: other --> .*add one to README.md"):
        publish.publish("other", sweep)
    assert not publish.RESULTS.exists()


def test_unfinished_sweeps_are_refused(sweep):
    (sweep / "table.csv").unlink()
    with pytest.raises(InputError, match="finish the sweep first"):
        publish.publish("toy", sweep)


def test_a_launch_is_recorded_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["study.py", "--rows=3"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    command = ["python", "-m", "experiments.sweep", "--config=quickstart"]
    for _ in range(2):
        provenance.record(tmp_path, command)
    (launch,) = json.loads((tmp_path / "provenance.json").read_text())["launches"]
    assert launch["command"] == "python -m experiments.sweep --config=quickstart"
    assert "cores" in launch["hardware"] and launch["versions"]["jax"]
    provenance.record(tmp_path, [*command, "--seeds=2"])
    provenance.record(tmp_path)  # what started this process
    launches = json.loads((tmp_path / "provenance.json").read_text())["launches"]
    assert len(launches) == 3 and launches[2]["command"] == "python study.py --rows=3"
