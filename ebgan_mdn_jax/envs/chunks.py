r"""How chunks of actions are executed: in part, after which the policy plans anew, or as an average of the last ones.

The latter is the temporal ensembling of ACT (Zhao et al. 2023, arXiv 2304.13705, algorithm 2): the policy plans at every step, and what is
done is the average of what its last H chunks have for now,

.. math:: \frac{\sum_i w_i\, a^{(i)}}{\sum_i w_i}, \qquad w_i = e^{-0.01 i}, \quad i = 0 \text{ for the oldest}.
"""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, require

_DECAY = 0.01  # ACT's m


def average(chunks: Array, time: Array) -> Array:
    """The ensemble's action ``[B, Da]`` at step ``time``, from 0, of the last ``chunks [H, B, H, Da]``, the newest first.

    Those that would have been made before step 0 are left out.
    """
    age = jnp.arange(chunks.shape[0])
    weights = jax.nn.softmax(jnp.where(age <= time, _DECAY * age, -jnp.inf))
    return jnp.einsum("i,ibd->bd", weights, chunks[age, :, age])


def require_execution(execute: int, ensemble: bool, chunk: int, prefix: str) -> None:
    """Raise `InputError`, whose settings are called ``prefix`` and their names, unless chunks can be executed so; 0 steps are all."""
    require(
        0 <= execute <= chunk,
        f"{prefix}execute={execute}: chunks have {chunk} steps; take at most that many, 0 for all",
    )
    require(
        not (ensemble and execute > 1),
        f"{prefix}execute={execute}: an ensemble executes one step; leave out {prefix}ensemble or {prefix}execute",
    )
