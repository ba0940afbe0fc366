"""Tables for people from the rows of `experiments.summary`: as data that a page renders, and as Markdown."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.summary import CEILING, Row, Run, load_runs, run_label, summarize

# By the part of a metric's name before "@" or "[": which way is better (0: neither), and what it is. Columns keep this order.
METRICS = {
    "tmc": (1, "% of observations at which S draws reach every mode within tau"),
    "amc": (1, "modes reached per observation by S draws, within tau"),
    "precision": (1, "% of draws within 3 sigma of a mode (inverse sine: inside the support)"),
    "mode_distance": (-1, "mean distance of a draw to the nearest mode, action units"),
    "w1": (-1, "Wasserstein-1 distance to the exact conditional, action units"),
    "kl": (-1, "KL(exact conditional || policy), nats"),
    "heldout_nll": (-1, "negative log-likelihood of held-out demonstrations, nats per row"),
    "short_share_error": (-1, "mean absolute error of the shares of short eruptions, percentage points"),
    "short_share": (0, "% of eruptions under 3 minutes, by minutes waited"),
}


class Cell(NamedTuple):
    """What a table shows of a `Row`; ``best``: better than every other row, and no interval overlaps."""

    value: str
    interval: str
    details: str
    best: bool


class Table(NamedTuple):
    """One task: a header per column, and labelled rows of cells."""

    task: str
    header: list[str]
    rows: list[tuple[str, list[Cell]]]
    caption: str
    legend: list[str]


def tables(rows: Sequence[Row]) -> list[Table]:
    """One table per task, a line per run and setting; the ceiling comes last."""
    return [_table(task, [row for row in rows if row.task == task]) for task in dict.fromkeys(row.task for row in rows)]


def markdown_tables(source: str | pathlib.Path | Sequence[Row]) -> str:
    """Tables of a workdir, or of rows from `summarize` or `read_rows`, as GitHub Markdown."""
    rows = summarize(load_runs(source)[0]) if isinstance(source, str | pathlib.Path) else source
    parts, legends = [], {}
    for table in tables(rows):
        lines = [
            [name, *(f"**{c.value}** {c.interval}" if c.best else f"{c.value} {c.interval}".strip() for c in cells)]
            for name, cells in table.rows
        ]
        parts.append(f"### {table.task}\n\n{markdown_table(table.header, lines)}\n\n{table.caption}\n")
        legends |= dict.fromkeys(table.legend)
    return "\n".join(parts) + f"\nColumns: {'; '.join(legends)}.\n"


def results_table(results: dict[str, Any]) -> str:
    """The table of one run from what its ``results.json`` holds."""
    return markdown_tables(summarize([Run(pathlib.Path(), results, "")]))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table whose columns also line up in a terminal; the first column is left-aligned, the others right."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, *rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def render(cells):
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if not i else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([render(lines[0]), render(rule), *map(render, lines[1:])])


def _table(task: str, rows: Sequence[Row]) -> Table:
    by_line = {}
    for row in rows:
        by_line.setdefault((row.method == CEILING, row.method, row.run, row.hyper), {})[row.metric] = row
    lines = sorted(by_line, key=lambda line: line[0])  # the ceiling last, the rest as they came
    order = list(METRICS)
    metrics = list(dict.fromkeys(row.metric for row in rows if row.method != CEILING))
    metrics.sort(key=lambda metric: order.index(_kind(metric)) if _kind(metric) in order else len(order))
    columns = []
    for metric in metrics:
        column = [by_line[line].get(metric) for line in lines]
        columns.append(_column(column, METRICS.get(_kind(metric), (0, ""))[0]))

    runs_of = {line[1]: len({other[2] for other in lines if other[1] == line[1]}) for line in lines}
    seeds = [max((row.num_seeds or 0 for row in by_line[line].values()), default=0) for line in lines]
    same = len({count for line, count in zip(lines, seeds, strict=True) if not line[0]}) == 1
    names = []
    for (ceiling, method, run, hyper), count in zip(lines, seeds, strict=True):
        name = run_label(task, method, run) if runs_of[method] > 1 else method
        name += f", {hyper}" if hyper else ""
        names.append(name if ceiling or same else f"{name}, n={count}")
    many = "s" if not same or seeds[0] != 1 else ""
    arrows = {1: " \u2191", -1: " \u2193", 0: ""}
    header = ["method", *(m + arrows[METRICS.get(_kind(m), (0, ""))[0]] for m in metrics)]
    caption = (
        f"Mean over {f'n={seeds[0]}' if same else 'n'} seed{many} [95 % bootstrap interval of the mean]. \u2191 higher is better, "
        "\u2193 lower. Bold: the best mean of its column, if its interval overlaps that of no other row but the ceiling. "
        "\u2013: the method has no such metric."
    )
    kinds = dict.fromkeys(map(_kind, metrics))
    legend = [f"{kind}: {METRICS[kind][1]}" for kind in kinds if kind in METRICS]
    return Table(task, header, list(zip(names, map(list, zip(*columns, strict=True)), strict=True)), caption, legend)


def _kind(metric: str) -> str:
    return metric.split("@")[0].split("[")[0]


def _column(column: Sequence[Row | None], direction: int) -> list[Cell]:
    """Cells of one metric, all with the digits that its typical interval supports."""
    rows = [row for row in column if row is not None and row.mean is not None and row.method != CEILING]
    widths = sorted(row.high - row.low for row in rows if row.low is not None and row.high > row.low)
    largest = max((abs(row.mean) for row in rows), default=0)
    size = max(widths[len(widths) // 2] if widths else 0.1 * largest, 0.01 * largest)
    digits = min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 0 else 1
    best = _best([row for row in rows if row.method != CEILING], direction)
    return [_cell(row, digits, row is not None and row is best) for row in column]


def _best(rows: Sequence[Row], direction: int) -> Row | None:
    """The row whose interval lies beyond those of all others, if there is one."""
    if not direction or len(rows) < 2 or any(row.low is None for row in rows):
        return None
    best, *others = sorted(rows, key=lambda row: -direction * row.mean)
    clear = all(best.low > row.high if direction > 0 else best.high < row.low for row in others)
    return best if clear else None


def _cell(row: Row | None, digits: int, best: bool) -> Cell:
    def number(value):
        return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no negative zero

    if row is None:
        return Cell("\u2013", "", "", False)
    if row.mean is None:
        return Cell("not finite", "", "not a finite number for at least one seed", False)
    interval = "" if row.low is None else f"[{number(row.low)}, {number(row.high)}]"
    shown = (("interquartile mean", row.iqm), ("median", row.median), ("min", row.min), ("max", row.max))
    details = ", ".join(f"{name} {number(value)}" for name, value in shown if value is not None)
    return Cell(number(row.mean), interval, details, best)
