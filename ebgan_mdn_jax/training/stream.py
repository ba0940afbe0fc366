"""Minibatches for data that do not fit a device's memory: rows stay on the host, Grain reads those of the next steps ahead of time.

Members see the minibatches that they would see with all rows on the device (`loop.epoch_order`), in the same order, so that they train to
the same bits. Needs the extra ``stream``.
"""

import functools
import importlib.util
from collections.abc import Iterator

import jax
import numpy as np

from ebgan_mdn_jax.training import loop
from ebgan_mdn_jax.types import Array, Batch, require, steps_per_epoch

_AHEAD = 2  # blocks that are ready before they are asked for


def require_grain() -> None:
    """Raise `InputError` unless Grain is installed."""
    require(
        importlib.util.find_spec("grain") is not None,
        "train.stream needs grain, which is not installed: pip install 'ebgan_mdn_jax[stream]', or set train.stream=0",
    )


def blocks(
    data: Batch, keys: Array, folds: np.ndarray, batch_size: int, first: int, last: int, num_steps: int
) -> Iterator[Batch]:
    """Minibatches of the steps from ``first`` to ``last``, ``num_steps`` (n) at a time, one after another: leaves ``[S, n B, D]``.

    The last block is filled up by its last row.

    Args:
      data: leaves ``[F, rows, D]``, arrays of the host, memory-mapped ones for example.
      keys: base keys of the members, ``[S]``.
      folds: which of the F splits each has, ``[S]``.
      batch_size: B.
      first: step to begin with.
      last: step to end before.
      num_steps: n.
    """
    import grain

    num_rows = data.obs.shape[1]
    per_epoch = steps_per_epoch(num_rows, batch_size)
    shuffle = jax.jit(jax.vmap(functools.partial(loop.epoch_order, num_rows=num_rows), in_axes=(0, None)))

    @functools.lru_cache(maxsize=_AHEAD + 1)
    def orders(epoch: int) -> np.ndarray:
        return np.asarray(shuffle(keys, epoch))  # [S, rows]

    def block(start: int) -> Batch:
        index = [
            orders(step // per_epoch)[:, (step % per_epoch * batch_size + np.arange(batch_size)) % num_rows]
            for step in range(start, min(start + num_steps, last))
        ]
        index = np.concatenate(index, axis=1)
        index = np.pad(index, ((0, 0), (0, num_steps * batch_size - index.shape[1])), mode="edge")
        return jax.tree.map(lambda leaf: leaf[folds[:, None], index], data)

    source = grain.MapDataset.range(first, last, num_steps).map(block)
    return iter(source.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)))
