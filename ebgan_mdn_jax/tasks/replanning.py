"""Chunks that are executed in part and then planned anew: does a policy change its mind on the way? (Mazza et al. 2026, arXiv 2605.22493.)

A demonstration of `tasks.planar` is cut into windows: the observation is a position on the way, the action the H positions that follow, of
which those after the last are the last one again. At the start every mode is possible; where the ways have parted only one is. Rows are
windows of independent demonstrations, at a time that is uniform.

In a rollout the policy draws a chunk where it is, executes ``execute`` steps of it (all, by default), draws the next one, and so on for T
steps. Every position reached is off by ``N(0, disturbance^2)`` on each coordinate. With ``ensemble`` it draws a chunk at every step and
goes to the average of the last H (`envs.chunks`).

The exact conditional can be sampled, but has no density, as chunks that reach beyond the end repeat its position.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.envs import chunks as execution
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.evaluation import chunks
from ebgan_mdn_jax.tasks import planar_law, planar_metrics
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec, require

NUM_STEPS = 60  # T


class Rollout(NamedTuple):
    """Positions ``[T + 1, R, 2]``, the start first, and where each of P chunks ends ``[P, R, 2]``."""

    points: Array
    ends: Array


def windows(paths: Array, chunk: int) -> Array:
    """What follows each time but the last, flat: ``[..., T, 2 H]`` of ``paths [..., T + 1, 2]``."""
    last = paths.shape[-2] - 1
    index = np.minimum(np.arange(last)[:, None] + 1 + np.arange(chunk), last)
    return paths[..., index, :].reshape(*paths.shape[:-2], last, 2 * chunk)


def demonstrations(key: PRNGKey, num: int, layout: env.Layout, chunk: int) -> Batch:
    """Modes are equally frequent but for chance."""
    key_mode, key_path, key_time = jax.random.split(key, 3)
    mode = jax.random.randint(key_mode, (num,), 0, len(layout.paths))
    paths = planar_law.follow(key_path, layout, mode)
    time = jax.random.randint(key_time, (num,), 0, NUM_STEPS)
    rows = jnp.arange(num)
    return Batch(paths[rows, time], windows(paths, chunk)[rows, time])


def sample(key: PRNGKey, obs: Array, num_samples: int, layout: env.Layout, chunk: int) -> Array:
    """Draws ``[N, B, 2 H]`` of the exact conditional before clipping and rejection.

    Mode and time are drawn by how well they explain the observation; only the start itself, which has no noise, is at time 0.
    """
    key_where, key_noise = jax.random.split(key)
    paths = jnp.asarray(layout.paths, obs.dtype)
    apart = jnp.sum((obs[:, None, None] - paths[None, :, :-1]) ** 2, axis=-1)  # [B, K, T]
    first = (jnp.arange(NUM_STEPS) == 0)[None, None]
    possible = jnp.where(apart[..., :1] < 1e-12, first, ~first)
    logits = jnp.where(possible, -apart / (2 * layout.noise**2), -jnp.inf).reshape(obs.shape[0], -1)
    where = jax.random.categorical(key_where, logits, shape=(num_samples, obs.shape[0]))
    means = windows(paths, chunk).reshape(-1, chunk, 2)[where]
    noise = layout.noise * jax.random.normal(key_noise, means.shape, means.dtype)
    left = NUM_STEPS - 1 - where % NUM_STEPS  # steps after the next one; what follows the last one repeats it
    step = jnp.minimum(jnp.arange(chunk)[None, None], left[..., None])
    return (means + jnp.take_along_axis(noise, step[..., None], axis=2)).reshape(*where.shape, -1)


def rollouts(
    key: PRNGKey, policy: Conditional, num: int, layout: env.Layout, chunk: int, config: EvaluationConfig
) -> Rollout:
    """Of ``num`` agents (R) that draw their chunks by ``policy.sample``."""
    start = jnp.broadcast_to(jnp.asarray(layout.paths[0, 0], float), (num, 2))

    def plan(key, position):
        return policy.sample(key, position, 1)[0].reshape(num, chunk, 2)

    def go(key, target):
        return jnp.clip(target + config.disturbance * jax.random.normal(key, target.shape), 0.0, 1.0)

    def execute(position, key):
        key_plan, key_go = jax.random.split(key)
        planned = plan(key_plan, position)
        reached = go(key_go, jnp.moveaxis(planned[:, : config.execute or chunk], 1, 0))
        return reached[-1], (reached, planned[:, -1])

    def average(carry, inputs):
        position, last = carry  # chunks [H, R, H, 2], the newest first
        key, time = inputs
        key_plan, key_go = jax.random.split(key)
        last = jnp.concatenate([plan(key_plan, position)[None], last[:-1]])
        position = go(key_go, execution.average(last, time))
        return (position, last), (position[None], last[0, :, -1])

    if config.ensemble:
        begin = (start, jnp.zeros((chunk, num, chunk, 2), start.dtype))
        inputs = jax.random.split(key, NUM_STEPS), jnp.arange(NUM_STEPS)
        _, (reached, ends) = jax.lax.scan(average, begin, inputs)
    else:
        num_chunks = -(-NUM_STEPS // (config.execute or chunk))
        _, (reached, ends) = jax.lax.scan(execute, start, jax.random.split(key, num_chunks))
    return Rollout(jnp.concatenate([start[None], reached.reshape(-1, num, 2)[:NUM_STEPS]]), ends)


def switches(ends: Array, layout: env.Layout) -> Array:
    """% of pairs of successive chunks that end nearest to different modes, of ``ends [P, R, 2]``; 0 if there is no pair.

    Only pairs count of which both end where a second way is more than two tubes off, as before that nothing is decided.
    """
    paths = jnp.asarray(layout.paths, ends.dtype)
    apart = jnp.min(jnp.linalg.norm(ends[:, :, None, None] - paths[None, None], axis=-1), axis=-1)  # [P, R, K]
    mode, second = jnp.argmin(apart, axis=-1), jnp.sort(apart, axis=-1)[..., 1]
    parted = second > 2 * layout.tube
    pair = parted[1:] & parted[:-1]
    return 100.0 * jnp.sum(pair & (mode[1:] != mode[:-1])) / jnp.maximum(jnp.sum(pair), 1)


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, layout: env.Layout, chunk: int
) -> dict[str, Array]:
    """Metrics of ``num_samples`` rollouts (S).

    ``collision``, ``reach``, ``success``, ``valid_mode_hits`` and ``behaviour_entropy`` as in `planar_metrics.evaluate`; ``mode_switches``,
    see `switches`.

    Raises:
      InputError: if more steps are to be executed than a chunk has, or an ensemble is to execute several.
    """
    execution.require_execution(config.execute, config.ensemble, chunk, "evaluation.")
    rollout = rollouts(key, policy, config.num_samples, layout, chunk, config)
    points = jnp.moveaxis(rollout.points, 0, 1)[:, None]  # [R, 1, T + 1, 2]
    paths = jnp.asarray(layout.paths, points.dtype)
    hit = env.collides(points, jnp.asarray(layout.obstacles, points.dtype))
    ends = chunks.outcomes(
        points, hit, paths[:, -1], *planar_metrics.leniency(layout, np.full(len(paths), 1 / len(paths)))
    )
    distance, exists = chunks.distances(points[..., 1:, :], paths[:, 1:]), jnp.ones((len(paths), 1), bool)
    metrics = {name: 100.0 * jnp.mean(getattr(ends, name)) for name in ("success", "collision", "reach")}
    size = f"@S={config.num_samples}"
    metrics[f"valid_mode_hits{size}"] = chunks.mode_hits(distance, ends.success, exists)[0]
    metrics[f"behaviour_entropy{size}"] = chunks.hit_entropy(distance, ends.success, exists, corrected=True)[0]
    metrics["mode_switches"] = switches(rollout.ends, layout)
    return metrics


def make(chunk: int, num_modes: int = 8) -> Task:
    """Spokes, in chunks of H.

    Raises:
      InputError: unless H is from 1 to T.
    """
    require(1 <= chunk <= NUM_STEPS, f"chunk={chunk}: expected 1 to {NUM_STEPS} steps")
    layout = env.make_layout("radial", num_modes, NUM_STEPS)
    low, high = planar_law.position_box(layout)
    return Task(
        spec=Spec(low, high, low * chunk, high * chunk),
        num_demonstrations=6000,
        evaluation=EvaluationConfig(num_samples=200),
        evaluate=functools.partial(evaluate, layout=layout, chunk=chunk),
        demonstrations=functools.partial(demonstrations, layout=layout, chunk=chunk),
        conditional=Conditional(functools.partial(sample, layout=layout, chunk=chunk), None),
        modes=None,
        normalize=True,
        primary="success",
    )


VARIANTS: dict[str, Task] = {f"replan_{chunk}": make(chunk) for chunk in (1, 5, 15, 60)}
