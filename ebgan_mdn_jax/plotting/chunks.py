"""Chunks of planar positions: what policies draw at the one observation that there is, over demonstrations."""

from collections.abc import Sequence

import numpy as np

from ebgan_mdn_jax.plotting import canvas
from ebgan_mdn_jax.plotting.samples import Samples

_COLUMNS = 4
_SHOWN = 40  # chunks of a panel


@canvas.style()
def chunks_figure(rows: Sequence[Samples]):
    """A panel per run with the ways of its first member, 40 at most, over the demonstrations'.

    Actions are positions one after another: ``train_action [rows, 2 H]``, ``samples [S, N, 1, 2 H]``. Ends have dots.
    """
    height = -(-len(rows) // _COLUMNS)
    columns = min(len(rows), _COLUMNS)
    figure = canvas.figure(2.2 * columns + 0.3, 2.4 * height + 0.3)
    axes = figure.subplots(height, columns, squeeze=False, sharex=True, sharey=True)
    corners = rows[0].arrays["train_action"].reshape(-1, 2)
    for ax in axes.ravel()[len(rows) :]:
        ax.axis("off")
    for ax, row in zip(axes.ravel(), rows, strict=False):
        _ways(ax, row.arrays["train_action"], canvas.GREY, 2.5, 0.25, "demonstrations")
        _ways(ax, row.arrays["samples"][0, :_SHOWN, 0], canvas.BLUE, 0.8, 0.6, "samples")
        ax.set(xlim=canvas.limits(corners[:, 0]), ylim=canvas.limits(corners[:, 1]), aspect="equal")
        ax.set_title(row.name, fontsize=8.5)
        ax.locator_params(nbins=4)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _ways(ax, actions: np.ndarray, color: str, width: float, alpha: float, label: str):
    """Polylines of chunks ``[N, 2 H]``; what is not finite is left out."""
    from matplotlib.collections import LineCollection

    finite = actions[np.all(np.isfinite(actions), axis=-1)]
    points = finite.reshape(len(finite), -1, 2)
    ax.add_collection(LineCollection(points, colors=color, linewidths=width, alpha=alpha, label=label))
    ax.scatter(*points[:, -1].T, s=3 * width + 3, color=color, alpha=alpha, linewidths=0)
