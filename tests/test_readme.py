"""The README keeps its word: its example runs, its tables are those of the registries and of the committed CSV files."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import jax
import numpy as np
import pytest

from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import TASKS
from experiments import publish
from experiments.configs import CONFIGS, FIGURES
from experiments.summary import read_rows

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = {path: (path.read_text(), link) for path, link in publish.documents().items()}


def section(title):
    return README.split(f"## {title}\n")[1].split("\n## ")[0]


def expand(pattern):
    """Names that a pattern stands for, as in a shell: "a{,_b}" is a and a_b."""
    parts = re.split(r"{([^}]*)}", pattern)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def test_tables_list_the_registries():
    assert sorted(re.findall(r"^\| `(\w+)` \|", section("Methods"), re.MULTILINE)) == sorted(METHODS)
    rows = [line.split("|")[1] for line in section("Tasks").splitlines() if line.startswith("| `")]
    names = (name for row in rows for pattern in re.findall(r"`(\S+)`", row) for name in expand(pattern))
    assert sorted(names) == sorted(TASKS)


def test_published_tables_are_rendered_from_the_committed_files():
    assert len(DOCUMENTS) == 3
    shown = []
    for text, link in DOCUMENTS.values():
        assert publish.renew(text, link) == text
        shown += re.findall(r"<!-- results: (\w+) -->\n", text)
    assert len(set(shown)) == len(shown)
    assert sorted(shown) == sorted(path.parent.name for path in publish.RESULTS.glob("*/table.csv"))
    assert set(shown) <= set(CONFIGS)


def test_links_lead_somewhere():
    for path, (text, _) in DOCUMENTS.items():
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (path.parent / target).exists(), f"{path}: {target}"


def test_published_figures_are_those_of_the_config_and_small():
    for folder in publish.RESULTS.glob("*/figures"):
        assert {path.stem for path in folder.iterdir()} == {spec.name for spec in FIGURES[folder.parent.name]}
        assert all(path.stat().st_size <= 60_000 for path in folder.iterdir())


@pytest.mark.parametrize("name", sorted(path.parent.name for path in publish.RESULTS.glob("*/table.csv")))
def test_published_statistics_are_those_of_the_published_seeds(name):
    committed, again = read_rows(publish.RESULTS / name / "table.csv"), publish.recompute(publish.RESULTS / name)
    assert [row[:6] for row in again] == [row[:6] for row in committed]
    for row, expected in zip(committed, again, strict=True):
        for ours, value in zip(row[6:], expected[6:], strict=True):
            assert ours == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), row[:5]


def test_nothing_is_left_to_fill_in():
    for text, _ in DOCUMENTS.values():
        assert not re.findall(r"@[A-Z_]+@|TODO", text)


def test_every_config_says_how_to_run_it():
    for path in (ROOT / "experiments" / "configs").glob("*.py"):
        if path.stem not in ("__init__", "base"):
            text = path.read_text()
            assert f"python -m experiments.sweep --config={path.stem}" in text
            assert all(f"{word}:" in text for word in ("Seeds", "Expected", "Run time"))


def test_ci_runs_the_readme_command():
    (command,) = (line for line in README.splitlines() if " -m pytest " in line)
    assert command.startswith('pip install -e ".[plots,test]" && python -m pytest -n ')
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"plots", "test", "dev", "cuda", "tpu"} <= set(extras)
    assert "'-m pytest ' README.md" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("run", ["hyperbola-mdn", "hyperbola-ebgan_mdn"])
@pytest.mark.parametrize("metric", ["tmc@S=10,tau=0.05", "amc@S=10,tau=0.05", "precision", "kl"])
def test_published_hyperbola_agrees_with_the_authors_code(run, metric):
    """Medians of 16 seeds lie within the range of 3 seeds of the authors' code, widened by itself on each side."""
    check_against_reference(read_rows(publish.RESULTS / "hyperbola" / "table.csv"), run, metric)


def check_against_reference(rows, run, metric):
    import csv

    with (publish.RESULTS / "hyperbola" / "reference.csv").open(newline="") as file:
        reference = next(row for row in csv.DictReader(file) if (row["run"], row["metric"]) == (run, metric))
    low, high = float(reference["code_min"]), float(reference["code_max"])
    median = next(row.median for row in rows if (row.run, row.metric) == (run, metric))
    assert low - (high - low) <= median <= high + (high - low)


@pytest.mark.slow
def test_the_example_runs():
    """Word for word, with fewer steps."""
    code = re.search(r"```python\n(.*?)```", section("As a library"), re.DOTALL)[1]
    assert 20 <= len(code.splitlines()) <= 30
    names = {}
    exec(code.replace("800", "50"), names)
    assert names["samples"].shape == (16, 10, 3, 1)
    assert names["info"].nll.shape == (16,)


def run_commands(commands, folder, **fewer):
    """Commands of the README with flags that make them short, by driver."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    for command in commands.splitlines():
        _, *arguments = shlex.split(command)
        flags = fewer.get(arguments[1].removeprefix("experiments."), ())
        environment = os.environ | {"PYTHONPATH": path}
        subprocess.run([sys.executable, *arguments, *flags], cwd=folder, env=environment, check=True, timeout=300)


@pytest.mark.slow
def test_own_demonstrations_take_three_commands(tmp_path):
    """Word for word, with fewer steps."""
    pytest.importorskip("flatbuffers")
    blocks = re.findall(r"```(?:python)?\n(.*?)```", section("Bring your own demonstrations"), re.DOTALL)
    save, commands, use = blocks
    lengths = np.asarray([9, 12, 10, 11, 8])
    names = {"np": np, "lengths": lengths, "obs": np.random.default_rng(0).uniform(-1, 1, (50, 3))}
    names["action"] = names["obs"][:, :1] ** 2
    with contextlib.chdir(tmp_path):
        exec(save, names)
    assert len(commands.splitlines()) == 3
    run_commands(commands, tmp_path, train=["--steps=20"])
    names |= {"jax": jax, "obs": np.zeros((4, 6), np.float32)}
    with contextlib.chdir(tmp_path):
        exec(use, names)
    assert names["action"].shape == (4, 8)


@pytest.mark.slow
def test_a_checkpoint_is_evaluated_in_a_simulator(tmp_path, recordings, monkeypatch):
    """Word for word, with fewer steps and episodes."""
    pytest.importorskip("gym_pusht")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commands, use, _ = re.findall(
        r"```(?:python)?\n(.*?)```", section("Evaluate a checkpoint in your simulator"), re.DOTALL
    )
    assert len(commands.splitlines()) == 2
    few = ["--set=evaluation.num_samples=1", "--set=evaluation.num_inputs=5"]
    train = ["--steps=5", f"--data_dir={recordings}", *few]
    run_commands(commands, tmp_path, train=train, simulate=["--episodes=2", "--max_steps=12"])
    assert len(list((tmp_path / "runs" / "pusht" / "simulations").iterdir())) == 2
    names = {"jax": jax}
    with contextlib.chdir(tmp_path):
        exec(use.replace("100_050", "100_002"), names)
    assert names["episodes"].total.shape == (2,) and len(names["episodes"].frames) == 2


@pytest.mark.slow
def test_a_policy_of_a_hand_is_simulated_at_a_door(tmp_path, recordings, monkeypatch):
    """Word for word, with fewer steps and episodes."""
    pytest.importorskip("gymnasium_robotics", reason="extra adroit is not installed")
    *_, commands = re.findall(
        r"```(?:python)?\n(.*?)```", section("Evaluate a checkpoint in your simulator"), re.DOTALL
    )
    shutil.copy(recordings / "d4rl" / "door-human-v0" / "door-human-v0_0.tfrecord", tmp_path)
    run_commands(commands, tmp_path, train=["--steps=5"], simulate=["--episodes=2", "--max_steps=5"])
    (written,) = (tmp_path / "runs" / "door" / "simulations").iterdir()
    episodes = json.loads(written.read_text())["episodes"]
    assert episodes["length"] == [5, 5] and len(episodes["success"]) == 2
