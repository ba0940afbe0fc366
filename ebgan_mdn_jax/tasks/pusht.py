"""Push-T: a T-shaped block pushed onto its outline by a round agent; human demonstrations, judged in the simulator (extra ``pusht``).

Chi et al. 2023, Diffusion Policy (arXiv 2303.04137); `data.pusht` reads the demonstrations, gym-pusht 0.1.8 is the simulator. The
observation is two states, 0.1 s apart and the earlier one first: agent x and y, block x and y in pixels, the block's angle in radians. An
action is where the agent is pulled to, in pixels; ``pusht_8`` has chunks of 8.

As in that paper the score of an episode, of 300 steps at most, is the largest share of the outline that the block has covered, of which
95 % count as all, and the episode is over; of chunks of 16 actions 8 are executed. Starts are drawn by gym-pusht's own generator from that
paper's seeds, 100,000 and up, and so are others than its own. What the demonstrations themselves score: `experiments.benchmarks.pusht`.

Offline, policies are judged as in `tasks.recorded`, and by what they do where demonstrators divide: at held-out observations whose 16
nearest neighbours from as many training episodes lead to two places (`bimodal_neighbourhoods`). Both are covered if at least
half as many draws lead to each as neighbours do, and the draws pass the same test for two modes: a wide Gaussian over both places does not.
No more than a diagnostic: the observation may tell more than its neighbours agree on.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.envs import chunks, gymnasium
from ebgan_mdn_jax.evaluation import modality
from ebgan_mdn_jax.tasks import recorded
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

ENVIRONMENT = "gym_pusht/PushT-v0"
FIRST_SEED = 100_000
HISTORY = 2  # as in Diffusion Policy
_STATE_DIM = 5
NUM_NEIGHBOURS = 16
_EXECUTED = 8
_STATE_HIGH, _ACTION_HIGH = (512.0, 512.0, 512.0, 512.0, 2 * math.pi), (512.0, 512.0)


class Neighbourhoods(NamedTuple):
    """Q held-out observations ``obs [Q, Do]``, and where the chunks of their neighbours lead, ``points [Q, NUM_NEIGHBOURS, 2]``."""

    obs: Array
    points: Array


def leads_to(obs: Array, action: Array) -> Array:
    """How far the last position of each chunk ``action [..., 2 H]`` is from the agent's at ``obs [..., Do]``, ``[..., 2]`` pixels."""
    return action[..., -2:] - obs[..., -5:-3]


def bimodal_neighbourhoods(train: Batch, heldout: Batch) -> Neighbourhoods:
    """Where demonstrators divide: held-out rows, every third of them, whose neighbours in training episodes lead to two places.

    By the test of `experiments.audit` (`modality.two_gaussians`), of where chunks lead from the agent's position (`leads_to`), with
    observations in standard deviations of the training rows. Rows at the end of an episode, whose chunks are filled up, count neither as
    rows nor as neighbours.

    Args:
      train: ``obs [rows, 10]``, ``action [rows, H 2]``: all rows of some episodes, in order, with the task's history of 2.
      heldout: rows of others.
    """
    owner, whole = _episodes(train)
    obs, action, owner = train.obs[whole], train.action[whole], owner[whole]
    rows = np.flatnonzero(_episodes(heldout)[1])[::3]
    mean, scale = obs.mean(axis=0), obs.std(axis=0)
    query, known = (jnp.asarray((x - mean) / scale, jnp.float32) for x in (heldout.obs[rows], obs))
    others = np.full(len(rows), -1)  # no training episode is their own
    near = np.asarray(modality.neighbours(query, others, known, owner, owner.max() + 1, NUM_NEIGHBOURS))
    points = np.asarray(leads_to(obs, action))[near]
    bimodal = np.asarray(modality.two_gaussians(jnp.asarray(points)).bimodal)
    return Neighbourhoods(heldout.obs[rows][bimodal], points[bimodal])


def _episodes(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Of rows in order: the number of the episode of each, and whether its chunk ends before the episode does.

    Within an episode the older states of a row are the newer ones of the row before.
    """
    follows = np.all(batch.obs[1:, :-_STATE_DIM] == batch.obs[:-1, _STATE_DIM:], axis=1)
    owner = np.concatenate([[0], np.cumsum(~follows)])
    left = np.searchsorted(owner, owner, side="right") - np.arange(len(owner))
    return owner, left >= batch.action.shape[1] // 2


def evaluate(spec: Spec, key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig) -> dict[str, Array]:
    """The metrics of `recorded.evaluate`, and of ``num_draws`` draws at each of the bimodal neighbourhoods, ``data.context``:

    ``bimodal_coverage``: % where both modes are covered; ``bimodal_off``: % of draws that lead to neither.
    """
    key, key_draws = jax.random.split(key)
    obs, points = data.context
    draws = jnp.moveaxis(policy.sample(key_draws, obs, config.num_draws), 0, 1)  # [Q, N, Da]
    leads = leads_to(jnp.broadcast_to(obs[:, None], (*draws.shape[:2], obs.shape[-1])), draws)
    weights, shares = modality.shares_of_draws(points, leads)
    covered = jnp.all(shares >= 0.5 * weights, axis=-1) & modality.two_gaussians(leads).bimodal
    return recorded.evaluate(spec, key, policy, data, config) | {
        "bimodal_coverage": 100.0 * jnp.mean(covered),
        "bimodal_off": 100.0 * (1.0 - jnp.mean(jnp.sum(shares, axis=-1))),
    }


def simulate(key: jax.Array, act: Callable, config: EvaluationConfig, *, spec: Spec) -> dict[str, float]:
    """Metrics of ``num_samples`` episodes, whose starts are the same for every policy; of its chunks ``execute`` steps are done.

    ``score``: see above, in %; ``success``: % of episodes that reach all of it; ``length``: mean number of actions.
    """
    seeds = range(FIRST_SEED, FIRST_SEED + config.num_samples)
    episodes = gymnasium.rollouts(key, act, spec, ENVIRONMENT, seeds, config.execute, config.ensemble)
    return {
        "score": 100.0 * np.mean(episodes.best),
        "success": 100.0 * np.mean(episodes.success),
        "length": np.mean(episodes.length),
    }


def require_simulation(config: EvaluationConfig, *, chunk: int) -> None:
    """Raise `InputError` unless episodes can be run so."""
    chunks.require_execution(config.execute, config.ensemble, chunk, "evaluation.")
    gymnasium.require_environment(ENVIRONMENT)


def make(chunk: int) -> Task:
    """The task with chunks of H."""
    spec = Spec((0.0,) * _STATE_DIM * HISTORY, _STATE_HIGH * HISTORY, (0.0,) * 2 * chunk, _ACTION_HIGH * chunk)
    return Task(
        spec=spec,
        num_demonstrations=22_908,  # of 185 episodes
        evaluation=EvaluationConfig(num_inputs=500, num_draws=50, num_samples=50, execute=min(_EXECUTED, chunk)),
        evaluate=functools.partial(evaluate, spec),
        demonstrations=None,
        conditional=None,
        modes=None,
        normalize=True,
        primary="score",
        simulate=functools.partial(simulate, spec=spec),
        require=functools.partial(require_simulation, chunk=chunk),
    )


VARIANTS: dict[str, Task] = {f"pusht_{chunk}": make(chunk) for chunk in (1, 8, 16)}
