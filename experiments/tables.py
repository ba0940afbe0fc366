"""Tables for people from the rows of `experiments.summary`: as data that a page renders, and as Markdown."""

import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.summary import CEILING, FEWEST_SEEDS, Row, Run, line_name, load_runs, natural, summarize

# By the part of a metric's name before "@" or "[": which way is better (0: neither), and what it is. Columns keep this order.
METRICS = {
    "score": (
        1,
        "mean over episodes of the largest share of the target that was covered, of which 95 % count as all, in %",
    ),
    "share_coverage": (1, "% of modes that at least tau times their share of draws keep to at every step"),
    "on_support": (1, "% of draws that keep to a mode at every step, as 99.9 % of perfect ones do"),
    "bridge": (-1, "% of draws that keep to none and lie between modes"),
    "astray": (-1, "% of draws that keep to none and do not lie between modes"),
    "share_error": (
        -1,
        "total variation distance of modes' shares of draws that keep to one to the exact shares, percentage points",
    ),
    "knn_precision": (1, "% of draws as near to a demonstration as its fifth neighbour is"),
    "knn_recall": (1, "% of demonstrations as near to a draw as its fifth neighbour is"),
    "success": (
        1,
        "% of rollouts that reach the goal, or of draws that bring an arm's tip within tau of its target; of chunks: that end near an end, "
        "are long enough and hit nothing",
    ),
    "collision": (-1, "% of rollouts that hit an obstacle"),
    "reach": (1, "% of rollouts that end near the end of a mode"),
    "long_enough": (1, "% of rollouts at least half as long as demonstrations"),
    "mode_hits": (1, "% of modes that are the nearest one to some of S rollouts, without those that hit an obstacle"),
    "hit_entropy": (
        1,
        "entropy of the nearest modes of S rollouts, without those that hit an obstacle, in % of equal shares'",
    ),
    "valid_mode_hits": (1, "% of modes that are the nearest one to some successful ones of S rollouts"),
    "valid_hit_entropy": (1, "entropy of the nearest modes of successful ones of S rollouts, in % of equal shares'"),
    "behaviour_entropy": (1, "valid_hit_entropy without the bias of few rollouts"),
    "rate": (0, "KL of a demonstration's posterior to the prior, nats"),
    "information": (1, "of a code about the demonstration, nats"),
    "marginal_kl": (-1, "rate less information: KL of all demonstrations' codes to the prior, nats"),
    "active_units": (0, "dimensions of the code that are used"),
    "decoding_error": (-1, "% of posterior codes that decode nearest to another mode than the demonstration's"),
    "reconstructed": (1, "% of posterior codes that decode into the tube of the demonstration's mode"),
    "zero_on_support": (1, "% of actions at z = 0 that keep to a mode at every step"),
    "reconstruction": (-1, "error of what posterior codes decode to, half extents of the action box"),
    "spread": (0, "the least error of an action that ignores the code, in the same units"),
    "z_advantage": (1, "% by which the absolute error is less with the code than with z = 0"),
    "draw_variance": (0, "variance of draws, % of that of demonstrations"),
    "mode_switches": (-1, "% of successive chunks that end nearest to different modes, where the ways have parted"),
    "fail": (-1, "% of rollouts that leave the arena"),
    "route_share_error": (
        -1,
        "total variation distance of successful rollouts' ways to the exact shares, percentage points",
    ),
    "route_entropy": (0, "of the ways that successful rollouts take, bits"),
    "orientation_error": (-1, "median angle between the tool and its target orientation, degrees"),
    "solutions": (
        1,
        "% of all solutions that are the nearest one to some of S draws whose tool is within tau of the target",
    ),
    "tmc": (1, "% of observations at which S draws reach every mode within tau"),
    "amc": (1, "modes reached per observation by S draws, within tau"),
    "coverage": (1, "% of all modes that S draws reach within tau"),
    "first_goal": (1, "% of episodes that visit the first goal"),
    "train_success": (1, "% of demonstrated episodes, at most 10, that the policy can do itself"),
    "final_distance": (-1, "mean distance to the second goal at the end, in edges of the unit cube"),
    "targets_visited": (1, "% of targets that a block was at"),
    "goal_distance": (-1, "mean distance of block and target at the end, metres"),
    "length": (0, "mean number of actions of an episode"),
    "pixel_error": (-1, "mean distance to the block's centre, pixels"),
    "pixel_error_inside": (-1, "the same in the convex hull of the training images' centres"),
    "pixel_error_outside": (-1, "the same outside it"),
    "gap_share": (-1, "% of actions close to a jump that lie in its middle 80 %"),
    "piece_error": (-1, "mean absolute error of actions, close to an edge left out, action units"),
    "extrapolation_error": (-1, "the same beyond the training interval"),
    "spurious_minima": (-1, "local minima of the energy farther than 0.1 from the right action, per observation"),
    "steepest": (0, "largest slope of the energy over actions, nats per action unit"),
    "success_square": (1, "the same over the whole square, targets out of reach included, in %"),
    "both_elbows": (1, "% of targets that S draws reach with either elbow, within tau"),
    "valid": (1, "% of draws within the joint limits and within tau of the target"),
    "all_solutions": (1, "% of targets at which S draws have every valid elbow, within tau"),
    "all_solutions_of_2": (1, "the same where both elbows are valid, in %"),
    "manifold_coverage": (
        1,
        "% of the feasible cells (hand orientation, elbow) that S collision-free draws hit, within tau",
    ),
    "self_collision": (-1, "% of draws whose last link crosses the first"),
    "path_ratio": (
        -1,
        "length of successful ways over the shortest that the planner finds at the start, in joint space",
    ),
    "clearance": (1, "least distance to an obstacle on successful ways, units of length (UR5: m)"),
    "limits": (-1, "% of set-points beyond a joint's limits"),
    "tip_error": (-1, "mean distance of the tip to the target, units of length (UR5: m)"),
    "tip_error_median": (-1, "median distance of the tip to the target over draws, units of length (UR5 and UR10: mm)"),
    "balanced": (1, "% of observations with several modes where each has its share of the draws, to within 40 % of it"),
    "precision": (1, "% of draws within 3 sigma of a mode (inverse sine, disjoint sets: inside the support)"),
    "mode_distance": (-1, "mean distance of a draw to the nearest mode, action units"),
    "w1": (-1, "Wasserstein-1 distance to the exact conditional, action units"),
    "kl": (-1, "KL(exact conditional || policy), nats"),
    "downhill": (1, "% of actions off the modes where the energy falls towards the nearest mode"),
    "min_ade": (-1, "mean distance to the true way, of the best of N draws, metres"),
    "min_fde": (-1, "distance to its end, of the best of N draws, metres"),
    "ade": (-1, "mean distance of a draw to the true way, metres"),
    "reproduction_error": (-1, "mean distance to the held-out drawing at equal times, mm"),
    "frechet": (-1, "discrete Frechet distance to the held-out drawing, mm"),
    "collision_free": (1, "% of draws that stay 0.1 m or more from where others were"),
    "heldout_nll": (-1, "negative log-likelihood of held-out demonstrations, nats per row"),
    "energy_score": (-1, "energy score of draws at held-out rows, half extents of the action box"),
    "marginal_w1": (-1, "Wasserstein-1 distance of all draws to all held-out actions, half extents of the action box"),
    "bimodal_coverage": (1, "% of the places where demonstrators divide at which draws do, too"),
    "bimodal_off": (-1, "% of draws there that lead to neither place"),
    "short_share_error": (-1, "mean absolute error of the shares of short eruptions, percentage points"),
    "short_share": (0, "% of eruptions under 3 minutes, by minutes waited"),
}
_MOST_PARTS = 12


class Cell(NamedTuple):
    """What a table shows of a number; ``best``: it is set in bold, for the reason that the table's caption gives."""

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
    """One table of means per task, a line per run and setting; the ceiling comes last."""
    return [
        make_table(task, [row for row in rows if row.task == task], "mean")
        for task in dict.fromkeys(row.task for row in rows)
    ]


def make_table(title: str, rows: Sequence[Row], statistic: str) -> Table:
    """One table of all rows: a line per run and setting, showing the "mean" or the "iqm" with its interval."""
    by_line = _by_line(rows)
    metrics = as_columns(row.metric for row in rows if row.method != CEILING)
    columns = [
        _column([line.get(metric) for line in by_line.values()], direction(metric), statistic) for metric in metrics
    ]
    seeds = [max((row.num_seeds or 0 for row in line.values()), default=0) for line in by_line.values()]
    same = len({count for line, count in zip(by_line, seeds, strict=True) if not line[0]}) == 1
    names = [
        name if line[0] or same else f"{name}, n={count}"
        for line, name, count in zip(by_line, _line_names(title, by_line), seeds, strict=True)
    ]
    many = "s" if not same or seeds[0] != 1 else ""
    word = {"mean": "mean", "iqm": "interquartile mean"}[statistic]
    caption = (
        f"{word.capitalize()} over {f'n={seeds[0]}' if same else 'n'} seed{many} [95 % bootstrap interval of the {word}]. "
        f"\u2191 higher is better, \u2193 lower. Bold: the best {word} of its column, if its interval overlaps that of no other row but "
        f"the ceiling, with at least {FEWEST_SEEDS} seeds. \u2013: the method has no such metric."
    )
    kinds = dict.fromkeys(map(kind, metrics))
    legend = [f"{name}: {METRICS[name][1]}" for name in kinds if name in METRICS]
    cells = [list(line) for line in zip(*columns, strict=True)]
    return Table(title, header(metrics), list(zip(names, cells, strict=True)), caption, legend)


def part_tables(rows: Sequence[Row]) -> list[Table]:
    """Of one task, a table of means for each kind of metric that `parted` tells of: a row per part, a column per line."""
    by_line = _by_line(rows)
    names = _line_names(rows[0].task, by_line)
    return [
        Table(
            f"{rows[0].task}: {header([name])[1]}",
            ["", *names],
            [
                (_part(metric), _column([line.get(metric) for line in by_line.values()], direction(metric), "mean"))
                for metric in metrics
            ],
            "Means as above.",
            [],
        )
        for name, metrics in parted(row.metric for row in rows).items()
    ]


def parted(metrics: Iterable[str]) -> dict[str, list[str]]:
    """Kinds that come as more than 12 metrics ``kind[part]``, too many for columns, with these metrics."""
    found: dict[str, list[str]] = {}
    for metric in in_order(metrics):
        if _part(metric):
            found.setdefault(kind(metric), []).append(metric)
    return {name: metrics for name, metrics in found.items() if len(metrics) > _MOST_PARTS}


def as_columns(metrics: Iterable[str]) -> list[str]:
    """`in_order`, without those that `parted` tells of."""
    metrics = in_order(metrics)
    parts = {metric for of_kind in parted(metrics).values() for metric in of_kind}
    return [metric for metric in metrics if metric not in parts]


def _part(metric: str) -> str:
    return metric.partition("[")[2].rstrip("]")


def _by_line(rows: Sequence[Row]) -> dict[tuple, dict[str, Row]]:
    """The rows of each line by their metric, the ceiling last, the rest as they came; a key begins with whether it is the ceiling."""
    by_line: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        by_line.setdefault((row.method == CEILING, row.method, row.run, row.hyper), {})[row.metric] = row
    return {key: by_line[key] for key in sorted(by_line, key=lambda line: line[0])}


def _line_names(title: str, lines: Iterable[tuple]) -> list[str]:
    """What a table calls its lines."""
    lines = list(lines)
    runs_of = {line[1]: len({other[2] for other in lines if other[1] == line[1]}) for line in lines}
    return [line_name(title, method, run, hyper, runs_of[method] > 1) for _, method, run, hyper in lines]


def kind(metric: str) -> str:
    """The key of a metric in `METRICS`."""
    return metric.split("@")[0].split("[")[0]


def direction(metric: str) -> int:
    """1 if higher is better, -1 if lower, 0 if neither."""
    return METRICS.get(kind(metric), (0, ""))[0]


def in_order(metrics: Iterable[str]) -> list[str]:
    """Each metric once, in the order of `METRICS`, unknown ones last; of one kind by the numbers in their names."""
    place = {name: index for index, name in enumerate(METRICS)}
    return sorted(dict.fromkeys(metrics), key=lambda metric: (place.get(kind(metric), len(place)), natural(metric)))


def header(metrics: Iterable[str]) -> list[str]:
    """Column headers of a table: each metric with an arrow that says which way is better."""
    return ["method", *(metric + {1: " \u2191", -1: " \u2193", 0: ""}[direction(metric)] for metric in metrics)]


def markdown_tables(source: str | pathlib.Path | Sequence[Row]) -> str:
    """Tables of a workdir, or of rows from `summarize` or `read_rows`, as GitHub Markdown."""
    rows = summarize(load_runs(source)[0]) if isinstance(source, str | pathlib.Path) else source
    parts, legends = [], {}
    for table in tables(rows):
        parts.append(f"### {table.task}\n\n{markdown(table)}")
        of_task = [row for row in rows if row.task == table.task]
        parts += [f"#### {of_parts.task}\n\n{markdown(of_parts)}" for of_parts in part_tables(of_task)]
        legends |= dict.fromkeys(table.legend)
    return "\n".join(parts) + f"\nColumns: {'; '.join(legends)}.\n"


def results_table(results: dict[str, Any]) -> str:
    """The table of one run from what its ``results.json`` holds."""
    return markdown_tables(summarize([Run(pathlib.Path(), results, "")]))


def markdown(table: Table) -> str:
    """One table and its caption as GitHub Markdown."""
    lines = [
        [name, *(f"**{c.value}** {c.interval}" if c.best else f"{c.value} {c.interval}".strip() for c in cells)]
        for name, cells in table.rows
    ]
    return f"{markdown_table(table.header, lines)}\n\n{table.caption}\n"


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


def _column(column: Sequence[Row | None], better: int, statistic: str) -> list[Cell]:
    """Cells of one metric, all with the digits that its typical interval supports."""
    entries = [None if row is None else _entry(row, statistic) for row in column]
    ranked = [
        entry
        for row, entry in zip(column, entries, strict=True)
        if row is not None and entry.value is not None and row.method != CEILING
    ]
    widths = sorted(entry.high - entry.low for entry in ranked if entry.low is not None and entry.high > entry.low)
    largest = max((abs(entry.value) for entry in ranked), default=0)
    size = max(widths[len(widths) // 2] if widths else 0.1 * largest, 0.01 * largest)
    digits = min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 0 else 1
    few = any(row.num_seeds < FEWEST_SEEDS for row in column if row is not None and row.num_seeds is not None)
    best = None if few else _best(ranked, better)
    return [_cell(entry, digits, entry is not None and entry is best) for entry in entries]


class _Entry(NamedTuple):
    """What a cell is made of: the statistic shown with its interval, and what its details list as (name, value, low, high)."""

    value: float | None
    low: float | None
    high: float | None
    others: tuple[tuple[str, float | None, float | None, float | None], ...]


def _entry(row: Row, statistic: str) -> _Entry:
    mean = ("mean", row.mean, row.low, row.high)
    middle = ("interquartile mean", row.iqm, row.iqm_low, row.iqm_high)
    shown, other = (mean, middle) if statistic == "mean" else (middle, mean)
    plain = (("median", row.median), ("min", row.min), ("max", row.max))
    return _Entry(*shown[1:], (other, *((name, value, None, None) for name, value in plain)))


def _best(entries: Sequence[_Entry], better: int) -> _Entry | None:
    """The entry whose interval lies beyond those of all others, if there is one; of few seeds an interval says too little."""
    if not better or len(entries) < 2 or any(entry.low is None for entry in entries):
        return None
    best, *others = sorted(entries, key=lambda entry: -better * entry.value)
    clear = all(best.low > entry.high if better > 0 else best.high < entry.low for entry in others)
    return best if clear else None


def _cell(entry: _Entry | None, digits: int, best: bool) -> Cell:
    def number(value):
        return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no negative zero

    def interval(low, high):
        return "" if low is None else f"[{number(low)}, {number(high)}]"

    if entry is None:
        return Cell("\u2013", "", "", False)
    if entry.value is None:
        return Cell("not finite", "", "not a finite number for at least one seed", False)
    details = ", ".join(
        f"{name} {number(value)} {interval(low, high)}".strip()
        for name, value, low, high in entry.others
        if value is not None
    )
    return Cell(number(entry.value), interval(entry.low, entry.high), details, best)
