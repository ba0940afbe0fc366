"""Drawings that a policy reproduces, over those that it was trained on and the one that it was not."""

from collections.abc import Mapping, Sequence

import numpy as np

from ebgan_mdn_jax.plotting import canvas

_COLUMNS = 6


@canvas.style()
def drawings_figure(arrays: Mapping[str, np.ndarray], names: Sequence[str]):
    """A panel per shape, of C of them.

    ``arrays`` has ``drawing_rollouts [C, N, T, 2]``, ``drawing_demonstrations [C, M, T, 2]`` and ``drawing_heldout [C, T, 2]``.
    """
    height = -(-len(names) // _COLUMNS)
    columns = min(len(names), _COLUMNS)
    figure = canvas.figure(1.2 * columns + 0.1, 1.3 * height + 0.3)
    axes = figure.subplots(height, columns, squeeze=False)
    for ax in axes.ravel():
        ax.axis("off")
    parts = (arrays[f"drawing_{part}"] for part in ("demonstrations", "heldout", "rollouts"))
    for ax, name, demonstrations, heldout, rollouts in zip(axes.ravel(), names, *parts, strict=False):
        ax.set_title(name, fontsize=7.5)
        for ways, color, width, label in (
            (demonstrations, canvas.GREY, 1.2, "demonstrations"),
            (heldout[None], canvas.ORANGE, 1.6, "held out"),
            (rollouts, canvas.BLUE, 0.8, "reproduced"),
        ):
            for index, way in enumerate(ways):
                ax.plot(*way.T, color=color, linewidth=width, label=None if index else label)
        ax.plot(*heldout[0], "o", color=canvas.ORANGE, markersize=2.5)
        ax.set_aspect("equal", "datalim")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure
