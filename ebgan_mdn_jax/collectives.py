"""Everything that talks across devices: a method written with these is the same on one device and on many.

With ``axis_name=None`` each function is its single-device meaning. Under ``pmap``, ``shard_map`` or ``vmap(axis_name=...)`` the batch
is split into equal blocks of consecutive rows along the axis. Losses must be means over rows.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, PRNGKey, PyTree


def synced_value_and_grad(loss_fn: Callable, axis_name: str | None = None) -> Callable:
    """`jax.value_and_grad` (with aux) of the mean over devices.

    Averaging the loss inside *and* the gradient outside is the one form that is exact under ``jit``, ``pmap``, ``vmap(axis_name=...)``
    and ``shard_map`` alike: ``shard_map`` already sums the gradients of replicated parameters, the others do not.

    Args:
      loss_fn: ``(params, *args) -> (loss, aux)``; ``aux`` holds means over rows.
      axis_name: axis that the batch is split over, or None.

    Returns:
      ``(params, *args) -> ((loss, aux), grads)``, all averaged over the axis.
    """

    def mean(tree):
        return tree if axis_name is None else jax.lax.pmean(tree, axis_name)

    def wrapped(params, *args):
        def averaged(params):
            loss, aux = loss_fn(params, *args)
            return mean(loss), aux

        (loss, aux), grads = jax.value_and_grad(averaged, has_aux=True)(params)
        return (mean(loss), mean(aux)), mean(grads)

    return wrapped


def row_keys(key: PRNGKey, num_rows: int, axis_name: str | None = None) -> PRNGKey:
    """One key per local row ``[B]``, folded from the row's index in the *global* batch, so noise does not depend on the split."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, row_indices(num_rows, axis_name))


def row_indices(num_rows: int, axis_name: str | None = None) -> Array:
    """Indices ``[B]`` of the local rows in the global batch."""
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * num_rows
    return first + jnp.arange(num_rows)


def all_rows(rows: Array, axis_name: str | None = None) -> Array:
    """The global batch ``[devices * B, ...]`` of local rows ``[B, ...]``."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def local_rows(batch: PyTree, axis_name: str | None = None) -> PyTree:
    """This device's block of a global batch whose leaves are ``[B, ...]``."""
    if axis_name is None:
        return batch

    def block(leaf):
        size = leaf.shape[0] // jax.lax.axis_size(axis_name)
        return jax.lax.dynamic_slice_in_dim(leaf, jax.lax.axis_index(axis_name) * size, size)

    return jax.tree.map(block, batch)
