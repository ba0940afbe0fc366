"""Publish a finished sweep: its CSV files and figures into ``experiments/results/<config>/``, its tables into a document.

    python -m experiments.publish --config=hyperbola
    python -m experiments.publish --recompute

The first form refuses numbers that cannot be traced: from several commits, or from code that was not committed. The second works out
every published ``table.csv`` anew from the ``members.csv`` beside it, after a change of the statistics, and draws the figures again.

Documents are README.md, BUILD.md and experiments/README.md; each shows the sweeps that it has a block for.
"""

import csv
import json
import pathlib
import re
import shutil
import tempfile

import numpy as np

from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.types import require
from experiments import figures, flags, provenance
from experiments.comparisons import lines_of_csv, primary_rows
from experiments.configs import BASELINES, CONFIGS, FIGURES
from experiments.summary import CEILING, STATISTICS, Row, folds, load_runs, read_rows, rows_csv
from experiments.tables import markdown_table, markdown_tables
from experiments.workdir import read_json, write_text

USED = (flags.CONFIG, flags.WORKDIR, flags.RECOMPUTE)
RESULTS = pathlib.Path(__file__).with_name("results")
BENCHMARKS = RESULTS / "benchmarks"
README = pathlib.Path(__file__).resolve().parents[1] / "README.md"
_FILES = ("table.csv", "members.csv", "provenance.json")
_FIGURES_CAPTION = (
    "Lines: mean over seeds, bands: 95 % bootstrap interval; dashed: runs without the setting; a gap: a member diverged. Points of a "
    "scatter are members. Samples are of seeds 0 and 1, demonstrations, arms and energies of seed 0.\n"
)


def publish(name: str, directory: pathlib.Path) -> None:
    """Copy the files of the sweep ``name`` in ``directory``, draw its figures and renew its block."""
    for file in _FILES:
        require((directory / file).is_file(), f"{directory / file} does not exist: finish the sweep first")
    places = " or ".join(str(path.relative_to(README.parent)) for path in documents())
    require(
        any(f"<!-- results: {name} -->" in path.read_text() for path in documents()),
        f"no document has a block <!-- results: {name} --> to renew: add one to {places}",
    )
    launches = read_json(directory / "provenance.json")["launches"]
    commits = sorted({launch["commit"] for launch in launches})
    require(
        len(commits) == 1 and not commits[0].endswith("-dirty") and commits[0] != "unknown",
        f"{directory}: made by {', '.join(commits)}; publish only runs of one commit with nothing uncommitted",
    )
    reference = RESULTS / name / "reference.csv"
    for other in _published(reference) if reference.is_file() else ():
        require((RESULTS / other / "table.csv").is_file(), f"{reference} compares with {other}: publish that first")
    specs = FIGURES.get(name, ())
    texts = figures.data_files(specs, load_runs(directory)[0]) if specs else {}
    texts |= {file: (directory / file).read_text() for file in _FILES}
    launches = [launch | {"command": provenance.published(launch["command"])} for launch in launches]
    texts["provenance.json"] = json.dumps({"launches": launches}, indent=1) + "\n"
    with tempfile.TemporaryDirectory() as staged:  # nothing is replaced unless all can be drawn
        for file, text in texts.items():
            (pathlib.Path(staged) / file).write_text(text)
        drawn = drawings(name, pathlib.Path(staged))
    (RESULTS / name).mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_text(RESULTS / name / file, text)
    write_drawings(name, drawn)
    renew_documents()


def drawings(name: str, folder: pathlib.Path) -> dict[str, bytes]:
    """The figures of the sweep ``name`` by file name, from the CSV files in ``folder``."""
    return {f"{spec.name}.png": figures.draw(spec, folder, RESULTS) for spec in FIGURES.get(name, ())}


def write_drawings(name: str, drawn: dict[str, bytes]) -> None:
    """Put the figures of a published sweep in place of those that were there."""
    folder = RESULTS / name / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    for file, png in drawn.items():
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(png)


def recompute(folder: pathlib.Path) -> list[Row]:
    """The rows of a published ``table.csv`` with statistics of the values in ``members.csv``.

    Seeds that a ceiling or a baseline is averaged over are not in that file, so their rows stay what they are.
    """
    values: dict[tuple, dict[int, float]] = {}
    with (folder / "members.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            key = tuple(line[name] for name in Row._fields[:5])
            values.setdefault(key, {})[int(line["seed"])] = float(line["value"] or "nan")
    rows = []
    for row in read_rows(folder / "table.csv"):
        if row.run:
            of_row = values.get(row[:5], {})
            require(
                len(of_row) == row.num_seeds,
                f"{folder}: members.csv and table.csv are of different runs ({row.run}, {row.metric}); publish the sweep again",
            )
            result = statistics.summarize(list(of_row.values()), folds(row.task, list(of_row)))
            row = row._replace(**{name: result[name] if np.isfinite(result[name]) else None for name in STATISTICS})
        rows.append(row)
    return rows


def documents() -> dict[pathlib.Path, str]:
    """The documents that exist, and how each links to ``experiments``."""
    here = README.parent
    links = {README: "experiments/", here / "BUILD.md": "experiments/", here / "experiments" / "README.md": ""}
    return {path: link for path, link in links.items() if path.is_file()}


def renew_documents() -> None:
    """Render the blocks of all documents from the committed CSV."""
    for path, link in documents().items():
        write_text(path, renew(path.read_text(), link))


def renew(text: str, link: str = "experiments/") -> str:
    """The text of a document with every published block rendered from the committed CSV; ``link`` leads from it to ``experiments``.

    Blocks are ``<!-- results: name -->`` ... ``<!-- end -->`` for a sweep, and the same with ``benchmark`` for a benchmark.
    """

    def render(match):
        start, kind, name, end = match.groups()
        if kind == "benchmark":
            published, content = (BENCHMARKS / f"{name}.csv").is_file(), benchmark_block
        else:
            published, content = all((RESULTS / name / file).is_file() for file in _FILES), block
        return start + content(name, f"{link}results") + end if published else match[0]

    return re.sub(r"(<!-- (results|benchmark): (\w+) -->\n).*?(<!-- end -->)", render, text, flags=re.DOTALL)


def benchmark_block(name: str, results: str) -> str:
    """Table, figure and origin of one benchmark; the CSV has more where settings compete, of which the table has the best, or seeds do."""
    with (BENCHMARKS / f"{name}.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    if "best" in header:
        place = header.index("best")
        rows = [row[:place] + row[place + 1 :] for row in rows if row[place]]
        header.remove("best")
    if "seed" in header:  # the table has the rows of all seeds together
        place = header.index("seed")
        rows = [row[:place] + row[place + 1 :] for row in rows if row[place] == "all"]
        header.remove("seed")
    launch = read_json(BENCHMARKS / f"{name}.json")
    drawn = f"![{name}]({results}/benchmarks/{name}.png)\n\n" if (BENCHMARKS / f"{name}.png").is_file() else ""
    return (
        f"{markdown_table(header, rows)}\n\n{drawn}`{launch['command']}` at commit {launch['commit']} on {launch['hardware']} "
        f"(jax {launch['versions']['jax']}); [all of it]({results}/benchmarks/{name}.csv).\n"
    )


def block(name: str, results: str) -> str:
    """Tables, figures and origin of one published sweep, with a comparison where ``reference.csv`` holds numbers of others."""
    folder = RESULTS / name
    launch = read_json(folder / "provenance.json")["launches"][0]
    rows = read_rows(folder / "table.csv")
    parts = [primary(folder, BASELINES[name], rows)] if name in BASELINES else []
    parts.append(markdown_tables(rows))
    if (folder / "reference.csv").is_file():
        parts.append(comparison(folder / "reference.csv", rows))
    parts += [f"![{spec.name}]({results}/{name}/figures/{spec.name}.png)\n" for spec in FIGURES.get(name, ())]
    if FIGURES.get(name):
        parts.append(_FIGURES_CAPTION)
    parts.append(
        f"`{launch['command']}` at commit {launch['commit']} on {launch['hardware']} (jax {launch['versions']['jax']}); "
        f"[summary]({results}/{name}/table.csv), [every seed]({results}/{name}/members.csv)."
    )
    return "\n".join(parts) + "\n"


def primary(folder: pathlib.Path, baseline: str | None, table: list[Row]) -> str:
    """Every line on its task's primary metric, against the baseline's members of the same seeds if there is one."""
    ceilings = {(row.task, row.metric): row.mean for row in table if row.method == CEILING and row.mean is not None}
    with (folder / "members.csv").open(newline="") as file:
        rows = primary_rows(lines_of_csv(csv.DictReader(file)), baseline, ceilings)
    columns = ["task", "primary metric", "method", "mean", "failed"]
    caption = (
        "Mean [95 % bootstrap interval]. Failed: a TMC (on the grid a coverage) under half the exact sampler's, a KL over five times or a "
        "success under half the line's median, or no finite value."
    )
    if baseline is not None:
        columns.append(f"better than {baseline}")
        caption += (
            f" Last: probability that a member is better than the one of {baseline} with the same seed [interval over pairs], a tie "
            "counting 1/2; bold: the interval lies above 1/2."
        )
    return f"{markdown_table(columns, rows)}\n\n{caption}\n"


def comparison(path: pathlib.Path, rows: list[Row]) -> str:
    """Our medians beside the paper's numbers and those of the authors' code.

    ``path`` is a table with the columns run, metric, paper, code_min and code_max. One more, "published", names the published sweep that
    has the same run with the paper's settings.
    """
    header = ["run", "metric", "paper or its notebook", "authors' code, 3 seeds", "ours, median (min to max)"]
    lines = []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        references, both = list(reader), "published" in reader.fieldnames
    if both:
        header[-1:] = ["ours, the paper's settings", "ours, median (min to max)"]
    for reference in references:
        low, high = reference["code_min"], reference["code_max"]
        line = [
            reference["run"],
            reference["metric"],
            reference["paper"] or "\u2013",
            f"{low} to {high}" if low else "\u2013",
        ]
        if both:
            line.append(_median(path, reference, read_rows(RESULTS / reference["published"] / "table.csv")))
        lines.append([*line, _median(path, reference, rows)])
    return markdown_table(header, lines) + "\n"


def _published(path: pathlib.Path) -> set[str]:
    """The sweeps whose published numbers a ``reference.csv`` compares with."""
    with path.open(newline="") as file:
        return {line["published"] for line in csv.DictReader(file) if "published" in line}


def _median(path, reference, rows):
    run, metric = reference["run"], reference["metric"]
    found = [row for row in rows if (row.run, row.metric) == (run, metric)]
    require(found, f"{path}: {run} and {metric} are no run and metric of the sweep; correct or remove the line")
    return f"{found[0].median:.4g} ({found[0].min:.4g} to {found[0].max:.4g})"


def main() -> None:
    """Publish one sweep, or work out published tables anew."""
    name = flags.CONFIG.value
    if flags.RECOMPUTE.value:
        folders = [RESULTS / name] if name else sorted(path.parent for path in RESULTS.glob("*/table.csv"))
        require(
            (folders[0] / "table.csv").is_file(),
            f"--config={name} is not published: there is no {folders[0] / 'table.csv'}",
        )
        tables = {folder: rows_csv(recompute(folder)) for folder in folders}
        for folder, text in tables.items():
            write_text(folder / "table.csv", text)
            write_drawings(folder.name, drawings(folder.name, folder))
            print(f"worked out {folder / 'table.csv'}")
        renew_documents()
        return
    require(name is not None, f"--config is missing: expected one of {', '.join(CONFIGS)}")
    publish(name, pathlib.Path(flags.WORKDIR.value or f"runs/{name}"))
    print(f"published {RESULTS / name}")


if __name__ == "__main__":
    flags.run(main, *USED)
