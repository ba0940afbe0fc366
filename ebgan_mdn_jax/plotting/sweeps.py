"""Lines with bands over a setting or over training, and scatters over members."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.plotting import canvas

_MOST_TICKS = 8
_MOST_COLUMNS = 4


class Band(NamedTuple):
    """A line with a band, arrays ``[P]``; without ``x`` a level, arrays ``[1]``. NaN leaves a gap."""

    x: np.ndarray | None
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Panel(NamedTuple):
    """One panel: lines of `bands_figure`, or for `scatter_figure` points ``([P], [P])``, by label.

    ``ticks``: the x axis has its ticks where the lines have points, and the points are marked. ``theory``: what theory says, by label: of
    lines, dashed in their colours, and beside points; ``bounds``: what it allows lines, dotted. ``least``: where a logarithmic y axis
    starts, which then ends at twice the largest point.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Band | tuple[np.ndarray, np.ndarray]]
    log_x: bool = False
    ticks: bool = False
    theory: Mapping[str, Band] = MappingProxyType({})
    bounds: Mapping[str, Band] = MappingProxyType({})
    least: float | None = None


@canvas.style()
def bands_figure(panels: Sequence[Panel]):
    """Lines with bands, one colour per label throughout; levels and theory are dashed."""
    figure, axes, colors = _layout(panels)
    for ax, panel in zip(axes, panels, strict=True):
        places = [line.x for line in panel.lines.values() if line.x is not None]
        _x_axis(ax, panel, np.unique(np.concatenate(places)) if places else np.zeros(0))
        for label, line in panel.lines.items():
            color = colors[label]
            if line.x is None:
                ax.axhspan(line.low[0], line.high[0], color=color, alpha=0.12, linewidth=0)
                ax.axhline(line.value[0], color=color, linewidth=1.2, linestyle="--")
                continue
            ax.fill_between(line.x, line.low, line.high, color=color, alpha=0.2, linewidth=0)
            marker = {"marker": "o", "markersize": 3.5} if panel.ticks else {}
            ax.plot(line.x, line.value, color=color, linewidth=1.4, **marker)
        for drawn, style in ((panel.theory, "--"), (panel.bounds, ":")):
            for label, line in drawn.items():
                draw = ax.axhline(line.value[0]) if line.x is None else ax.plot(line.x, line.value)[0]
                draw.set(color=colors[label], linewidth=1.2, linestyle=style)
        values = np.concatenate([line.value for line in (*panel.lines.values(), *panel.theory.values())])
        values = values[np.isfinite(values)]
        if panel.least is not None:
            ax.set_yscale("log")
            ax.set_ylim(panel.least, 2 * max(np.nanmax(line.high) for line in panel.lines.values()))
        elif values.size and values.min() > 0 and values.max() > 50 * values.min():
            ax.set_yscale("log")
    return figure


@canvas.style()
def scatter_figure(panels: Sequence[Panel]):
    """A point per member, one colour per label throughout; theory is lines, levels among them dashed."""
    figure, axes, colors = _layout(panels)
    for ax, panel in zip(axes, panels, strict=True):
        _x_axis(ax, panel, np.unique(np.concatenate([np.zeros(0), *(x for x, _ in panel.lines.values())])))
        for label, line in panel.theory.items():
            if line.x is None:
                ax.axhline(line.value[0], color=colors[label], linewidth=1.2, linestyle="--")
            else:
                ax.plot(line.x, line.value, color=colors[label], linewidth=1.2)
        for label, (x, y) in panel.lines.items():
            ax.scatter(x, y, s=14, color=colors[label], alpha=0.75, linewidths=0)
    return figure


def _layout(panels):
    """An empty figure with an axis per panel and the legend of all labels, and the labels' colours."""
    from matplotlib.lines import Line2D

    labels = list(dict.fromkeys(label for panel in panels for label in (*panel.lines, *panel.theory)))
    colors = dict(zip(labels, canvas.colors(len(labels)), strict=True))
    counts = Counter(panel.title for panel in panels)
    most = max(counts.values())
    if min(counts.values()) == most <= _MOST_COLUMNS:  # whole titles side by side
        columns = min(_MOST_COLUMNS // most * most, len(panels))
        places = list(range(len(panels)))
    else:  # a row per title
        columns = most
        titles = list(counts)
        seen = Counter()
        places = []
        for panel in panels:
            places.append(columns * titles.index(panel.title) + seen[panel.title])
            seen[panel.title] += 1
    rows = places[-1] // columns + 1
    entry = 0.5 + 0.075 * max(map(len, labels))  # inches of a legend's entry
    width = max(2.6 * columns, 3.4, entry + 0.2)
    legend_columns = max(1, min(len(labels), int(width / entry)))
    figure = canvas.figure(width, 2.1 * rows + 0.2 * -(-len(labels) // legend_columns) + 0.15)
    grid = figure.add_gridspec(rows, columns)
    axes = [figure.add_subplot(grid[divmod(place, columns)]) for place in places]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    handles = [Line2D([], [], color=colors[label], linewidth=2, label=label) for label in labels]
    figure.legend(handles=handles, loc="outside upper left", ncols=legend_columns)
    return figure, axes, colors


def _x_axis(ax, panel: Panel, places: np.ndarray):
    """Scale, and ticks at the ``places`` of points; on a log axis, 0 is drawn a step below the least positive place."""
    positive = places[places > 0]
    if panel.log_x and positive.size:
        if places[0] < positive[0]:
            ax.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
        else:
            ax.set_xscale("log")
    if panel.ticks and places.size and not (panel.log_x and places.size > _MOST_TICKS):  # a log axis has its decades
        shown = places[:: -(-len(places) // _MOST_TICKS)]
        ax.set_xticks(shown, [f"{place:g}" for place in shown])
        ax.set_xticks([], minor=True)
