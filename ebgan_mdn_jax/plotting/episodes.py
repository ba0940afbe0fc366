"""Episodes in a simulator, as strips of frames."""

from collections.abc import Sequence

import numpy as np

from ebgan_mdn_jax.plotting import canvas

_COLUMNS = 8


@canvas.style()
def episodes_figure(frames: Sequence[np.ndarray], titles: Sequence[str]):
    """A row of 8 frames for each episode, ``[T, height, width, 3]`` uint8, evenly spaced, the first and the last one among them."""
    height, width = frames[0].shape[1:3]
    size = 1.3
    figure = canvas.figure(size * _COLUMNS, (size * height / width + 0.25) * len(frames))
    axes = figure.subplots(len(frames), _COLUMNS, squeeze=False)
    for row, film, title in zip(axes, frames, titles, strict=True):
        chosen = np.unique(np.linspace(0, len(film) - 1, _COLUMNS).round().astype(int))
        for ax in row:
            ax.axis("off")
        for ax, index in zip(row, chosen, strict=False):
            ax.imshow(film[index], interpolation="antialiased")
            ax.set_title(f"step {index}", fontsize=6.5, pad=2, loc="left")
        row[0].set_title(f"{title}\nstep 0", fontsize=6.5, pad=2, loc="left")
    return figure
