"""One self-contained page, figures and CSV files from the results of a run or of all runs of a sweep.

    python -m experiments.report --workdir=runs/hyperbola
    python -m experiments.report --workdir=runs/hyperbola --baseline=mdn

Writes ``report.html``, ``table.csv``, ``members.csv``, ``members.parquet`` and ``figures/*.png`` into the folder, and prints the tables.
With a baseline, it also says how often each other run is better. Needs nothing but saved results: no training, no data set.
"""

import base64
import importlib.util
import json
import os
import pathlib
import re
import zipfile
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax import plotting
from ebgan_mdn_jax.tasks import lasa
from ebgan_mdn_jax.types import InputError, require, resolve_path
from experiments import comparisons, flags
from experiments.parquet import members_parquet
from experiments.summary import (
    CEILING,
    Run,
    frozen_members,
    group,
    label,
    line_name,
    load_runs,
    members_csv,
    rows_csv,
    settings,
    summarize,
)
from experiments.tables import markdown, markdown_tables, part_tables, tables

# Axis labels of tasks whose quantities have units; the synthetic ones have none.
AXES = {"geyser": ("wait before the eruption (minutes)", "eruption (minutes)")}
OUTPUTS = ("report.html", "table.csv", "members.csv", "members.parquet", "figures")
USED = (flags.WORKDIR, flags.BASELINE)
MOST_PROFILES = 12  # lines that one figure of performance profiles can still tell apart
TEMPLATE = pathlib.Path(__file__).with_name("report.html.j2")


class Figure(NamedTuple):
    """A figure of the page: file name, what it shows, and the PNG itself."""

    file: str
    title: str
    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def width(self) -> int:
        """Pixels on the page, so that all figures have letters of one size; a PNG's own width is in its bytes 16 to 19."""
        return round(0.72 * int.from_bytes(self.png[16:20]))


def report(directory: str | os.PathLike, baseline: str | None = None) -> pathlib.Path:
    """Write the report of one run, or of the runs in the sub-folders of ``directory``; returns the path of the page.

    Args:
      directory: the workdir of a run or of a sweep.
      baseline: what to compare the other lines of each task with, see `comparisons.improvement_table`.

    Raises:
      InputError: if nothing is finished yet, if a file of a finished run is missing or damaged, if the baseline is not there or has
        other seeds, or without the extra "plots".
    """
    for package in ("matplotlib", "jinja2", "pyarrow"):
        found = importlib.util.find_spec(package) is not None
        require(found, f"a report needs {package}, which is not installed: pip install 'ebgan_mdn_jax[plots]'")
    import jinja2

    directory = resolve_path(directory)
    runs, unfinished = load_runs(directory)
    rows = summarize(runs)
    lines = comparisons.lines_of(runs)
    improvements = comparisons.improvement_tables(lines, baseline)
    sections = []
    for table in tables(rows):
        of_task = [run for run in runs if run.results["task"] == table.task]
        names = run_names(of_task)
        task_lines = [line for line in lines if line.task == table.task]
        profiles = _profiles(table.task, task_lines) if len(task_lines) <= MOST_PROFILES else []
        sections.append(
            {
                "table": table,
                "parts": part_tables([row for row in rows if row.task == table.task]),
                "improvement": improvements.get(table.task),
                "without_profiles": len(task_lines) > MOST_PROFILES,
                "figures": profiles + _figures(table.task, of_task, names),
                "configs": [(name, _pretty(run.config)) for name, run in zip(names, of_task, strict=True)],
            }
        )
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text())
    page = template.render(
        title=directory.name,
        sections=sections,
        aggregate=comparisons.aggregate_table(lines),
        unfinished=unfinished,
        frozen=[line for run in runs if (line := frozen_members(run))],
        baseline=baseline,
        most_profiles=MOST_PROFILES,
        ceiling=CEILING,
    )

    (directory / "figures").mkdir(exist_ok=True)
    for section in sections:
        for figure in section["figures"]:
            _write(directory / "figures" / figure.file, figure.png)
    _write(directory / "table.csv", rows_csv(rows).encode())
    _write(directory / "members.csv", members_csv(runs).encode())
    _write(directory / "members.parquet", members_parquet(runs))
    _write(directory / "report.html", page.encode())
    return directory / "report.html"


def run_names(runs: list[Run]) -> list[str]:
    """A name per run: its method, with the folder where several runs share the method."""
    methods = [run.results["method"] for run in runs]
    return [
        line_name(run.results["task"], method, run.path.name, "", methods.count(method) > 1)
        for run, method in zip(runs, methods, strict=True)
    ]


def _profiles(task: str, lines: list[comparisons.Line]) -> list[Figure]:
    """Performance profiles of a task in one figure, if there are seeds to tell apart."""
    panels = comparisons.profiles(lines) if any(len(line.seeds) > 1 for line in lines) else []
    if not panels:
        return []
    caption = (
        "Fraction of members that are as good as a threshold or better, by metric; a member that diverged reaches none. "
        "Bands: pointwise 95 % bootstrap intervals."
    )
    png = plotting.png(plotting.profiles_figure(panels))
    return [Figure(f"{_slug(task)}_profiles.png", "Performance profiles", caption, png)]


def _figures(task: str, runs: list[Run], names: list[str]) -> list[Figure]:
    """Samples of all runs in one figure, arms in another; then landscape and training curves run by run."""
    figures = []
    arrays = [load_arrays(run) for run in runs]
    shape, axes = plotting.geometry(arrays[0]), axes_of(task, arrays[0])
    if shape:
        drawn = [
            plotting.Samples(name, values, member_titles(run))
            for name, values, run in zip(names, arrays, runs, strict=True)
        ]
        caption = (
            "Draws from the trained policies over the demonstrations; a panel per member, at most four of each run."
        )
        if shape == "plane":
            caption += f" At most {plotting.MAX_POINTS:,} demonstrations are drawn."
        png = plotting.png(plotting.samples_figure(drawn, axes))
        figures.append(Figure(f"{_slug(task)}_samples.png", "Samples", caption, png))
    arms = [
        plotting.Samples(name, values, member_titles(run))
        for name, values, run in zip(names, arrays, runs, strict=True)
        if "arm_targets" in values
    ]
    if arms:
        caption = "Draws of each run's first member at a few training targets, over the demonstrations nearest to them."
        png = plotting.png(plotting.arms_figure(arms))
        figures.append(Figure(f"{_slug(task)}_arms.png", "Arms", caption, png))
    for run, name, values in zip(runs, names, arrays, strict=True):
        stem = _slug(run.path.name)
        if "drawing_rollouts" in values:
            caption = (
                f"Rollouts of {member_titles(run)[0].replace(chr(10), ', ')} from where the held-out drawings begin."
            )
            png = plotting.png(plotting.drawings_figure(values, lasa.SHAPES))
            figures.append(Figure(f"{stem}_drawings.png", f"Drawings: {name}", caption, png))
        figure = plotting.landscape_figure(values, axes)
        if figure is not None:
            caption = f"Of {member_titles(run)[0].replace(chr(10), ', ')}; dark: likely."
            if "means" in values:
                spread = (
                    "ellipses: one standard deviation"
                    if shape == "plane"
                    else "lines: means, bands: one standard deviation"
                )
                caption += f" Mixture components in blue ({spread}; faint: little weight)."
            if "energy" in values:
                caption += " Energies are unnormalised, so they are drawn above their least value at each observation."
            clipped = {"energy", "log_prob"} & values.keys()
            if clipped:
                caption += f" Colours span at most {plotting.NATS_SHOWN:g} nats; what lies beyond is clipped."
            figures.append(Figure(f"{stem}_landscape.png", f"Landscape: {name}", caption, plotting.png(figure)))
        steps, infos = load_curves(run)
        members = run.results["members"]
        groups = {label(setting["hyper"]): group(members, setting["hyper"]) for setting in run.results["statistics"]}
        caption = f"Thin: each of the {len(members)} members; bold: their median" + (
            " at each setting." if len(groups) > 1 else "."
        )
        png = plotting.png(plotting.curves_figure(steps, infos, groups))
        figures.append(Figure(f"{stem}_curves.png", f"Training: {name}", caption, png))
        for path in sorted((run.path / "simulations").glob("*.png")):
            caption = "Frames of the first episodes, evenly spaced in time, drawn by experiments.simulate."
            title = f"Episodes: {name}, {path.stem}"
            figures.append(Figure(f"{stem}_{_slug(path.stem)}.png", title, caption, path.read_bytes()))
    return figures


def axes_of(task: str, arrays: dict[str, np.ndarray]) -> tuple[str, str]:
    """Labels of the two axes that the task's samples are drawn on."""
    plane = plotting.geometry(arrays) == "plane"
    return AXES.get(task, ("action 1", "action 2") if plane else ("observation", "action"))


def member_titles(run: Run) -> list[str]:
    """Seed, and where they vary the hyperparameters, of each member."""
    varied = settings(run.results)
    return [
        f"seed {member['seed']}" + (f"\n{label(setting)}" if setting else "")
        for member, setting in zip(run.results["members"], varied, strict=True)
    ]


def load_arrays(run: Run) -> dict[str, np.ndarray]:
    """The arrays of `plotting` that a run was evaluated with."""
    path = run.path / "arrays.npz"
    try:
        with np.load(path) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: missing or damaged; evaluate the run again") from error
    absent = {"train_obs", "train_action", "obs", "samples"} - arrays.keys()
    require(not absent, f"{path}: lacks {', '.join(sorted(absent))}; evaluate the run again")
    return arrays


def load_curves(run: Run) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Steps ``[T]`` and ``{info: [T, S]}``; what is null becomes NaN."""
    path = run.path / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = list({row["step"]: row for row in rows}.values())
        names = [name for name in rows[0] if name != "step"]
        infos = {name: np.array([row[name] for row in rows], np.float64) for name in names}
        require(
            all(values.shape == (len(rows), len(run.results["members"])) for values in infos.values()),
            f"{path}: rows without one value per member; it belongs to another run",
        )
        return np.array([row["step"] for row in rows]), infos
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: missing or damaged; copy the whole run, or train it again") from error


def _pretty(config: str) -> str:
    try:
        return json.dumps(json.loads(config), indent=2)
    except ValueError:
        return config


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _write(path: pathlib.Path, content: bytes) -> None:
    """All of a file or nothing of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def main() -> None:
    """Print the tables, write the report."""
    require(flags.WORKDIR.value is not None, "--workdir is missing: give the folder of a run or of a sweep")
    baseline = flags.BASELINE.value
    page = report(flags.WORKDIR.value, baseline)
    print(markdown_tables(flags.WORKDIR.value))
    if baseline is not None:
        lines = comparisons.lines_of(load_runs(flags.WORKDIR.value)[0])
        for task, table in comparisons.improvement_tables(lines, baseline).items():
            print(f"### {task}: probability of improvement over {baseline}\n\n{markdown(table)}")
    print(f"report: {page}")


if __name__ == "__main__":
    flags.run(main, *USED)
