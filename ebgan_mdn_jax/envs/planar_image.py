"""What a camera above the unit square of `envs.planar` sees: images of 64 x 64 pixels, in JAX or NumPy."""

from types import ModuleType

import jax.numpy as jnp

from ebgan_mdn_jax.types import Array

SHAPE = (64, 64, 3)
RADIUS = 0.04  # of discs, in edges of the square: 2.6 pixels


def render(point: Array, marks: Array, obstacles: Array, xp: ModuleType = jnp) -> Array:
    """Images ``[B, 64 64 3]``, flat, rows from the top (y = 1), values in [0, 1]: how much of a pixel is covered.

    Args:
      point: ``[B, 2]``, where the agent is: a disc in the second channel.
      marks: ``[B, M, 2]``, discs in the third channel: where a context says to go.
      obstacles: ``[O, 4]``, in the first channel, `envs.planar.Layout`; the same in all images.
      xp: ``jax.numpy``, or ``numpy`` for arrays of that.
    """
    height, width = SHAPE[:2]
    x, y = (xp.arange(width) + 0.5) / width, (height - xp.arange(height) - 0.5) / height
    walls = [_share(y, one[1], one[3], xp)[:, None] * _share(x, one[0], one[2], xp)[None] for one in obstacles]
    discs = [_disc(x, y, marks[:, index], xp) for index in range(marks.shape[1])]
    nothing = xp.zeros((point.shape[0], height, width))
    channels = [
        xp.broadcast_to(_union([nothing[0], *walls], xp), nothing.shape),
        _disc(x, y, point, xp),
        _union([nothing, *discs], xp),
    ]
    return xp.stack(channels, axis=-1).reshape(point.shape[0], -1).astype(point.dtype)


def _union(shapes, xp):
    return xp.max(xp.stack(shapes), axis=0)


def _share(centres, low, high, xp):
    """How much of the pixels with these ``centres [P]`` lies between ``low`` and ``high``, ``[P]``."""
    half = 0.5 / centres.size
    return xp.clip((xp.minimum(high, centres + half) - xp.maximum(low, centres - half)) / (2 * half), 0.0, 1.0)


def _disc(x, y, centre, xp):
    """Discs ``[B, H, W]`` around ``centre [B, 2]``; their edge is one pixel wide, so that a fraction of a pixel's move shows."""
    across, up = (xp.abs(at[None] - centre[:, i, None]) for i, at in enumerate((x, y)))
    distance = xp.hypot(across[:, None], up[..., None])
    return xp.clip((RADIUS - distance) * x.size + 0.5, 0.0, 1.0)
