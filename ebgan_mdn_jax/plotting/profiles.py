"""Performance profiles: how many members are at least as good as a threshold."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.plotting import canvas


class Profile(NamedTuple):
    """One panel of `profiles_figure`.

    ``thresholds [T]`` ascend; ``lines`` maps labels to the fraction of members that reach each threshold and the band around it, three
    arrays ``[T]``, the band NaN where there is none. ``direction`` is 1 if members at or above a threshold reach it, -1 if at or below.
    """

    metric: str
    direction: int
    thresholds: np.ndarray
    lines: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]


@canvas.style()
def profiles_figure(panels: Sequence[Profile]):
    """Profiles of several metrics, with one colour per label throughout."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    colors = dict(zip(labels, canvas.colors(len(labels)), strict=True))
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = 3.4 * columns
    legend_columns = max(1, min(len(labels), int(width / (0.5 + 0.075 * max(map(len, labels))))))  # inches per letter
    figure = canvas.figure(width, 2.2 * rows + 0.2 * math.ceil(len(labels) / legend_columns) + 0.15)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    handles = {}
    for ax, panel in zip(axes, panels, strict=False):
        # Between thresholds in a row, as many members reach one as reach the harder of the two.
        step = "pre" if panel.direction > 0 else "post"
        for label, (fraction, low, high) in panel.lines.items():
            ax.fill_between(
                panel.thresholds, low, high, step=step, color=colors[label], alpha=0.5 / len(labels) ** 0.5, linewidth=0
            )
            style = {"drawstyle": f"steps-{step}", "color": colors[label], "linewidth": 1.4, "label": label}
            (handles[label],) = ax.plot(panel.thresholds, fraction, **style)
        if panel.thresholds[0] > 0 and panel.thresholds[-1] > 50 * panel.thresholds[0]:
            ax.set_xscale("log")
        better = "\u2265" if panel.direction > 0 else "\u2264"
        ax.set(title=panel.metric, xlabel=f"threshold ({better} counts)", ylim=(-0.02, 1.02))
        ax.margins(x=0.02)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    for ax in axes[: len(panels) : columns]:
        ax.set_ylabel("fraction of members")
    figure.legend(handles=[handles[label] for label in labels], loc="outside upper left", ncols=legend_columns)
    return figure
