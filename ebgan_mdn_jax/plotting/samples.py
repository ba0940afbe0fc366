"""Draws of policies over the demonstrations."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.plotting import canvas


class Samples(NamedTuple):
    """One row of `samples_figure`: a name, the arrays of the run, and a title for each of its members."""

    name: str
    arrays: Mapping[str, np.ndarray]
    members: Sequence[str]


@canvas.style()
def samples_figure(rows: Sequence[Samples], axes: tuple[str, str]):
    """Draws over demonstrations: a row of panels per run, a panel per member, one scale for all. ``axes`` are the two labels."""
    plane = canvas.geometry(rows[0].arrays) == "plane"
    data = [canvas.points(row.arrays, row.arrays["train_action"]) for row in rows]
    across = data if plane else [row.arrays["obs"] for row in rows] + data
    limits = [
        canvas.limits(np.concatenate([p[:, 0] for p in across])),
        canvas.limits(np.concatenate([p[:, 1] for p in data])),
    ]
    columns = max(2, *(row.arrays["samples"].shape[0] for row in rows))
    heights = np.full(len(rows), 2.75 if plane else 2.05)
    heights[0] += 0.3  # legend
    heights[-1] += 0.2  # axis label
    figure = canvas.figure(2.4 * columns + 0.6, heights.sum())
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for index, (part, row, points) in enumerate(zip(parts, rows, data, strict=True)):
        part.suptitle(row.name, x=0.01, ha="left", weight="bold", fontsize=9.5)
        panels = part.subplots(1, columns, squeeze=False, sharey=True)[0]
        for ax, title, drawn in zip(panels, row.members, row.arrays["samples"], strict=False):
            drawn = canvas.points(row.arrays, drawn)
            canvas.demonstrations(ax, points)
            ax.scatter(drawn[:, 0], drawn[:, 1], s=2.5, color=canvas.BLUE, alpha=0.5, linewidths=0, label="samples")
            ax.set(title=title, xlim=limits[0], ylim=limits[1], xlabel=axes[0] if index == len(rows) - 1 else "")
            ax.locator_params(nbins=6)
            inside = [(drawn[:, i] >= limits[i][0]) & (drawn[:, i] <= limits[i][1]) for i in range(2)]
            outside = 100 * (1 - np.mean(inside[0] & inside[1]))
            if outside:
                text = ax.text(0.99, 0.02, f"{outside:.2g} % of samples outside", transform=ax.transAxes)
                text.set(
                    color=canvas.ORANGE,
                    ha="right",
                    fontsize=7.5,
                    bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.8},
                )
            if plane:
                ax.set_aspect("equal")
        for ax in panels[min(len(row.members), row.arrays["samples"].shape[0]) :]:
            ax.axis("off")
        panels[0].set_ylabel(axes[1])
        if index == 0:
            marks = panels[0].get_legend_handles_labels()[0]
            legend = part.legend(handles=marks, loc="outside upper right", ncols=2, markerscale=2)
            for mark in legend.legend_handles:
                mark.set_alpha(1)
    return figure
