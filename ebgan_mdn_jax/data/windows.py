"""Episodes as rows of observation history and action chunk: see `data.episodes`."""

import numpy as np

from ebgan_mdn_jax.types import Batch


def windows(episode: Batch, history: int, chunk: int) -> Batch:
    """Rows of one episode, ``obs [T, h Do]`` and ``action [T, H Da]``, oldest first; its ends are repeated beyond them."""
    steps = np.arange(len(episode.obs))
    before = np.maximum(steps[:, None] + np.arange(1 - history, 1), 0)
    ahead = np.minimum(steps[:, None] + np.arange(chunk), len(steps) - 1)
    return Batch(episode.obs[before].reshape(len(steps), -1), episode.action[ahead].reshape(len(steps), -1))
