r"""Demonstrations of your own: the truth is unknown, and policies are judged on rows of episodes that they have not seen.

The energy score (Gneiting & Raftery 2007, "Strictly proper scoring rules, prediction, and estimation", JASA 102, equation 22) of draws
:math:`X, X'` of the policy at the observation where :math:`a` was done,

.. math:: E|X - a| - \tfrac12 E|X - X'|,

is least, on average, for the distribution that the demonstrations come from, and needs no density. Actions are measured in half extents of
the action box, and distances are root mean squares over dimensions, so that tasks and chunks of any length are on one scale.
"""

import functools

import jax.numpy as jnp

from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec


def energy_score(draws: Array, action: Array) -> Array:
    """The score ``[B]`` of ``draws [N, B, Da]`` where ``action [B, Da]`` was done; the second mean is over successive pairs of draws."""

    def distance(a, b):
        return jnp.sqrt(jnp.mean((a - b) ** 2, axis=-1))

    to_action = jnp.mean(distance(draws, jnp.broadcast_to(action, draws.shape)), axis=0)
    return to_action - 0.5 * jnp.mean(distance(draws, jnp.roll(draws, 1, axis=0)), axis=0)


def marginal_w1(draws: Array, action: Array) -> Array:
    """Wasserstein-1 distance ``[Da]`` of all draws, ``[N, B, Da]``, to all actions ``[B, Da]``, whatever the observation."""
    num, rows, dim = draws.shape
    pooled = jnp.sort(draws.reshape(-1, dim), axis=0).reshape(rows, num, dim)
    recorded = jnp.sort(action, axis=0)[:, None]
    return jnp.mean(jnp.abs(pooled - jnp.broadcast_to(recorded, pooled.shape)), axis=(0, 1))


def evaluate(spec: Spec, key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """Metrics at ``num_inputs`` held-out rows, evenly spaced, from ``num_draws`` draws at each; ``heldout_nll`` in data units."""
    size = min(config.num_inputs, data.mask.shape[0])
    index = jnp.arange(size) * jnp.sum(data.mask) // size
    obs, action = data.heldout.obs[index], data.heldout.action[index]
    half = jnp.asarray(
        [(high - low) / 2 if high > low else 1.0 for low, high in zip(spec.action_low, spec.action_high, strict=True)]
    )
    draws = policy.sample(key, obs, config.num_draws)
    unit_draws, unit_action = (x / jnp.broadcast_to(half.astype(x.dtype), x.shape) for x in (draws, action))
    metrics = {
        "energy_score": jnp.mean(energy_score(unit_draws, unit_action)),
        "marginal_w1": jnp.mean(marginal_w1(unit_draws, unit_action)),
    }
    rows = Data(data.train, Batch(obs, action), jnp.ones(size, bool))
    return metrics | heldout_nll(policy, rows)


def make(spec: Spec, num_rows: int) -> Task:
    """The task of demonstrations with these boxes and training rows."""
    return Task(
        spec=spec,
        num_demonstrations=num_rows,
        evaluation=EVALUATION,
        evaluate=functools.partial(evaluate, spec),
        demonstrations=None,
        conditional=None,
        modes=None,
        normalize=True,
        primary="energy_score",
    )


EVALUATION = EvaluationConfig(num_inputs=500, num_draws=50)
RECORDED = make(Spec((), (), (), ()), 0)  # what is the same for all: not the boxes
