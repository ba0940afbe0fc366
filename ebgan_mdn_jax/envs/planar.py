"""A point in the unit square with several ways to go: layouts of paths and obstacles, and what a chunk of actions does there.

The four layouts of Mazza et al. 2026, "Understanding Multimodal Failure in Action-Chunking Behavioral Cloning" (arXiv 2605.22493), after
the authors' code (VersatIL): a circle above or below, two forks in a row, spokes from the centre, gaps in a wall. And "avoiding", a
re-creation of the obstacles of D3IL's task of that name (Jia et al. 2024, arXiv 2402.14606) without its robot: rows of one, two and three
of them leave 2, 3 and 4 gaps, 24 ways to the finish line. A path has H steps of equal length from the start, which all modes share.

Differs from the authors' code: H actions are H steps, where there the last of 60 is always 0 and the circle stops a step short; the start
has no noise; a step must not cross an obstacle, where there only points are checked, so a long step could leap a wall; the forks' obstacles
stand where we put them. From D3IL's: its 0.7 m are one edge here, cylinders are the squares around them, and ways lead through the
middle of gaps.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.types import Array, require

Name = Literal["circle", "sequential", "radial", "corridor", "avoiding"]
Actions = Literal["position", "displacement"]
_NOISE = {"circle": 0.008, "sequential": 0.012, "radial": 0.006, "corridor": 0.005, "avoiding": 0.006}
_FIXED = {"circle": 2, "sequential": 4, "avoiding": 24}
RADIUS = 0.4  # of the spokes
WALL = (0.48, 0.52)
# Of D3IL's task, in m: start, rows' y, distance of neighbours in a row from its middle x, radii of the cylinders row by row, finish line.
_START, _ROWS, _OFFSET, _CYLINDERS, _FINISH = (0.525, -0.28), (-0.1, 0.08, 0.26), 0.075, (0.03, 0.025, 0.025), 0.35
SUPPORT = 0.999  # share of perfect chunks that lie in their mode's tube


class Layout(NamedTuple):
    """Noise-free positions ``paths [K, H + 1, 2]`` of each mode from the start on, ``obstacles [O, 4]`` and the ``noise`` of a position.

    An obstacle is the rectangle ``(x_min, y_min, x_max, y_max)``. Lengths in edges of the square; NumPy, float64.
    """

    paths: np.ndarray
    obstacles: np.ndarray
    noise: float

    @property
    def chunks(self) -> np.ndarray:
        """Positions ``[K, H, 2]`` without the start."""
        return self.paths[:, 1:]

    @property
    def tube(self) -> float:
        """Radius of the tube around a mode that holds `SUPPORT` of its chunks, before these are clipped: 4.7 deviations for H = 60.

        All H distances to the path, Rayleigh distributed, are below it. Clipping only brings positions nearer to a path in the square.
        """
        return self.noise * _tube(self.paths.shape[1] - 1)


def make_layout(
    name: Name, num_modes: int | None = None, chunk: int = 60, styles: int = 1, noise: float | None = None
) -> Layout:
    """A layout by name.

    Args:
      name: "circle" (2 modes), "sequential" (4: left-left, left-right, ...), "radial", "corridor" or "avoiding" (24, likewise).
      num_modes: K, before ``styles``; 8 by default where it may be chosen.
      chunk: H, steps from start to end.
      styles: ways to pass each gap of the corridor, sine waves of 1, 2, ... periods in y; there are ``num_modes * styles`` modes.
      noise: standard deviation of each coordinate of a position. By default the authors', made smaller where tubes of two modes would
        meet: then a quarter of half the distance of the two closest modes, divided by 1.3. Obstacles of "radial" keep 3 of it away.

    Raises:
      InputError: for another name, a number of modes that it cannot have, or steps so long that modes coincide or a path hits something.
    """
    require(name in get_args(Name), f"name={name!r}: expected one of {', '.join(get_args(Name))}")
    num_modes = num_modes or _FIXED.get(name, 8)
    fixed = _FIXED.get(name)
    require(fixed in (None, num_modes), f"num_modes={num_modes}: {name} has {fixed}")
    require(num_modes >= 2, f"num_modes={num_modes}: needs at least 2")
    even = name != "corridor" or num_modes % 2 == 0
    require(even, f"num_modes={num_modes}: the corridor needs an even number, so that the mean path hits a wall")
    require(chunk >= 1 and styles >= 1, f"chunk={chunk}, styles={styles}: need at least 1")
    require(styles == 1 or name == "corridor", f"styles={styles}: only the corridor has several")
    require(noise is None or noise > 0, f"noise={noise}: needs a positive number")

    paths = _PATHS[name](num_modes, chunk, styles)
    closest = closest_modes(paths)
    require(closest > 1e-6, f"chunk={chunk}: too few steps to tell the modes of {name} apart")
    if noise is None:
        noise = _NOISE[name]
        noise = noise if closest > 2 * noise * _tube(chunk) else closest / 2 / 4 / 1.3
    layout = Layout(paths, _obstacles(name, num_modes, noise), noise)
    hit = any(np.any(_touches(paths, obstacle, np)) for obstacle in layout.obstacles)
    require(not hit, f"chunk={chunk}: steps are so long that a path of {name} cuts through an obstacle")
    return layout


def closest_modes(paths: np.ndarray) -> float:
    """Least, over pairs of ``paths [K, H + 1, 2]``, of how far they are from each other where that is most; tubes meet below 2 radii."""
    apart = [np.linalg.norm(paths - path, axis=-1).max(-1) for path in paths]
    return float(np.min(np.asarray(apart) + 9.0 * np.eye(len(paths))))


def positions(start: Array, chunk: Array, actions: Actions) -> Array:
    """Positions ``[..., H + 1, 2]``, the first one ``start [2]``, that flat chunks ``[..., 2 H]`` lead to: set-points, or steps to add."""
    chunk = chunk.reshape(*chunk.shape[:-1], -1, 2)
    start = jnp.broadcast_to(start, (*chunk.shape[:-2], 1, 2)).astype(chunk.dtype)
    if actions == "displacement":
        chunk = start + jnp.cumsum(chunk, axis=-2)
    return jnp.concatenate([start, chunk], axis=-2)


def to_actions(points: Array, actions: Actions) -> Array:
    """Flat chunks ``[..., 2 H]`` that lead along ``points [..., H + 1, 2]``."""
    chunk = jnp.diff(points, axis=-2) if actions == "displacement" else points[..., 1:, :]
    return chunk.reshape(*chunk.shape[:-2], -1)


def collides(points: Array, obstacles: Array) -> Array:
    """Whether ``[...]`` a step between two of ``points [..., T, 2]`` touches one of ``obstacles [O, 4]``.

    A step is ``a + t d``, t in [0, 1]; it is within a rectangle's x from one t to another, likewise y, and touches if all three overlap.
    """
    chex.assert_axis_dimension(points, -1, 2)
    chex.assert_shape(obstacles, (None, 4))
    if obstacles.shape[0] == 0:
        return jnp.zeros(points.shape[:-2], bool)
    return jnp.any(jax.lax.map(lambda one: _touches(points, one, jnp), obstacles.astype(points.dtype)), axis=0)


def _touches(points, obstacle, xp):
    """`collides` of one obstacle ``[4]``, with NumPy or JAX's as ``xp``."""
    start, step = points[..., :-1, :], xp.diff(points, axis=-2)
    step = xp.where(xp.abs(step) < 1e-9, 1e-9, step)
    at = [(xp.broadcast_to(corner, start.shape) - start) / step for corner in (obstacle[:2], obstacle[2:])]
    first, last = xp.max(xp.minimum(*at), axis=-1), xp.min(xp.maximum(*at), axis=-1)
    return xp.any(xp.maximum(first, 0.0) <= xp.minimum(last, 1.0), axis=-1)


def _tube(chunk: int) -> float:
    """In standard deviations of a coordinate."""
    return float(np.sqrt(-2 * np.log(-np.expm1(np.log(SUPPORT) / chunk))))


def _along(waypoints: Sequence[tuple[float, float]], chunk: int) -> np.ndarray:
    """Points ``[H + 1, 2]`` at equal distances along a row of waypoints."""
    corners = np.asarray(waypoints, float)
    reached = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    return np.stack([np.interp(np.linspace(0, reached[-1], chunk + 1), reached, c) for c in corners.T], axis=-1)


def _circle(num_modes: int, chunk: int, styles: int) -> np.ndarray:
    """Clockwise once round (0.5, 0.3), from its top, or (0.5, 0.7), from its bottom."""
    turn = -np.linspace(0, 2 * np.pi, chunk + 1)
    loops = [(centre, turn + up * np.pi / 2) for centre, up in ((0.3, 1), (0.7, -1))]
    return np.stack([np.stack([0.5 + 0.2 * np.cos(a), y + 0.2 * np.sin(a)], axis=-1) for y, a in loops])


def _sequential(num_modes: int, chunk: int, styles: int) -> np.ndarray:
    branches = [(0.5 + first, 0.5 + first + second) for first in (-0.25, 0.25) for second in (-0.15, 0.15)]
    ways = [[(0.5, 0), (0.5, 0.4), (x, 0.45), (x, 0.7), (end, 0.75), (end, 1)] for x, end in branches]
    return np.stack([_along(way, chunk) for way in ways])


def _radial(num_modes: int, chunk: int, styles: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    ends = 0.5 + RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.stack([_along([(0.5, 0.5), tuple(end)], chunk) for end in ends])


def _corridor(num_modes: int, chunk: int, styles: int) -> np.ndarray:
    time, paths = np.linspace(0, 1, chunk + 1), []
    for gap in (np.arange(num_modes) + 1) / (num_modes + 1):
        path = _along([(0.05, 0.5), (WALL[0], gap), (WALL[1], gap), (0.95, 0.5)], chunk)
        height = _gap_height(num_modes) / (4 * styles) if styles > 1 else 0.0
        for style in range(styles):
            wave = height * np.sin(2 * np.pi * (style + 1) * time) * 4 * time * (1 - time)
            paths.append(path + np.stack([np.zeros_like(wave), wave], axis=-1))
    return np.stack(paths)


def _avoiding(num_modes: int, chunk: int, styles: int) -> np.ndarray:
    """Straight through the gap of each row, and straight from one to the next."""
    gaps = [_row(row) for row in (1, 2, 3)]
    beside = 0.045  # m before and after the middle of a row
    ways = []
    for way in itertools.product(*gaps):
        passed = [(x, y + side) for x, y in zip(way, _ROWS, strict=True) for side in (-beside, beside)]
        ways.append(_along(_from_metres([_START, *passed, (way[-1], _FINISH)]), chunk))
    return np.stack(ways)


def _row(row: int) -> np.ndarray:
    """Where in x ``row + 1`` obstacles stand; those of the next row would stand in the gaps between and beside them."""
    return 0.5 + _OFFSET * np.arange(-row, row + 1, 2)


def _from_metres(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """Where D3IL's ``points [P, 2]`` are in the square."""
    return (np.asarray(points) - (0.5, 0.035)) / 0.7 + 0.5


_PATHS = {"circle": _circle, "sequential": _sequential, "radial": _radial, "corridor": _corridor, "avoiding": _avoiding}


def _gap_height(num_modes: int) -> float:
    return 0.5 / (num_modes + 1)


def _obstacles(name: Name, num_modes: int, noise: float) -> np.ndarray:
    if name == "corridor":  # between gaps; none above the highest and below the lowest
        gaps, half = (np.arange(num_modes) + 1) / (num_modes + 1), _gap_height(num_modes) / 2
        return np.asarray([(WALL[0], a + half, WALL[1], b - half) for a, b in zip(gaps[:-1], gaps[1:], strict=True)])
    if name == "radial":  # squares half-way out; their corners keep 3 deviations from the spokes, or there is no room
        half = (RADIUS / 2 * np.sin(np.pi / num_modes) - 3 * noise) / np.sqrt(2)
        angles = 2 * np.pi * (np.arange(num_modes if half > 0 else 0) + 0.5) / num_modes
        centres, halves = 0.5 + RADIUS / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=-1), (half, half)
    elif name == "avoiding":
        rows = [(x, y, r) for i, (y, r) in enumerate(zip(_ROWS, _CYLINDERS, strict=True)) for x in _row(i)]
        centres = _from_metres([(x, y) for x, y, _ in rows])
        halves = np.asarray([(r, r) for _, _, r in rows]) / 0.7
    elif name == "circle":
        centres, halves = np.array([(0.5, 0.3), (0.5, 0.7)]), (0.08, 0.05)
    else:
        centres, halves = np.array([(0.5, 0.575), (0.25, 0.875), (0.75, 0.875)]), (0.06, 0.05)
    return np.concatenate([centres - halves, centres + halves], axis=1)
