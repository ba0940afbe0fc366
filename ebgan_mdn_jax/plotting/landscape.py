"""Energy and log density of a policy, with the components of its mixture."""

import math
from collections.abc import Mapping

import numpy as np

from ebgan_mdn_jax.plotting import canvas

NATS_SHOWN = 10.0  # energies and log densities are clipped this far from their best: exp(-10) is 1/22,000 of the peak


@canvas.style()
def landscape_figure(arrays: Mapping[str, np.ndarray], axes: tuple[str, str]):
    """Energy and log density of one member, dark where actions are likely, with the components of its mixture; None if it has neither.

    Energies are drawn above their least value at each observation, the only part of them that means anything. A method without an
    energy shows its components over the demonstrations instead.
    """
    panels = [name for name in ("energy", "log_prob") if name in arrays]
    if "means" in arrays and "energy" not in arrays:
        panels.insert(0, "demonstrations")
    if not panels or canvas.geometry(arrays) is None:
        return None
    plane = canvas.geometry(arrays) == "plane"
    figure = canvas.figure(4.6 * len(panels), 4.1 if plane else 3.3)
    for ax, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if name == "demonstrations":
            canvas.demonstrations(ax, canvas.points(arrays, arrays["train_action"]))
        else:
            _shade(figure, ax, arrays, name, plane)
        titles = {"energy": "energy", "log_prob": "log density of the policy", "demonstrations": "demonstrations"}
        title = titles[name]
        if "means" in arrays and name != "log_prob":
            (_ellipses if plane else _bands)(ax, arrays, canvas.SKY if name == "energy" else canvas.BLUE)
            title += " and mixture components"
        grid = arrays.get("actions", arrays["train_action"])
        span = grid if plane else np.broadcast_to(arrays["obs"], (len(arrays["obs"]), 1))
        ax.set(title=title, xlabel=axes[0], ylabel=axes[1] if name == panels[0] else "")
        ax.locator_params(nbins=6)
        ax.set(xlim=(span[:, 0].min(), span[:, 0].max()), ylim=(grid[:, -1].min(), grid[:, -1].max()))
        if plane:
            ax.set_aspect("equal")
    return figure


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
