"""One observation, K paths: tasks of planar chunks, in the layouts of `envs.planar`, after Mazza et al. 2026 (arXiv 2605.22493).

`planar_law` says what demonstrations are, `planar_metrics` how policies are judged.
"""

import functools
import math
from typing import get_args

import numpy as np

from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.envs import planar_image
from ebgan_mdn_jax.tasks import planar_law as law
from ebgan_mdn_jax.tasks import planar_metrics
from ebgan_mdn_jax.tasks.base import Conditional, EvaluationConfig, Task
from ebgan_mdn_jax.types import Spec, require

_DRAWS_PER_MODE = 64  # of the rarest, so that an exact sampler misses half a share once in 300,000


def make(
    name: env.Name,
    num_modes: int | None = None,
    chunk: int = 60,
    actions: env.Actions = "position",
    weights: tuple[float, ...] | None = None,
    flip: float | None = None,
    styles: int = 1,
    noise: float | None = None,
    image: bool = False,
) -> Task:
    """A task in one of the layouts.

    Judged by ``share_coverage@tau=0.5``: it falls when a mode is dropped, gets less than half of its weight, or loses half of its chunks to
    bridges; a policy that always takes one mode can be on support and successful throughout, and mode hits take one chunk for a mode.

    Args:
      name: see `envs.planar.make_layout`, as for ``num_modes``, ``styles`` and ``noise``.
      num_modes: K, where the layout lets one choose.
      chunk: H, steps from start to end.
      actions: "position" or "displacement".
      weights: probability of each mode; equal by default.
      flip: with a context: the probability that it names a wrong mode; None: without.
      styles: ways to pass each gap of the corridor.
      noise: standard deviation of a coordinate.
      image: whether the observation is an image; for methods with an encoder of images.

    Raises:
      InputError: if an argument is not among these, or the weights are not one for each mode and positive, or do not add up to 1.
    """
    layout = env.make_layout(name, num_modes, chunk, styles, noise)
    count = len(layout.paths)
    require(actions in get_args(env.Actions), f"actions={actions!r}: expected 'position' or 'displacement'")
    weights = np.full(count, 1 / count) if weights is None else np.asarray(weights, float)
    sound = weights.shape == (count,) and np.all(weights > 0) and abs(weights.sum() - 1) < 1e-6
    require(sound, f"weights={weights.tolist()}: expected {count} positive numbers that add up to 1")
    require(flip is None or 0 <= flip <= 1, f"flip={flip}: expected a probability")

    inputs, given_mode = np.float32(layout.paths[:1, 0]), np.ones((count, 1))
    if flip is not None:
        given_mode = np.where(np.eye(count, dtype=bool), 1 - flip, flip / (count - 1))
        inputs = np.concatenate([np.broadcast_to(inputs, (count, 2)), np.eye(count, dtype=np.float32)], axis=1)
    box = inputs.min(0), inputs.max(0)
    if image:
        named = layout.paths[:, None, chunk // 2] if flip is not None else np.zeros((1, 0, 2))
        inputs = planar_image.render(inputs[:, :2], named, layout.obstacles, np)
        box = np.zeros(inputs.shape[1]), np.ones(inputs.shape[1])
        alike = len(np.unique(inputs, axis=0)) < len(inputs)
        require(not alike, f"image={image}: some ways of {name} share their middle, so that a mark there names none")
    joint = weights[:, None] * given_mode
    world = law.World(layout, actions, inputs, joint.sum(0), joint / joint.sum(0), given_mode)
    density = None if law.is_clipped(layout) else functools.partial(law.log_prob, world=world)
    return Task(
        spec=Spec(
            *(tuple(map(float, side)) for side in box), *law.action_box(world), planar_image.SHAPE if image else ()
        ),
        num_demonstrations=1000,
        evaluation=EvaluationConfig(
            num_samples=200,
            num_draws=max(1000, math.ceil(_DRAWS_PER_MODE / world.weights[world.weights > 0].min() - 1e-6)),
        ),
        evaluate=functools.partial(planar_metrics.evaluate, world=world),
        demonstrations=functools.partial(law.demonstrations, world=world),
        conditional=Conditional(functools.partial(law.sample, world=world), density),
        modes=functools.partial(law.modes, world=world),
        normalize=True,
        primary=f"share_coverage@tau={planar_metrics.TAUS[0]:g}",
    )


VARIANTS: dict[str, Task] = {
    "planar_circle": make("circle"),
    "planar_circle_context": make("circle", flip=0.0),
    "planar_circle_image": make("circle", chunk=16, flip=0.0, image=True),
    **{f"planar_fading_{percent}": make("circle", chunk=16, flip=percent / 100) for percent in (0, 10, 25, 50)},
    "planar_sequential": make("sequential"),
    "planar_avoiding": make("avoiding"),
    **{f"radial_{k}": make("radial", k) for k in (8, 16, 32)},
    **{f"radial_{k}_short": make("radial", k, chunk=16) for k in (2, 4, 8, 16, 32, 64)},
    **{f"radial_{k}_short_displacement": make("radial", k, chunk=16, actions="displacement") for k in (2, 8, 32)},
    "radial_8_short_imbalanced": make("radial", 8, chunk=16, weights=(0.2, 0.05) * 4),
    "radial_8_short_rare": make("radial", 8, chunk=16, weights=(20 / 84, 1 / 84) * 4),
    **{f"radial_8_short_noisy_{k}": make("radial", 8, chunk=16, noise=0.006 * k) for k in (2, 4)},
    **{f"corridor_{k}": make("corridor", k) for k in (8, 16)},
}
