"""Training curves of all members."""

import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from ebgan_mdn_jax.plotting import canvas

UNITS = {
    "mse": "network units squared",
    "energy_score": "network units",
    "spread": "network units",
    "scale": "network units",
    "penalty": "squared norm",
    "distance": "half extents",
    "num_rows": "rows",
    "alpha": "weight",
    "gradient_cosine": "cosine",
    "gradient_norm_ratio": "ratio",
}  # of training curves; losses and energies are in nats


@canvas.style()
def curves_figure(steps: np.ndarray, infos: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[int]]):
    """Training curves: a panel per logged quantity ``[T, S]``, thin lines for members, a bold median per group of members."""
    columns = min(3, len(infos))
    rows = math.ceil(len(infos) / columns)
    figure = canvas.figure(3.4 * columns, 2.05 * rows + 0.35)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    colors = canvas.colors(len(groups))
    for ax, (name, values) in zip(panels, infos.items(), strict=False):
        values = np.where(np.isfinite(values), values, np.nan)
        for color, (label, members) in zip(colors, groups.items(), strict=True):
            members = list(members)
            ax.plot(steps, values[:, members], color=color, linewidth=0.6, alpha=max(0.15, 0.8 / len(members) ** 0.5))
            with warnings.catch_warnings():  # a step at which no member is finite has no median
                warnings.simplefilter("ignore", RuntimeWarning)
                median = np.nanmedian(values[:, members], axis=1)
            ax.plot(steps, median, color=color, linewidth=1.7, label=label)
        finite = values[np.isfinite(values)]
        if finite.size and finite.min() > 0 and np.quantile(finite, 0.98) > 50 * np.quantile(finite, 0.02):
            ax.set_yscale("log")
        ax.set(title=name, ylabel=UNITS.get(name, "nats"))
        ax.margins(x=0.01)
    for ax in panels[len(infos) :]:
        ax.axis("off")
    for ax in panels[max(0, len(infos) - columns) : len(infos)]:
        ax.set_xlabel("training step")
        ax.tick_params(labelbottom=True)
    if len(groups) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=min(4, len(groups)))
    return figure
