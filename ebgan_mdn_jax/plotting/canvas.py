"""What all figures share: style, palette, the two geometries, and rendering."""

import contextlib
import io
from collections.abc import Mapping

import numpy as np

# Okabe and Ito's palette, safe for colour-blind readers, and a grey.
BLUE, ORANGE, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#8C8C8C"
_COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", SKY, "#E69F00", "#000000")
MAX_POINTS = 2_000  # demonstrations drawn in a panel

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
def style():
    """Our settings of Matplotlib for the length of a call."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def geometry(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Which drawing fits: "curve", "plane" or None.

    "curve": one-dimensional observations and actions, drawn against each other. "plane": one observation, and the plane of its
    two-dimensional actions.
    """
    obs_dim, action_dim = arrays["obs"].shape[-1], arrays["train_action"].shape[-1]
    if obs_dim == 1 and action_dim == 1:
        return "curve"
    return "plane" if arrays["obs"].shape[0] == 1 and action_dim == 2 else None


@style()
def png(figure, dpi: int = 150, palette: bool = False) -> bytes:
    """Render a figure; the same figure gives the same bytes. With a palette of 64 colours it takes a third of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    if not palette:
        return buffer.getvalue()
    from PIL import Image  # which matplotlib needs too

    image = Image.open(buffer).convert("RGB")
    # Maximum coverage keeps the colours of lines; the median cut would mix them with those of bands.
    image = image.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def figure(width: float, height: float):
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.05)
    return figure


def colors(count: int) -> list:
    """``count`` colours to tell things apart by; more than the palette has are shades in order."""
    if count <= len(_COLORS):
        return list(_COLORS[:count])
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0, 0.9, count)))


def points(arrays: Mapping[str, np.ndarray], actions: np.ndarray) -> np.ndarray:
    """Points ``[n, 2]`` of the drawing from demonstrated actions ``[rows, Da]`` or samples ``[N, P, Da]``."""
    if geometry(arrays) == "plane":
        return actions.reshape(-1, 2)
    obs = arrays["train_obs"] if actions.ndim == 2 else arrays["obs"]
    return np.stack([np.broadcast_to(obs, actions.shape).ravel(), actions.ravel()], axis=-1)


def limits(values: np.ndarray, pad: float = 0.12) -> tuple[float, float]:
    """Range of the values with a margin of ``pad`` of its extent."""
    low, high = float(values.min()), float(values.max())
    margin = pad * (high - low) or 1.0
    return low - margin, high + margin


def demonstrations(ax, points: np.ndarray):
    """Scatter ``points [n, 2]`` in grey, at most `MAX_POINTS` of them."""
    points = points[:: -(-len(points) // MAX_POINTS)]
    ax.scatter(points[:, 0], points[:, 1], s=9, color=GREY, alpha=0.45, linewidths=0, label="demonstrations")
