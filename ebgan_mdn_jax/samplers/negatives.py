"""Negatives for contrastive losses: uniform in the action box, or actions of other rows."""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.types import Array, PRNGKey, Spec, require


def draw(
    key: PRNGKey, action: Array, spec: Spec, num_uniform: int, num_data: int, axis_name: str | None = None
) -> Array:
    """Negatives ``[num_uniform + num_data, B, Da]`` for the local rows ``action [B, Da]``, independent for every row.

    The first ones are uniform in the box of ``spec``; the others are actions of other rows of the global batch, with replacement: draws
    from the marginal p(action), but for repetitions, of which there are many where the batch has few rows.

    Raises:
      InputError: if other rows are asked for and there are none.
    """
    rows = collectives.all_rows(action, axis_name)
    require(num_data == 0 or rows.shape[0] > 1, "negatives from other rows' actions need batches of at least 2 rows")
    shape = (num_uniform, action.shape[-1])
    low, high = (jnp.broadcast_to(jnp.asarray(b, action.dtype), shape) for b in (spec.action_low, spec.action_high))

    def of_row(key, index):
        key_uniform, key_data = jax.random.split(key)
        uniform = low + (high - low) * jax.random.uniform(key_uniform, shape, action.dtype)
        if num_data == 0:
            return uniform
        offset = jax.random.randint(key_data, (num_data,), 1, rows.shape[0])
        return jnp.concatenate([uniform, rows[(index + offset) % rows.shape[0]]])

    keys = collectives.row_keys(key, action.shape[0], axis_name)
    return jnp.moveaxis(jax.vmap(of_row)(keys, collectives.row_indices(action.shape[0], axis_name)), 1, 0)
