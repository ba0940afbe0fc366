r"""Where will a pedestrian be in the next 4.8 s, given the last 3.2? Real recordings, judged on scenes that were not trained on.

`data.pedestrians` says what rows are. Metrics are those of the field: with draws :math:`y^1, ..., y^N` of the true way
:math:`y`, of H = 12 steps,

.. math:: \mathrm{minADE}_N = \min_n \frac1H \sum_t |y^n_t - y_t|, \qquad \mathrm{minFDE}_N = \min_n |y^n_H - y_H|,

means over all windows of a scene, as Trajectron++ and others have them. (Social GAN takes the best of N draws for all pedestrians of a
window together, which gives larger errors.) A draw is free of collisions if at no step it is nearer than 0.1 m to where any other
pedestrian of that moment truly was, as nearly all true ways are. Many pedestrians stand still to the last digit, so that a likelihood also
measures the scale floor: compare it at the same floor.

The baseline goes on with the last observed step, turned by an angle that each draw takes from ``N(0, (25 degrees)^2)``: Schoeller et al.
2020, "What the constant velocity model can teach us about pedestrian motion prediction", arXiv 1903.07933.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task
from ebgan_mdn_jax.types import Array, PRNGKey, Spec

OBSERVED, PREDICTED = 8, 12  # steps of 0.4 s
NUM_WINDOWS = {"eth": 181, "hotel": 1053, "univ": 24_334, "zara1": 2253, "zara2": 5833, "validation": 2843}
_COLLISION = 0.1  # metres
_ANGLE_NOISE = math.radians(25.0)
_BLOCK = 256  # windows that are judged at once


class Crowd(NamedTuple):
    """Who is where: ``position [T, P, 2]`` in metres and ``pedestrian [T, P]``, -1 where there is none, of T frames.

    Of B windows, ``start [B]`` is the frame that follows those observed, ``own [B]`` the pedestrian, ``origin [B, 2]`` its last observed
    position and ``heading [B, 2]`` the first axis of its frame.
    """

    position: Array
    pedestrian: Array
    start: Array
    own: Array
    origin: Array
    heading: Array


def extrapolated(obs: Array) -> Array:
    """Positions ``[B, H, 2]`` if the last observed step of ``obs [B, Do]`` is repeated; actions are relative to them."""
    times = jnp.arange(1, PREDICTED + 1, dtype=obs.dtype)
    return -times[None, :, None] * obs[:, None, -2:]


def constant_velocity(key: PRNGKey, obs: Array, num_samples: int) -> Array:
    """The baseline's draws, actions ``[N, B, 2 H]``."""
    straight = extrapolated(obs)
    angle = _ANGLE_NOISE * jax.random.normal(key, (num_samples, obs.shape[0], 1), obs.dtype)
    x, y = (jnp.broadcast_to(straight[..., i], (num_samples, *straight.shape[:-1])) for i in (0, 1))
    turned = jnp.stack([jnp.cos(angle) * x - jnp.sin(angle) * y, jnp.sin(angle) * x + jnp.cos(angle) * y], axis=-1)
    return (turned - straight[None]).reshape(num_samples, obs.shape[0], -1)


def collisions(points: Array, crowd: Crowd) -> Array:
    """Which ways collide, bool ``[N, B]``, of ``points [N, B, H, 2]`` in the frames of the crowd's B windows."""

    def of_window(points, start, own, origin, heading):
        x, y = points[..., 0], points[..., 1]
        # [N, H, 2]
        world = jnp.stack([heading[0] * x - heading[1] * y, heading[1] * x + heading[0] * y], axis=-1)
        world += jnp.broadcast_to(origin, world.shape)
        position, pedestrian = (jax.lax.dynamic_slice_in_dim(part, start, PREDICTED) for part in crowd[:2])
        apart = jnp.sum((world[:, :, None] - position[None]) ** 2, axis=-1)  # [N, H, P]
        other = (pedestrian >= 0) & (pedestrian != own)
        return jnp.any((apart < _COLLISION**2) & other[None], axis=(1, 2))

    return jax.vmap(of_window, in_axes=(1, 0, 0, 0, 0), out_axes=1)(points, *crowd[2:])


def errors(draws: Array, action: Array) -> tuple[Array, Array]:
    """Mean and final distance ``[N, B]`` in metres of ``draws [N, B, 2 H]`` to ``action [B, 2 H]``."""
    apart = (draws - action[None]).reshape(*draws.shape[:-1], PREDICTED, 2)
    distance = jnp.linalg.norm(apart, axis=-1)
    return jnp.mean(distance, axis=-1), distance[..., -1]


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics at ``num_inputs`` held-out windows, evenly spaced (all, if there are fewer), from ``num_draws`` draws (N) at each.

    ``min_ade``, ``min_fde``: see above; ``ade``: mean over draws; ``collision_free``: % of draws; ``heldout_nll`` in nats per window.
    """
    total = data.mask.shape[0]
    size = min(config.num_inputs, total)
    num_blocks = -(-size // _BLOCK)
    position = jnp.minimum(jnp.arange(num_blocks * _BLOCK), size - 1)

    def judge(block):
        key, position = block
        index = position * total // size
        obs, action = data.heldout.obs[index], data.heldout.action[index]
        draws = policy.sample(key, obs, config.num_draws)
        ade, fde = errors(draws, action)
        crowd = Crowd(*data.context[:2], *(part[index] for part in data.context[2:]))
        points = draws.reshape(*draws.shape[:-1], PREDICTED, 2) + extrapolated(obs)[None]
        free = 100.0 * ~collisions(points, crowd)
        values = [jnp.min(ade, axis=0), jnp.min(fde, axis=0), jnp.mean(ade, axis=0), jnp.mean(free, axis=0)]
        return [*values, -policy.log_prob(obs, action)] if policy.log_prob else values

    keys = jax.random.split(key, num_blocks)
    values = jax.lax.map(judge, (keys, position.reshape(num_blocks, _BLOCK)))
    of_draws = f"@N={config.num_draws}"
    names = f"min_ade{of_draws}", f"min_fde{of_draws}", "ade", "collision_free", "heldout_nll"
    return {name: jnp.mean(value.reshape(-1)[:size]) for name, value in zip(names, values, strict=False)}


def make(scene: str) -> Task:
    """The task that is judged on ``scene``, and trained on all others.

    Boxes are of walks of up to 1.75 m/s, and of deviations that grow with the power 1.4 of time, up to 2 m.
    """
    back = range(OBSERVED - 1, 0, -1)
    obs_low, obs_high = (
        [x for k in back for x in side(0.1 * k)] for side in (lambda k: (-7 * k, -2 * k), lambda k: (0.0, 2 * k))
    )
    action = [half for t in range(1, PREDICTED + 1) for half in (0.06 * t**1.4,) * 2]
    return Task(
        spec=Spec(tuple(obs_low), tuple(obs_high), tuple(-half for half in action), tuple(action)),
        num_demonstrations=sum(NUM_WINDOWS.values()) - NUM_WINDOWS[scene],
        evaluation=EvaluationConfig(num_inputs=25_000, num_draws=20),
        evaluate=evaluate,
        demonstrations=None,
        conditional=None,
        modes=None,
        normalize=True,
        primary="min_ade",
        baseline=("constant velocity", Conditional(constant_velocity, None)),
    )


VARIANTS: dict[str, Task] = {f"pedestrians_{scene}": make(scene) for scene in NUM_WINDOWS}
