"""Episodes, and their rows of observation history and action chunk: see `data.episodes`."""

from typing import NamedTuple

import numpy as np

from ebgan_mdn_jax.types import Batch


class Episode(NamedTuple):
    """Observations ``[T, Do]``, the actions ``[T, Da]`` taken there and, if known, the ``reward [T]`` of each; their sum is its return."""

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray | None = None


def windows(episode: Episode, history: int, chunk: int) -> Batch:
    """Rows of one episode, ``obs [T, h Do]`` and ``action [T, H Da]``, oldest first; its ends are repeated beyond them."""
    steps = np.arange(len(episode.obs))
    before = np.maximum(steps[:, None] + np.arange(1 - history, 1), 0)
    ahead = np.minimum(steps[:, None] + np.arange(chunk), len(steps) - 1)
    return Batch(episode.obs[before].reshape(len(steps), -1), episode.action[ahead].reshape(len(steps), -1))
