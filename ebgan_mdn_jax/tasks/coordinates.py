"""Where is the block? Regression of image coordinates from few images (Florence et al. 2021, arXiv 2109.00137, figure 4).

The sizes are those of their figure's public stand-in (kevinzakka/ibc): a block of 7 x 7 pixels on a blank image of 96 x 96, 10 or 30
images to learn from, 500 to be judged by. Theirs is green on white; one channel says as much, 0 on the block and 1 elsewhere. The action is
the row and column of the block's centre, mapped from the first and last pixel to -1 and 1. All of the block is always in the image.
"""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

SIZE, BLOCK = 96, 7
_SPEC = Spec((0.0,) * SIZE**2, (1.0,) * SIZE**2, (-1.0, -1.0), (1.0, 1.0), (SIZE, SIZE, 1))


def draw_centres(key: PRNGKey, num: int) -> Array:
    """Centres ``[num, 2]`` of blocks, whole pixels, uniform where the block fits."""
    return jax.random.randint(key, (num, 2), BLOCK // 2, SIZE - BLOCK // 2).astype(jnp.float32)


def render(centres: Array) -> Array:
    """Images ``[B, SIZE^2]`` of blocks with these ``centres [B, 2]``."""
    distance = jnp.abs(jnp.arange(SIZE)[None, None] - centres[..., None])  # [B, 2, SIZE]
    on_block = distance <= BLOCK // 2
    image = ~(on_block[:, 0, :, None] & on_block[:, 1, None])
    return image.reshape(-1, SIZE**2).astype(centres.dtype)


def to_action(centres: Array) -> Array:
    """Pixels to actions."""
    return 2 * centres / (SIZE - 1) - 1


def inside_hull(points: Array, corners: Array) -> Array:
    """Is each of ``points [P, 2]`` in the convex hull of ``corners [C, 2]``, its border included? ``[P]``.

    A point is outside if all corners lie in one open half-plane beyond it: if some gap between their directions exceeds half a turn.
    """
    offset = corners[None] - points[:, None]
    angles = jnp.sort(jnp.arctan2(offset[..., 1], offset[..., 0]), axis=1)
    gaps = jnp.concatenate([jnp.diff(angles, axis=1), angles[:, :1] + 2 * jnp.pi - angles[:, -1:]], axis=1)
    at_corner = jnp.any(jnp.all(offset == 0, axis=-1), axis=1)
    return (jnp.max(gaps, axis=1) <= jnp.pi + 1e-5) | at_corner


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Mean distance in pixels of the policy's action to the block's centre, over ``num_inputs`` images.

    ``pixel_error_inside`` and ``pixel_error_outside``: over those whose centre is in the convex hull of the training images' centres, and
    over the others; not finite without any. ``heldout_nll`` in nats per row.
    """
    key_centres, key_act = jax.random.split(key)
    centres = draw_centres(key_centres, config.num_inputs)
    action = policy.act(key_act, render(centres))
    error = jnp.linalg.norm(action - to_action(centres), axis=-1) * (SIZE - 1) / 2
    inside = inside_hull(to_action(centres), data.train.action)
    return {
        "pixel_error": jnp.mean(error),
        "pixel_error_inside": jnp.sum(jnp.where(inside, error, 0.0)) / jnp.sum(inside),
        "pixel_error_outside": jnp.sum(jnp.where(inside, 0.0, error)) / jnp.sum(~inside),
    } | heldout_nll(policy, data)


def _demonstrations(key: PRNGKey, num: int) -> Batch:
    centres = draw_centres(key, num)
    return Batch(render(centres), to_action(centres))


COORDINATES = Task(
    spec=_SPEC,
    num_demonstrations=30,
    evaluation=EvaluationConfig(num_inputs=500),
    evaluate=evaluate,
    demonstrations=_demonstrations,
    conditional=None,
    modes=None,
    num_heldout=50,
    primary="pixel_error",
)
