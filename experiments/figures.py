"""Figures of a published sweep, drawn from its ``members.csv``, ``curves.csv`` and ``arrays.csv`` alone.

`configs.base` says what may be asked for.
"""

import csv
import io
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from ebgan_mdn_jax import plotting
from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.tasks import TASKS, lasa
from ebgan_mdn_jax.types import InputError, require
from experiments import latent_theory
from experiments.configs.base import ArraysFigure, CurvesFigure, FigureSpec, ScatterFigure, SweepFigure, TaskFigure
from experiments.report import axes_of, load_arrays, load_curves
from experiments.summary import MEMBER_COLUMNS, Run, folds, group, label, run_variant
from experiments.tables import kind

CURVE_COLUMNS = (
    *("task", "run", "method", "hyper", "field", "step"),
    *("num_seeds", "mean", "low", "high", "roughness"),
)
ARRAY_COLUMNS = ("task", "run", "method", "array", "shape", "values")
POINTS = 50  # of a published training curve
_SEEDS, _DRAWS = 2, 10  # of published samples
_CHUNKS = 100  # of published demonstrations, and of samples 40 of seed 0
# What a figure of arrays is drawn from.
_ARRAYS = {
    "samples": ("train_obs", "train_action", "obs", "samples"),
    "landscape": (
        *("train_obs", "train_action", "obs", "actions", "energy", "log_prob"),
        *("log_weights", "means", "scales", "scale_trils"),
    ),
    "arms": ("arm_targets", "arm_samples", "arm_demonstrations"),
    "chunks": ("train_action", "samples"),
    "drawings": ("drawing_rollouts", "drawing_demonstrations", "drawing_heldout"),
}
_DPI = 90


class Member(NamedTuple):
    """A line of a task at one seed: its settings as text, and its metrics by name, NaN where not finite."""

    task: str
    method: str
    seed: int
    settings: dict[str, str]
    metrics: dict[str, float]


class Drawn(NamedTuple):
    """A run and what it is drawn from, see `plotting`."""

    task: str
    method: str
    arrays: dict[str, np.ndarray]


def read_members(path: pathlib.Path) -> list[Member]:
    """The members of a ``members.csv``."""
    members = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            task, run, method, seed, hyper = (line[name] for name in MEMBER_COLUMNS[:5])
            key = (task, run, method, seed, hyper)
            if key not in members:
                members[key] = Member(task, method, int(seed), settings_of(task, method, run, hyper), {})
            members[key].metrics[line["metric"]] = float(line["value"] or "nan")
    return list(members.values())


def settings_of(task: str, method: str, run: str, hyper: str) -> dict[str, str]:
    """Name and value of what the run's variant and the hyperparameters say; a plain word, such as "logit", is a name without a value."""
    parts = [*run_variant(task, method, run).split(","), *hyper.split(", ")]
    return {name: value for name, _, value in (part.partition("=") for part in parts if part)}


def effective_components(member: Member) -> float:
    """``exp`` of the mean entropy of the mixture weights: how many components share the work."""
    return math.exp(member.metrics["training/weight_entropy"])


def bic(member: Member) -> float:
    """Bayesian information criterion over K, up to a constant, in nats: ``2 n NLL + p log n`` of the n training rows.

    Of the p parameters only those of the outputs count, 65 for each of the K (Da + 2) that an isotropic mixture has after 64 hidden units;
    the rest does not depend on K. The likelihood is that of the last interval of training.
    """
    task = TASKS[member.task]
    num_outputs = int(member.settings["num_components"]) * (task.spec.action_dim + 2)
    rows = task.num_demonstrations
    return 2 * rows * member.metrics["training/nll"] + 65 * num_outputs * math.log(rows)


DERIVED: dict[str, Callable[[Member], float]] = {"effective_components": effective_components, "bic": bic}


def value_of(member: Member, metric: str) -> float | None:
    """A metric named in full or by its kind, or a derived one; None where the member has no such metric."""
    if metric in DERIVED:
        try:
            return DERIVED[metric](member)
        except KeyError:
            return None
    names = [metric, *(name for name in member.metrics if kind(name) == metric)]
    return next((member.metrics[name] for name in names if name in member.metrics), None)


def data_files(specs: Iterable[FigureSpec], runs: Sequence[Run]) -> dict[str, str]:
    """Name and text of the files that figures need beside ``members.csv``, from the runs themselves."""
    specs = tuple(specs)
    fields = dict.fromkeys(name for spec in specs if isinstance(spec, CurvesFigure) for name in spec.fields)
    shown = [spec for spec in specs if isinstance(spec, ArraysFigure)]
    files = {"curves.csv": curves_csv(runs, tuple(fields))} if fields else {}
    return files | ({"arrays.csv": arrays_csv(runs, shown)} if shown else {})


def arrays_csv(runs: Sequence[Run], specs: Iterable[ArraysFigure]) -> str:
    """``arrays.csv``: a row per array of a run, its values in C order to four digits. Grids have every second action."""
    of_name = {run.path.name: run for run in runs}
    specs = tuple(specs)
    chunks = {name for spec in specs if spec.kind == "chunks" for name in spec.runs}
    wanted: dict[str, dict[str, None]] = {}
    for spec in specs:
        for name in spec.runs:
            require(name in of_name, f"figure {spec.name}: no run {name} is finished; there are {', '.join(of_name)}")
            wanted.setdefault(name, {}).update(dict.fromkeys(_ARRAYS[spec.kind]))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(ARRAY_COLUMNS)
    for name, arrays in wanted.items():
        run = of_name[name]
        loaded = load_arrays(run)
        for array in (array for array in arrays if array in loaded):
            values = loaded[array]
            if array == "train_action" and name in chunks:
                values = values[:_CHUNKS]
            elif array in ("samples", "arm_samples"):
                values = values[:1, :40] if name in chunks else values[:_SEEDS, :_DRAWS]
            if array in ("actions", "energy", "log_prob") and plotting.geometry(loaded) == "curve":
                values = values[::2]
            numbers = " ".join(f"{value:.4g}" for value in values.ravel())
            shape = " ".join(map(str, values.shape))
            writer.writerow((run.results["task"], name, run.results["method"], array, shape, numbers))
    return buffer.getvalue()


def read_arrays(path: pathlib.Path) -> dict[str, Drawn]:
    """What an ``arrays.csv`` has of every run."""
    drawn: dict[str, Drawn] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values = np.array(row["values"].split(), np.float64).reshape([int(size) for size in row["shape"].split()])
            drawn.setdefault(row["run"], Drawn(row["task"], row["method"], {})).arrays[row["array"]] = values
    return drawn


def curves_csv(runs: Sequence[Run], fields: Sequence[str]) -> str:
    """``curves.csv``: per run, setting and field at most `POINTS` rows, each of a stretch of training that ends at its step.

    ``mean, low, high`` are over seeds (of those still finite, ``num_seeds``) of a seed's mean over the stretch; ``roughness`` is the mean
    over seeds of the mean absolute change from one logged interval to the next.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for run in runs:
        results = run.results
        steps, infos = load_curves(run)
        stretches = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
        for setting in results["statistics"]:
            members = group(results["members"], setting["hyper"])
            names = (results["task"], run.path.name, results["method"], label(setting["hyper"]))
            for field in (field for field in fields if field in infos):
                values = infos[field][:, members]
                change = np.abs(np.diff(values, axis=0, prepend=np.full((1, len(members)), np.nan)))
                for rows in stretches:
                    means = values[rows].mean(axis=0)
                    finite = np.isfinite(means)
                    moves = change[rows][:, finite]
                    moves = moves[np.isfinite(moves)]
                    numbers = [math.nan] * 3
                    if finite.any():
                        summary = statistics.summarize(means[finite], num_resamples=2_000)
                        numbers = [summary[name] for name in ("mean", "low", "high")]
                    numbers.append(moves.mean() if moves.size else math.nan)
                    cells = ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
                    writer.writerow([*names, field, steps[rows[-1]], finite.sum(), *cells])
    return buffer.getvalue()


def draw(spec: FigureSpec, folder: pathlib.Path, results: pathlib.Path) -> bytes:
    """The PNG of one figure of the sweep whose files are in ``folder``; ``results`` has the folders of all that are published.

    Raises:
      InputError: if the published files have nothing that it could show, or it needs a sweep that is not published.
    """
    if isinstance(spec, ArraysFigure):
        return plotting.png(arrays_figure(spec, folder / "arrays.csv"), _DPI, palette=True)
    if isinstance(spec, CurvesFigure):
        panels, render = curve_panels(spec, folder / "curves.csv"), plotting.bands_figure
    elif isinstance(spec, TaskFigure):
        paths = [results / name / "members.csv" for name in spec.others]
        missing = [path for path in paths if not path.is_file()]
        require(not missing, f"figure {spec.name} needs {', '.join(map(str, missing))}: publish that first")
        members = [member for path in (*paths, folder / "members.csv") for member in read_members(path)]
        panels, render = task_panels(spec, members), plotting.bands_figure
    elif isinstance(spec, SweepFigure):
        panels, render = sweep_panels(spec, read_members(folder / "members.csv")), plotting.bands_figure
    else:
        panels, render = scatter_panels(spec, read_members(folder / "members.csv")), plotting.scatter_figure
    require(
        panels,
        f"{folder}: nothing to draw as figure {spec.name}; its config names metrics or settings that are not there",
    )
    return plotting.png(render(panels), _DPI, palette=True)


def sweep_panels(spec: SweepFigure, members: Sequence[Member]) -> list[plotting.Panel]:
    """Means and intervals over seeds at each value of the setting; not finite where a member diverged."""
    panels = []
    for task in _tasks(spec, (member.task for member in members)):
        of_task = [member for member in members if member.task == task]
        for metric in spec.metrics:
            lines, of_line = {}, {}
            for member in of_task:
                settings, value = dict(member.settings), value_of(member, metric)
                if value is not None and (spec.levels or spec.setting in settings):
                    place = settings.pop(spec.setting, None)
                    key = (_line_label(member.method, settings), place is None)
                    of_line.setdefault(key[0], []).append(member)
                    of_place = lines.setdefault(key, {}).setdefault(None if place is None else _number(spec, place), [])
                    of_place.append((member.seed, value))
            bands = {
                f"{name} without {spec.setting}" if level and (name, False) in lines else name: _band(task, places)
                for (name, level), places in lines.items()
            }
            if any(band.x is not None for band in bands.values()):
                theory = _theory(metric, of_line) if spec.theory else ({}, {}, None)
                label = axis_label(metric)
                panels.append(plotting.Panel(task, spec.setting, label, bands, spec.log, True, *theory))
    return panels


def task_panels(spec: TaskFigure, members: Sequence[Member]) -> list[plotting.Panel]:
    """Means and intervals over seeds at the number of each task."""
    panels = []
    for metric in spec.metrics:
        lines: dict[str, dict] = {}
        for member in members:
            value = value_of(member, metric)
            if value is not None and (not spec.variants or _words(member.settings) in spec.variants):
                number = int(re.search(r"\d+", member.task)[0])
                of_line = lines.setdefault(_line_label(member.method, member.settings), {})
                of_line.setdefault(number, []).append((member.seed, value))
        bands = {name: _band(members[0].task, places) for name, places in lines.items()}
        if bands:
            panels.append(plotting.Panel("", spec.x, axis_label(metric), bands, spec.log, ticks=True))
    return panels


def curve_panels(spec: CurvesFigure, path: pathlib.Path) -> list[plotting.Panel]:
    """Means and intervals of training infos over steps, and beside each its roughness."""
    require(path.is_file(), f"{path} does not exist: publish the sweep again, so that figure {spec.name} can be drawn")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    panels = []
    for task in _tasks(spec, (row["task"] for row in rows)):
        for field in spec.fields:
            lines: dict[str, list] = {}
            for row in rows:
                if (row["task"], row["field"]) == (task, field):
                    settings = settings_of(task, row["method"], row["run"], row["hyper"])
                    numbers = [float(row[name] or "nan") for name in ("step", "mean", "low", "high", "roughness")]
                    lines.setdefault(_line_label(row["method"], settings), []).append(numbers)
            arrays = {name: np.array(numbers).T for name, numbers in lines.items()}
            if arrays:
                curves = {name: plotting.Band(*values[:4]) for name, values in arrays.items()}
                rough = {name: plotting.Band(v[0], v[4], v[4], v[4]) for name, v in arrays.items()}
                panels.append(plotting.Panel(task, "training step", field, curves))
                panels.append(plotting.Panel(task, "training step", f"roughness of {field}", rough))
    return panels


def arrays_figure(spec: ArraysFigure, path: pathlib.Path):
    """Samples, arms, chunks, drawings or a landscape of the runs of one task."""
    require(path.is_file(), f"{path} does not exist: publish the sweep again, so that figure {spec.name} can be drawn")
    drawn = read_arrays(path)
    task, _, arrays = drawn[spec.runs[0]]
    if spec.kind == "landscape":
        return plotting.landscape_figure(arrays, axes_of(task, arrays))
    if spec.kind == "drawings":
        return plotting.drawings_figure(arrays, lasa.SHAPES)
    seeds = [f"seed {seed}" for seed in range(_SEEDS)]
    rows = [
        plotting.Samples(
            _line_label(drawn[name].method, settings_of(task, drawn[name].method, name, "")), drawn[name].arrays, seeds
        )
        for name in spec.runs
    ]
    if spec.kind == "chunks":
        return plotting.chunks_figure(rows)
    return plotting.arms_figure(rows) if spec.kind == "arms" else plotting.samples_figure(rows, axes_of(task, arrays))


def scatter_panels(spec: ScatterFigure, members: Sequence[Member]) -> list[plotting.Panel]:
    """A point per member that has both metrics."""
    panels = []
    for task in _tasks(spec, (member.task for member in members)):
        points: dict[str, list] = {}
        for member in (member for member in members if member.task == task):
            pair = value_of(member, spec.x), value_of(member, spec.y)
            if None not in pair:
                points.setdefault(_line_label(member.method, member.settings), []).append(pair)
        lines = {name: tuple(np.array(pairs).T) for name, pairs in points.items()}
        if lines:
            overall, within = rank_correlations(list(lines.values()))
            title = f"{task}: rank correlation {overall:.2f}, within settings {within:.2f}"
            panels.append(
                plotting.Panel(task if np.isnan(overall) else title, axis_label(spec.x), axis_label(spec.y), lines)
            )
    return panels


def rank_correlations(groups: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Spearman's correlation over the finite points of all ``groups``, each ``([P], [P])``, and the mean of each group's own.

    What a setting does to both metrics is in the first only. NaN where a metric does not vary.
    """

    def spearman(x, y):
        finite = np.isfinite(x) & np.isfinite(y)
        varies = finite.any() and np.ptp(x[finite]) > 0 and np.ptp(y[finite]) > 0
        return stats.spearmanr(x[finite], y[finite]).statistic if varies else np.nan

    own = [value for value in (spearman(*group) for group in groups) if np.isfinite(value)]
    return spearman(*(np.concatenate(values) for values in zip(*groups, strict=True))), np.mean(own) if own else np.nan


def _theory(metric: str, of_line: dict[str, list[Member]]) -> tuple:
    """Laws and bounds of a metric by line, where there are any, and where its axis starts, if that is logarithmic."""
    lines = {name: latent_theory.line_of(members) for name, members in of_line.items()}
    laws, bounds = (
        {name: band for name, line in lines.items() if (band := says(metric, line)) is not None}
        for says in (latent_theory.law, latent_theory.bound)
    )
    return laws, bounds, latent_theory.LEAST.get(metric)


def _tasks(spec: FigureSpec, present: Iterable[str]) -> list[str]:
    return [task for task in dict.fromkeys(present) if not spec.tasks or task in spec.tasks]


def _line_label(method: str, settings: dict[str, str]) -> str:
    words = _words(settings)
    return f"{method} ({words})" if words else method


def _words(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" if value else name for name, value in settings.items())


def axis_label(metric: str) -> str:
    """A metric as an axis names it."""
    return (
        "training seconds per member"
        if metric == "training/seconds"
        else metric.removeprefix("training/").replace("_", " ")
    )


def _number(spec: SweepFigure, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"figure {spec.name}: {spec.setting}={text} is no number, so it has no place on the axis"
        ) from None


def _band(task: str, places: dict[float | None, list[tuple[int, float]]]) -> plotting.Band:
    """A line over the places of a setting; a level for the one place None."""
    order = [None] if None in places else sorted(places)
    numbers = []
    for place in order:
        seeds, values = zip(*places[place], strict=True)
        summary = statistics.summarize(values, folds(task, seeds))
        low, high = (summary["mean"] if len(values) == 1 else summary[name] for name in ("low", "high"))
        numbers.append((summary["mean"], low, high))
    return plotting.Band(None if order == [None] else np.array(order), *np.array(numbers).T)
