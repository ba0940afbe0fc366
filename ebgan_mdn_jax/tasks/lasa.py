"""Handwriting motions: draw a shape as people drew it, from where another one of them began. Real recordings, `data.lasa`.

The observation is the pen's position in millimetres, its last step, and which of 30 shapes to draw; the action is a chunk of the next 8
positions, relative to it. Of 7 drawings of a shape one is held out, fold by fold. In a rollout the policy starts where the held-out drawing
does, acts, executes the chunk, acts again where that ends, and so on for the 100 steps of a drawing. It is judged by its distance to that
drawing: the mean over equal times, and the discrete Frechet distance (`evaluation.curves`), both in millimetres.

In the shapes ``Multi_Models_1`` to ``4`` several motions are mixed, which begin at different places.
"""

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.evaluation import curves
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, PRNGKey, Spec

SHAPES = (
    "Angle",
    "BendedLine",
    "CShape",
    "DoubleBendedLine",
    "GShape",
    "heee",
    "JShape",
    "JShape_2",
    "Khamesh",
    "Leaf_1",
    "Leaf_2",
    "Line",
    "LShape",
    "Multi_Models_1",
    "Multi_Models_2",
    "Multi_Models_3",
    "Multi_Models_4",
    "NShape",
    "PShape",
    "RShape",
    "Saeghe",
    "Sharpc",
    "Sine",
    "Snake",
    "Spoon",
    "Sshape",
    "Trapezoid",
    "Worm",
    "WShape",
    "Zshape",
)
NUM_DRAWINGS, NUM_STEPS, CHUNK = 7, 100, 8


def rollouts(key: PRNGKey, policy: Conditional, start: Array) -> Array:
    """Ways ``[B, T + 1, 2]`` from the observations ``start [B, Do]``, of which those after the first are the policy's."""

    def execute(obs, key):
        chunk = policy.act(key, obs).reshape(-1, CHUNK, 2)
        points = obs[:, None, :2] + chunk
        step = points[:, -1] - points[:, -2]
        return jnp.concatenate([points[:, -1], step, obs[:, 4:]], axis=-1), points

    keys = jax.random.split(key, -(-NUM_STEPS // CHUNK))
    _, points = jax.lax.scan(execute, start, keys)
    points = jnp.moveaxis(points, 0, 1).reshape(start.shape[0], -1, 2)
    return jnp.concatenate([start[:, None, :2], points[:, :NUM_STEPS]], axis=1)


def drawings(data: Data) -> Array:
    """The held-out drawing of every shape, ``[30, T + 1, 2]``."""
    position = data.heldout.obs[:, :2].reshape(len(SHAPES), NUM_STEPS, 2)
    last = data.heldout.action[:, :2].reshape(position.shape)[:, -1:]
    return jnp.concatenate([position, position[:, -1:] + last], axis=1)


def evaluate(key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics of ``num_samples`` rollouts of every shape, with ``policy.act``.

    ``reproduction_error`` and ``frechet``: mean distances in millimetres, of all shapes and, as ``...[shape]``, of each.
    ``heldout_nll`` in nats per row.
    """
    start = data.heldout.obs.reshape(len(SHAPES), NUM_STEPS, -1)[:, 0]
    ways = rollouts(key, policy, jnp.repeat(start, config.num_samples, axis=0))
    truth = jnp.repeat(drawings(data), config.num_samples, axis=0)
    metrics = {}
    for name, distance in (("reproduction_error", curves.timed_distance), ("frechet", curves.frechet_distance)):
        of_shape = jnp.mean(distance(ways, truth).reshape(len(SHAPES), -1), axis=1)
        metrics[name] = jnp.mean(of_shape)
        metrics |= {f"{name}[{shape}]": of_shape[i] for i, shape in enumerate(SHAPES)}
    return metrics | heldout_nll(policy, data)


def drawn(key: PRNGKey, policy: Conditional, data: Data) -> dict[str, Array]:
    """What a figure shows of each shape, every fourth position: ``drawing_rollouts [30, 3, 26, 2]``, ``drawing_heldout [30, 26, 2]``.

    And ``drawing_demonstrations [30, 6, 25, 2]``, of which the very end is left out.
    """
    start = data.heldout.obs.reshape(len(SHAPES), NUM_STEPS, -1)[:, 0]
    ways = rollouts(key, policy, jnp.repeat(start, 3, axis=0)).reshape(len(SHAPES), 3, NUM_STEPS + 1, 2)
    trained = data.train.obs[:, :2].reshape(len(SHAPES), NUM_STEPS, NUM_DRAWINGS - 1, 2)
    return {
        "drawing_rollouts": ways[:, :, ::4],
        "drawing_demonstrations": jnp.moveaxis(trained, 2, 1)[:, :, ::4],
        "drawing_heldout": drawings(data)[:, ::4],
    }


def _make() -> Task:
    """Boxes are of the tablet and of steps up to 2.5 mm, along the chunk 2 mm each."""
    side = (50.0, 50.0, 2.5, 2.5)
    ahead = tuple(2.0 * k for k in range(1, CHUNK + 1) for _ in range(2))
    return Task(
        spec=Spec(
            tuple(-x for x in side) + (0.0,) * len(SHAPES),
            side + (1.0,) * len(SHAPES),
            tuple(-x for x in ahead),
            ahead,
        ),
        num_demonstrations=len(SHAPES) * NUM_STEPS * NUM_DRAWINGS,
        evaluation=EvaluationConfig(num_samples=10),
        evaluate=evaluate,
        demonstrations=None,
        conditional=None,
        modes=None,
        normalize=True,
        num_folds=NUM_DRAWINGS,
        primary="reproduction_error",
        drawn=drawn,
    )


LASA = _make()
