"""Configurations of an arm: what a policy draws at a few targets, over what was demonstrated near them."""

from collections.abc import Sequence

import numpy as np

from ebgan_mdn_jax.plotting import canvas
from ebgan_mdn_jax.plotting.samples import Samples


@canvas.style()
def arms_figure(rows: Sequence[Samples]):
    """Arms at their targets: a row of panels per run, of its first member, and a panel per target.

    Each run's arrays hold ``arm_targets [T, 2]``, and positions of base, joints and tip: ``arm_samples [S, N, T, n + 1, 2]`` and
    ``arm_demonstrations [M, T, n + 1, 2]``.
    """
    columns = max(len(row.arrays["arm_targets"]) for row in rows)
    lengths = np.linalg.norm(np.diff(rows[0].arrays["arm_demonstrations"], axis=-2), axis=-1)
    reach = 1.05 * float(lengths.sum(axis=-1).max())
    heights = np.full(len(rows), 2.1)
    heights[0] += 0.3  # legend
    figure = canvas.figure(1.75 * columns + 0.5, heights.sum())
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for index, (part, row) in enumerate(zip(parts, rows, strict=True)):
        part.suptitle(
            f"{row.name}, {row.members[0]}".replace("\n", ", "), x=0.01, ha="left", weight="bold", fontsize=9.5
        )
        panels = part.subplots(1, columns, squeeze=False, sharey=True)[0]
        arrays = row.arrays
        for i, (ax, target) in enumerate(zip(panels, arrays["arm_targets"], strict=False)):
            _arms(ax, arrays["arm_demonstrations"][:, i], canvas.GREY, 3.5, 0.45, "demonstrations")
            _arms(ax, arrays["arm_samples"][0, :, i], canvas.BLUE, 0.8, 0.5, "samples")
            ax.plot(*target, "x", color=canvas.ORANGE, markersize=7, markeredgewidth=1.8, zorder=4, label="target")
            x, y = (f"{value:.1f}".replace("-", "\u2212") for value in target)
            ax.set(title=f"({x}, {y})", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.locator_params(nbins=4)
        for ax in panels[len(arrays["arm_targets"]) :]:
            ax.axis("off")
        if index == 0:
            part.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _arms(ax, joints: np.ndarray, color: str, width: float, alpha: float, label: str):
    """Polylines of ``joints [N, n + 1, 2]``, with a dot at each tip; what is not finite is left out."""
    from matplotlib.collections import LineCollection

    joints = joints[np.all(np.isfinite(joints), axis=(1, 2))]
    lines = LineCollection(joints, colors=color, linewidths=width, alpha=alpha, label=label, capstyle="round")
    ax.add_collection(lines)
    ax.scatter(*joints[:, -1].T, s=4 * width + 3, color=color, alpha=alpha, linewidths=0)
