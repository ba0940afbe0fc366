"""Finished runs as plain rows, and rows as CSV.

A run is a folder that the trainer has written ``results.json`` into. `load_runs` reads it, or every run one level below it; `summarize`
turns runs into `Row`s, one per (run, hyperparameter setting, metric). ``table.csv`` holds just these rows, so a published table is
rendered by the same code as a fresh one.
"""

import csv
import io
import json
import math
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import find
from ebgan_mdn_jax.types import InputError, require
from experiments.workdir import Workdir

MEMBER_COLUMNS = ("task", "run", "method", "seed", "hyper", "metric", "value")  # of members.csv
CEILING = "exact sampler (ceiling)"
FEWEST_SEEDS = 6  # that something may be set in bold for: fewer pairs cannot exclude chance, 2 * (1/2)^6 < 5 %
STATISTICS = ("mean", "iqm", "median", "low", "high", "min", "max", "iqm_low", "iqm_high")


class Run(NamedTuple):
    """A finished run: its folder, the parsed ``results.json``, and ``config.json`` as written.

    Where the wall time of training was noted, its share of each member is added as the training info "seconds".
    """

    path: pathlib.Path
    results: dict
    config: str


class Row(NamedTuple):
    """One metric of one run at one hyperparameter setting, over seeds.

    ``low`` and ``high`` are the interval of the mean. Statistics are None where they are not finite.
    """

    task: str
    run: str
    method: str
    hyper: str
    metric: str
    num_seeds: int | None
    mean: float | None
    iqm: float | None
    median: float | None
    low: float | None
    high: float | None
    min: float | None
    max: float | None
    iqm_low: float | None
    iqm_high: float | None


def load_runs(directory: str | pathlib.Path) -> tuple[list[Run], list[str]]:
    """The run in ``directory`` or those in its sub-folders, by task, method and name; and the names of unfinished sub-folders."""
    directory = pathlib.Path(directory)
    require(directory.is_dir(), f"{directory}: no such folder; give the workdir of a run or of a sweep")
    if (directory / "results.json").is_file():
        return [_load_run(directory)], []
    folders = sorted((path for path in directory.iterdir() if path.is_dir()), key=lambda path: natural(path.name))
    runs = [_load_run(path) for path in folders if (path / "results.json").is_file()]
    order = {name: place for place, name in enumerate(METHODS)}  # as the registry lists them, baselines first
    runs.sort(key=lambda run: (run.results["task"], order.get(run.results["method"], len(order))))
    started = ("config.json", "metrics.jsonl", "checkpoints")
    unfinished = [
        path.name
        for path in folders
        if not (path / "results.json").is_file() and any((path / name).exists() for name in started)
    ]
    hint = f" ({len(unfinished)} unfinished: {', '.join(unfinished)})" if unfinished else ""
    require(runs, f"{directory}: no results.json here or in a sub-folder{hint}; let a run finish first")
    return runs, unfinished


def natural(name: str) -> list[str | float]:
    """Key that sorts numbers in names by their value: N=4 comes before N=16, 0.05 before 0.1."""
    return [float(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+(?:\.\d+)?)", name))]


def summarize(runs: Sequence[Run]) -> list[Row]:
    """Rows of all runs, by task; each task ends with its baseline and its ceiling, taken from the first run that has the metric's."""
    rows = []
    for task in dict.fromkeys(run.results["task"] for run in runs):
        of_task = [run for run in runs if run.results["task"] == task]
        baseline, ceiling = {}, {}
        for run in of_task:
            results = run.results
            for setting in results["statistics"]:
                count = len(group(results["members"], setting["hyper"]))
                for metric, values in setting["metrics"].items():
                    names = (task, run.path.name, results["method"], label(setting["hyper"]), metric)
                    rows.append(Row(*names, count, *_statistics(values)))
            for metric, values in (results["ceiling"] or {}).items():
                ceiling.setdefault(metric, Row(task, "", CEILING, "", metric, None, *_statistics(values)))
            if results.get("baseline"):
                name, count = results["baseline"]["name"], len({member["seed"] for member in results["members"]})
                for metric, values in results["baseline"]["metrics"].items():
                    baseline.setdefault(metric, Row(task, "", name, "", metric, count, *_statistics(values)))
        rows += [*baseline.values(), *ceiling.values()]
    return rows


def rows_csv(rows: Iterable[Row]) -> str:
    """``table.csv``."""
    return _csv([Row._fields, *rows])


def read_rows(path: str | pathlib.Path) -> list[Row]:
    """Rows of a ``table.csv``."""
    with open(path, newline="") as file:
        lines = list(csv.reader(file))
    require(lines and tuple(lines[0]) == Row._fields, f"{path}: expected a CSV with columns {','.join(Row._fields)}")
    return [
        Row(*line[:5], int(line[5]) if line[5] else None, *(float(x) if x else None for x in line[6:]))
        for line in lines[1:]
    ]


def member_rows(runs: Sequence[Run]) -> Iterator[tuple]:
    """Every metric of every member, and its last training infos as "training/<info>": run by run, metric by metric."""
    for run in runs:
        results = run.results
        hyper = [label(setting) for setting in settings(results)]
        values = results["metrics"] | {f"training/{name}": column for name, column in results["training"].items()}
        for metric, column in values.items():
            for member, setting, value in zip(results["members"], hyper, column, strict=True):
                names = (results["task"], run.path.name, results["method"], member["seed"], setting)
                yield *names, metric, _finite(value)


def members_csv(runs: Sequence[Run]) -> str:
    """``members.csv``: see `member_rows`."""
    return _csv([MEMBER_COLUMNS, *member_rows(runs)])


def group(members: Sequence[dict], hyper: dict) -> list[int]:
    """Indices of the members at one setting of the hyperparameters that vary."""
    return [i for i, member in enumerate(members) if all(member["hyper"].get(k) == v for k, v in hyper.items())]


def settings(results: dict) -> list[dict]:
    """Of each member, those of its hyperparameters that vary within the run."""
    varied = list(results["statistics"][0]["hyper"])
    return [{name: member["hyper"][name] for name in varied} for member in results["members"]]


def run_variant(task: str, method: str, run: str) -> str:
    """What the name of a run's folder adds to "task-method"."""
    usual = f"{task}-{method}"
    return run.removeprefix(usual).lstrip("-") if run.startswith(usual) else run


def run_label(task: str, method: str, run: str) -> str:
    """A run among others of its method: the method, and what the folder's name adds."""
    variant = run_variant(task, method, run)
    return f"{method} ({variant})" if variant else method


def line_name(task: str, method: str, run: str, hyper: str, several: bool) -> str:
    """What a table calls a run at one setting: the method, with the run's label where ``several`` runs share it."""
    name = run_label(task, method, run) if several else method
    return f"{name}, {hyper}" if hyper else name


def folds(task: str, seeds: Sequence[int]) -> np.ndarray:
    """The fold that each seed's member holds out: the strata of statistics over the seeds."""
    return np.asarray(seeds) % find(task).num_folds


def label(hyper: dict) -> str:
    """A hyperparameter setting in words."""
    return ", ".join(f"{name}={value:g}" for name, value in hyper.items())


def member_name(seed: int, setting: dict) -> str:
    """A member in words: its seed, and the hyperparameters that vary."""
    return ", ".join(filter(None, (f"seed {seed}", label(setting))))


def frozen_members(run: Run) -> str:
    """Which members of a run became non-finite and so have no metrics, when and why; empty if all are sound."""
    failures, varied = run.results.get("failures", ()), settings(run.results)
    if not failures:
        return ""
    each = [
        f"{member_name(failure['seed'], varied[failure['member']])} at step {failure['step']} ({failure['cause']})"
        for failure in failures
    ]
    return (
        f"{run.path.name}: {len(each)} of {len(varied)} members became non-finite and were frozen: {'; '.join(each)}."
    )


def _load_run(path: pathlib.Path) -> Run:
    file = path / "results.json"
    try:
        results = json.loads(file.read_text())
        if not isinstance(results, dict):
            raise TypeError("not an object")
        for name in ("task", "method", "members", "metrics", "training", "ceiling", "statistics"):
            results[name]
        for column in (*results["metrics"].values(), *results["training"].values()):
            require(len(column) == len(results["members"]), f"{file}: a metric without one value per member")
        summarize([Run(path, results, "")]), members_csv([Run(path, results, "")])
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{file}: damaged ({reason}); delete it and evaluate the run again") from error
    seconds = Workdir(path).read_seconds()
    if seconds is not None:
        results["training"]["seconds"] = [seconds / len(results["members"])] * len(results["members"])
    try:
        return Run(path, results, (path / "config.json").read_text())
    except OSError as error:
        raise InputError(
            f"{path / 'config.json'}: missing, though results.json is there; copy the whole run"
        ) from error


def _statistics(values: dict) -> list[float | None]:
    return [_finite(values[name]) for name in STATISTICS]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _csv(lines: Iterable[Sequence]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
