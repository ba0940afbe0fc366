"""Runs compared with each other: how often one is better than a baseline, profiles over seeds, aggregates over tasks.

All of it needs the values of single members, so it is worked out from runs or from ``members.csv``, and not from ``table.csv``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.plotting import Profile
from ebgan_mdn_jax.tasks import find
from ebgan_mdn_jax.types import require
from experiments.summary import FEWEST_SEEDS, STATISTICS, Row, Run, folds, group, label, line_name, run_variant
from experiments.tables import Cell, Table, as_columns, direction, header, kind, make_table

# Metrics in per cent of something, so that members of several tasks can be pooled.
PERCENT = ("tmc", "precision")
ALL_TASKS = "all tasks"


class Line(NamedTuple):
    """A line of a task's table with what is behind it: a run at one hyperparameter setting."""

    task: str
    method: str
    run: str
    hyper: str
    name: str  # as the table has it
    seeds: list[int]  # [S]
    metrics: dict[str, np.ndarray]  # [S] each, NaN where not finite


def lines_of(runs: Sequence[Run]) -> list[Line]:
    """The lines of all runs, in the order of the tables."""
    methods = [(run.results["task"], run.results["method"]) for run in runs]
    lines = []
    for run, (task, method) in zip(runs, methods, strict=True):
        results, several = run.results, methods.count((task, method)) > 1
        for setting in results["statistics"]:
            hyper, members = label(setting["hyper"]), group(results["members"], setting["hyper"])
            name = line_name(task, method, run.path.name, hyper, several)
            seeds = [results["members"][i]["seed"] for i in members]
            metrics = {metric: np.array(v, np.float64)[members] for metric, v in results["metrics"].items()}
            lines.append(Line(task, method, run.path.name, hyper, name, seeds, metrics))
    return lines


def lines_of_csv(rows: Iterable[dict[str, str]]) -> list[Line]:
    """The lines of a published ``members.csv``, from its rows as `csv.DictReader` gives them."""
    found: dict[tuple, dict[str, dict[int, float]]] = {}
    for row in rows:
        if not row["metric"].startswith("training/"):
            values = found.setdefault((row["task"], row["method"], row["run"], row["hyper"]), {})
            values.setdefault(row["metric"], {})[int(row["seed"])] = float(row["value"] or "nan")
    runs = dict.fromkeys((task, method, run) for task, method, run, _ in found)
    methods = [(task, method) for task, method, _ in runs]
    lines = []
    for (task, method, run, hyper), metrics in found.items():
        seeds = list(next(iter(metrics.values())))
        name = line_name(task, method, run, hyper, methods.count((task, method)) > 1)
        values = {metric: np.array([of_seed[seed] for seed in seeds]) for metric, of_seed in metrics.items()}
        lines.append(Line(task, method, run, hyper, name, seeds, values))
    return lines


def improvement_tables(lines: Sequence[Line], baseline: str | None) -> dict[str, Table]:
    """Of each task, how often its lines are better than the baseline; nothing without one."""
    tasks = dict.fromkeys(line.task for line in lines) if baseline is not None else ()
    return {task: improvement_table([line for line in lines if line.task == task], baseline) for task in tasks}


def improvement_table(lines: Sequence[Line], baseline: str) -> Table:
    """How often each line of one task is better than the baseline's member of the same seed, by metric.

    Args:
      lines: of one task.
      baseline: a line's name, or the name of a method or of a run's folder that only one line has.

    Raises:
      InputError: if no line or several are meant, there is no other, or seeds differ.
    """
    reference = _find(lines, baseline)
    require(len(lines) > 1, f"--baseline={baseline}: {reference.task} has no other line to compare with it")
    metrics = as_columns(metric for metric in reference.metrics if direction(metric))
    rows = []
    for line in lines:
        if line is reference:
            continue
        require(
            sorted(line.seeds) == sorted(reference.seeds),
            f"--baseline={baseline}: on {line.task}, {line.name} has the seeds {_range(line.seeds)} and {reference.name} "
            f"{_range(reference.seeds)}; train both with the same --seeds and --first_seed",
        )
        rows.append((line.name, [_improvement(line, reference, metric) for metric in metrics]))
    caption = (
        f"Probability that a member is better than the member of {reference.name} of the same seed, n={len(reference.seeds)} pairs, "
        "[95 % bootstrap interval over pairs]. Ties count 1/2; a member that diverged loses, or ties with another such. Bold: the interval "
        f"lies above 1/2, with at least {FEWEST_SEEDS} pairs. \u2013: the method has no such metric."
    )
    return Table(reference.task, header(metrics), rows, caption, [])


def primary_metric(task: str, metrics: Iterable[str]) -> str:
    """The one of ``metrics`` that methods are compared by on ``task``, chosen before any was run (`Task.primary`).

    Raises:
      InputError: if it is not among them.
    """
    primary, metrics = find(task).primary, list(metrics)
    found = [metric for metric in metrics if primary in (metric, kind(metric))]
    require(found, f"{task}: no {primary} among {', '.join(metrics)}; evaluate the runs again")
    return found[0]


def failures(line: Line, ceilings: Mapping[tuple[str, str], float]) -> np.ndarray:
    """Which members ``[S]`` failed: they lost modes, or are far from the others of their line.

    That is a TMC (where the primary metric is the coverage: this) under half of what an exact sampler has, a KL over five times the line's
    median, a success under half the line's median, each where the task has it; or a value that is not finite.

    Args:
      line: at one setting.
      ceilings: the exact sampler's mean by task and metric.
    """
    failed = np.zeros(len(line.seeds), bool)
    modes = "coverage" if find(line.task).primary == "coverage" else "tmc"
    for metric, values in line.metrics.items():
        failed |= ~np.isfinite(values)
        if kind(metric) == modes and (line.task, metric) in ceilings:
            failed |= values < ceilings[line.task, metric] / 2
        elif metric == "kl":
            failed |= values > 5 * np.nanmedian(values)
        elif find(line.task).primary in (metric, kind(metric)) and kind(metric) == "success":
            failed |= values < np.nanmedian(values) / 2
    return failed


def primary_rows(
    lines: Sequence[Line], baseline: str | None, ceilings: Mapping[tuple[str, str], float]
) -> list[list[str]]:
    """On each task's primary metric: ``[task, metric, line, mean, failed members, probability of being better than the baseline]``.

    Without a baseline the last is left out.
    """
    rows = []
    for task in dict.fromkeys(line.task for line in lines):
        of_task = [line for line in lines if line.task == task]
        reference = None if baseline is None else _find(of_task, baseline)
        metric = primary_metric(task, of_task[0].metrics)
        for line in of_task:
            mean = statistics.summarize(line.metrics[metric], folds(task, line.seeds))
            row = [
                task,
                header([metric])[1],
                line.name,
                f"{mean['mean']:.4g} [{mean['low']:.4g}, {mean['high']:.4g}]",
                f"{np.sum(failures(line, ceilings))} of {len(line.seeds)}",
            ]
            if reference is not None:
                better = None if line is reference else _improvement(line, reference, metric)
                value = "\u2013" if better is None else f"**{better.value}**" if better.best else better.value
                row.append(value if better is None else f"{value} {better.interval}".strip())
            rows.append(row)
    return rows


def aggregate_table(lines: Sequence[Line]) -> Table | None:
    """Interquartile means over the members of several tasks, of metrics in per cent that the tasks share; None if none are shared.

    A line is a method, with what its run's name adds to task and method, at one setting; it is in the table if every task has it.
    """
    tasks_of = {}
    for line in lines:
        for metric in line.metrics:
            if kind(metric) in PERCENT:
                tasks_of.setdefault(metric, {})[line.task] = None
    rows = []
    for metric, tasks in tasks_of.items():
        pooled = {}
        for line in lines if len(tasks) > 1 else ():
            if metric in line.metrics:
                variant = run_variant(line.task, line.method, line.run)
                pooled.setdefault((variant, line.method, line.hyper), {})[line.task] = line
        for (variant, method, hyper), parts in pooled.items():
            if parts.keys() == tasks.keys():
                rows.append(_pooled(Row(ALL_TASKS, variant, method, hyper, metric, *[None] * 10), list(parts.values())))
    if not rows:
        return None
    table = make_table(ALL_TASKS, rows, "iqm")
    names = dict.fromkeys(task for metric in {row.metric for row in rows} for task in tasks_of[metric])
    counts = {row.num_seeds for row in rows}
    caption = (
        f"Interquartile mean over the members of {', '.join(names)} together{f' (n={counts.pop()})' if len(counts) == 1 else ''} "
        "[95 % bootstrap interval, resampled within tasks]. Bold: the best of its column, if its interval overlaps no other. "
        "\u2013: not on all of these tasks."
    )
    return table._replace(caption=caption)


def profiles(lines: Sequence[Line]) -> list[Profile]:
    """Performance profiles of the lines of one task, for every metric of which one way is better."""
    panels = []
    for metric in as_columns(metric for line in lines for metric in line.metrics):
        having = [line for line in lines if metric in line.metrics]
        values = np.concatenate([line.metrics[metric] for line in having])
        thresholds = np.unique(values[np.isfinite(values)])
        if not direction(metric) or thresholds.size < 2:  # all alike: nothing to draw
            continue
        estimates = {
            line.name: statistics.performance_profile(
                line.metrics[metric], thresholds, direction(metric), folds(line.task, line.seeds)
            )
            for line in having
        }
        panels.append(Profile(metric, direction(metric), thresholds, estimates))
    return panels


def _find(lines: Sequence[Line], baseline: str) -> Line:
    """The line that ``baseline`` names: by the table's name, else by run or method."""
    by_name = [line for line in lines if line.name == baseline]
    found = by_name or [line for line in lines if baseline in (line.run, line.method)]
    names = "; ".join(f"'{line.name}'" for line in found or lines)
    require(found, f"--baseline={baseline}: {lines[0].task} has no such line; expected one of {names}")
    require(len(found) == 1, f"--baseline={baseline}: {lines[0].task} has several lines of it; give one of {names}")
    return found[0]


def _improvement(line: Line, reference: Line, metric: str) -> Cell:
    if metric not in line.metrics:
        return Cell("\u2013", "", "", False)
    seeds = sorted(reference.seeds)
    ours, theirs = (one.metrics[metric][np.argsort(one.seeds)] for one in (line, reference))
    estimate = statistics.probability_of_improvement(ours, theirs, direction(metric), folds(line.task, seeds))
    interval = "" if np.isnan(estimate.low) else f"[{estimate.low:.2f}, {estimate.high:.2f}]"
    diverged = [int(np.sum(~np.isfinite(values))) for values in (ours, theirs)]
    details = f"{len(seeds)} pairs; diverged: {diverged[0]} here, {diverged[1]} of {reference.name}"
    return Cell(f"{estimate.value:.2f}", interval, details, bool(estimate.low > 0.5) and len(seeds) >= FEWEST_SEEDS)


def _pooled(row: Row, lines: Sequence[Line]) -> Row:
    """``row`` with statistics of the members of ``lines``, one stratum per task and fold."""
    values = np.concatenate([line.metrics[row.metric] for line in lines])
    strata = np.concatenate([[i] * len(line.seeds) for i, line in enumerate(lines)])
    of_fold = np.concatenate([folds(line.task, line.seeds) for line in lines])
    result = statistics.summarize(values, strata * (1 + of_fold.max()) + of_fold)
    if all(len(line.seeds) == 1 for line in lines):  # nothing to resample within a task
        result |= dict.fromkeys(("low", "high", "iqm_low", "iqm_high"), np.nan)
    finite = {name: result[name] if np.isfinite(result[name]) else None for name in STATISTICS}
    return row._replace(num_seeds=values.size, **finite)


def _range(seeds: Sequence[int]) -> str:
    low, high = min(seeds), max(seeds)
    return f"{low} to {high}" if sorted(seeds) == list(range(low, high + 1)) else ", ".join(map(str, sorted(seeds)))
