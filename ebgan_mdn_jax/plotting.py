"""Figures from saved NumPy arrays: what a policy samples, its energy and density with the mixture over them, its training curves.

The arrays of one run are a mapping: ``train_obs [rows, Do]``, ``train_action [rows, Da]``; ``obs [P, Do]`` where the policy was asked;
``samples [S, N, P, Da]`` of the first few members; and for one member, where its method has them, ``actions [Q, Da]`` with ``energy`` and
``log_prob [Q, P]``, and the mixture ``log_weights [P, K]``, ``means [P, K, Da]`` with ``scales [P, K, Da]`` or
``scale_trils [P, K, Da, Da]``. Two geometries are drawn, see `geometry`.

Functions return a `matplotlib.figure.Figure`, which belongs to no window and no global state; `png` renders it. Matplotlib is imported
when a function is called, JAX never.
"""

import contextlib
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

# Okabe and Ito's palette, safe for colour-blind readers, and a grey.
BLUE, ORANGE, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#8C8C8C"
GROUP_COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", SKY, "#E69F00", "#000000")
NATS_SHOWN = 10.0  # energies and log densities are clipped this far from their best: exp(-10) is 1/22,000 of the peak
MAX_POINTS = 2_000  # demonstrations drawn in a panel
UNITS = {
    "mse": "action units squared",
    "alpha": "weight",
    "gradient_cosine": "cosine",
    "gradient_norm_ratio": "ratio",
}  # of training curves; losses and energies are in nats

_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
}


@contextlib.contextmanager
def _style():
    """Our settings of Matplotlib for the length of a call."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


class Samples(NamedTuple):
    """One row of `samples_figure`: a name, the arrays of the run, and a title for each of its members."""

    name: str
    arrays: Mapping[str, np.ndarray]
    members: Sequence[str]


def geometry(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Which drawing fits: "curve", "plane" or None.

    "curve": one-dimensional observations and actions, drawn against each other. "plane": one observation, and the plane of its
    two-dimensional actions.
    """
    obs_dim, action_dim = arrays["obs"].shape[-1], arrays["train_action"].shape[-1]
    if obs_dim == 1 and action_dim == 1:
        return "curve"
    return "plane" if arrays["obs"].shape[0] == 1 and action_dim == 2 else None


@_style()
def samples_figure(rows: Sequence[Samples], axes: tuple[str, str]):
    """Draws over demonstrations: a row of panels per run, a panel per member, one scale for all. ``axes`` are the two labels."""
    plane = geometry(rows[0].arrays) == "plane"
    data = [_points(row.arrays, row.arrays["train_action"]) for row in rows]
    across = data if plane else [row.arrays["obs"] for row in rows] + data
    limits = [_limits(np.concatenate([p[:, 0] for p in across])), _limits(np.concatenate([p[:, 1] for p in data]))]
    columns = max(2, *(row.arrays["samples"].shape[0] for row in rows))
    heights = np.full(len(rows), 2.75 if plane else 2.05)
    heights[0] += 0.3  # legend
    heights[-1] += 0.2  # axis label
    figure = _figure(2.4 * columns + 0.6, heights.sum())
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for index, (part, row, points) in enumerate(zip(parts, rows, data, strict=True)):
        part.suptitle(row.name, x=0.01, ha="left", weight="bold", fontsize=9.5)
        panels = part.subplots(1, columns, squeeze=False, sharey=True)[0]
        for ax, title, drawn in zip(panels, row.members, row.arrays["samples"], strict=False):
            drawn = _points(row.arrays, drawn)
            _demonstrations(ax, points)
            ax.scatter(drawn[:, 0], drawn[:, 1], s=2.5, color=BLUE, alpha=0.5, linewidths=0, label="samples")
            ax.set(title=title, xlim=limits[0], ylim=limits[1], xlabel=axes[0] if index == len(rows) - 1 else "")
            ax.locator_params(nbins=6)
            inside = [(drawn[:, i] >= limits[i][0]) & (drawn[:, i] <= limits[i][1]) for i in range(2)]
            outside = 100 * (1 - np.mean(inside[0] & inside[1]))
            if outside:
                text = ax.text(0.99, 0.02, f"{outside:.2g} % of samples outside", transform=ax.transAxes)
                text.set(
                    color=ORANGE, ha="right", fontsize=7.5, bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.8}
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


@_style()
def landscape_figure(arrays: Mapping[str, np.ndarray], axes: tuple[str, str]):
    """Energy and log density of one member, dark where actions are likely, with the components of its mixture; None if it has neither.

    Energies are drawn above their least value at each observation, the only part of them that means anything. A method without an
    energy shows its components over the demonstrations instead.
    """
    panels = [name for name in ("energy", "log_prob") if name in arrays]
    if "means" in arrays and "energy" not in arrays:
        panels.insert(0, "demonstrations")
    if not panels or geometry(arrays) is None:
        return None
    plane = geometry(arrays) == "plane"
    figure = _figure(4.6 * len(panels), 4.1 if plane else 3.3)
    for ax, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if name == "demonstrations":
            _demonstrations(ax, _points(arrays, arrays["train_action"]))
        else:
            _shade(figure, ax, arrays, name, plane)
        titles = {"energy": "energy", "log_prob": "log density of the policy", "demonstrations": "demonstrations"}
        title = titles[name]
        if "means" in arrays and name != "log_prob":
            (_ellipses if plane else _bands)(ax, arrays, SKY if name == "energy" else BLUE)
            title += " and mixture components"
        grid = arrays.get("actions", arrays["train_action"])
        span = grid if plane else np.broadcast_to(arrays["obs"], (len(arrays["obs"]), 1))
        ax.set(title=title, xlabel=axes[0], ylabel=axes[1] if name == panels[0] else "")
        ax.locator_params(nbins=6)
        ax.set(xlim=(span[:, 0].min(), span[:, 0].max()), ylim=(grid[:, -1].min(), grid[:, -1].max()))
        if plane:
            ax.set_aspect("equal")
    return figure


@_style()
def curves_figure(steps: np.ndarray, infos: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[int]]):
    """Training curves: a panel per logged quantity ``[T, S]``, thin lines for members, a bold median per group of members."""
    columns = min(3, len(infos))
    rows = math.ceil(len(infos) / columns)
    figure = _figure(3.4 * columns, 2.05 * rows + 0.35)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    many = len(groups) > len(GROUP_COLORS)
    if many:
        from matplotlib import colormaps

        palette = colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    for ax, (name, values) in zip(panels, infos.items(), strict=False):
        values = np.where(np.isfinite(values), values, np.nan)
        for index, (label, members) in enumerate(groups.items()):
            color = palette[index] if many else GROUP_COLORS[index]
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


@_style()
def png(figure, dpi: int = 150) -> bytes:
    """Render a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _figure(width: float, height: float):
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.05)
    return figure


def _points(arrays: Mapping[str, np.ndarray], actions: np.ndarray) -> np.ndarray:
    """Points ``[n, 2]`` of the drawing from demonstrated actions ``[rows, Da]`` or samples ``[N, P, Da]``."""
    if geometry(arrays) == "plane":
        return actions.reshape(-1, 2)
    obs = arrays["train_obs"] if actions.ndim == 2 else arrays["obs"]
    return np.stack([np.broadcast_to(obs, actions.shape).ravel(), actions.ravel()], axis=-1)


def _limits(values: np.ndarray, pad: float = 0.12) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = pad * (high - low) or 1.0
    return low - margin, high + margin


def _demonstrations(ax, points: np.ndarray):
    points = points[:: -(-len(points) // MAX_POINTS)]
    ax.scatter(points[:, 0], points[:, 1], s=9, color=GREY, alpha=0.45, linewidths=0, label="demonstrations")


def _shade(figure, ax, arrays: Mapping[str, np.ndarray], name: str, plane: bool):
    """Colour a panel by ``energy`` or ``log_prob [Q, P]``, clipped `NATS_SHOWN` from the best."""
    values = np.asarray(arrays[name], np.float64)
    if not np.any(np.isfinite(values)):
        ax.text(0.5, 0.5, "not finite", ha="center", transform=ax.transAxes)
        return
    best = np.max(values, where=np.isfinite(values), initial=-np.inf)
    if name == "energy":
        with np.errstate(invalid="ignore"):  # where nothing is finite, nothing is drawn
            values = values - np.min(values, axis=0, where=np.isfinite(values), initial=np.inf)
        low, high = 0.0, min(NATS_SHOWN, np.nanmax(values))
    else:
        low, high = max(math.floor(best) - NATS_SHOWN, np.nanmin(values)), best
    clipped = np.nanmin(values) < low or np.nanmax(values) > high
    values = np.clip(values, low, high)
    if plane:
        side = math.isqrt(len(values))
        x, y = arrays["actions"][::side, 0], arrays["actions"][:side, 1]
        values = values[:, 0].reshape(side, side).T
    else:
        x, y = arrays["obs"][:, 0], arrays["actions"][:, 0]
    cmap = "magma" if name == "energy" else "magma_r"
    mesh = ax.pcolormesh(x, y, values, cmap=cmap, vmin=low, vmax=high, shading="gouraud", rasterized=True)
    extend = "neither" if not clipped else "max" if name == "energy" else "min"
    bar = figure.colorbar(mesh, ax=ax, extend=extend, shrink=0.95, pad=0.02)
    bar.set_label("energy above its minimum (nats)" if name == "energy" else "log density (nats)")
    bar.outline.set_linewidth(0.5)
    if clipped:
        ticks = np.arange(low, high + 1e-9, 2)
        end, sign = (len(ticks) - 1, "\u2265") if name == "energy" else (0, "\u2264")
        labels = [f"{tick:g}".replace("-", "\u2212") for tick in ticks]
        bar.set_ticks(ticks, labels=[sign * (i == end) + label for i, label in enumerate(labels)])


def _bands(ax, arrays: Mapping[str, np.ndarray], color: str):
    """Component means as lines and +-1 standard deviation as bands along the observation; faint where a component weighs little."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    obs, means = arrays["obs"][:, 0], arrays["means"][..., 0]
    spread = arrays["scales"][..., 0] if "scales" in arrays else np.abs(arrays["scale_trils"][..., 0, 0])
    weights = np.nan_to_num(np.exp(arrays["log_weights"]))
    for k in range(means.shape[1]):
        weight = (weights[:-1, k] + weights[1:, k]) / 2
        low, middle, high = (np.stack([obs, means[:, k] + sign * spread[:, k]], -1) for sign in (-1, 0, 1))
        if not np.all(np.isfinite([low, high])):
            continue
        faces, edges = (np.tile(to_rgba(color), (len(weight), 1)) for _ in range(2))
        faces[:, 3], edges[:, 3] = 0.5 * weight, np.minimum(1, 0.15 + 1.5 * weight)
        ax.pcolormesh(*np.stack([low, high]).transpose(2, 0, 1), faces[None], shading="flat")
        for line, width in ((low, 0.5), (high, 0.5), (middle, 1.1)):
            segments = np.stack([line[:-1], line[1:]], axis=1)
            ax.add_collection(LineCollection(segments, colors=edges, linewidths=width * (0.5 + weight)))


def _ellipses(ax, arrays: Mapping[str, np.ndarray], color: str):
    """Components at the one observation: a dot at the mean and the 1-standard-deviation ellipse, bolder where it weighs more."""
    weights, means = np.nan_to_num(np.exp(arrays["log_weights"][0])), arrays["means"][0]
    factors = arrays["scale_trils"][0] if "scale_trils" in arrays else arrays["scales"][0][..., None] * np.eye(2)
    turn = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    for weight, mean, factor in zip(weights / max(weights.max(), 1e-9), means, factors, strict=True):
        x, y = mean[:, None] + factor @ circle
        ax.plot(x, y, color=color, linewidth=0.4 + 1.4 * weight, alpha=min(1, 0.15 + weight))
        ax.plot(*mean, "o", color=color, markersize=3.5, alpha=min(1, 0.15 + weight))
