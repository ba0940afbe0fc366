"""Pushing blocks to targets in simulation, `envs.pushing` (Florence et al. 2021, arXiv 2109.00137, table 3).

``push_single``: one block to one target. ``push_multi``: to one target, then to another; where the oracle goes next jumps as the block
reaches the first. ``push_multimodal``: two blocks to two targets, of which the oracle draws the order and which goes where; not in that
paper but in its code, and the benchmark of later ones. The observation is two control steps, the earlier one first; at the start of an
episode both are the first. The action is a move of the rod's set-point, by the oracle at most 3.5 cm in 0.1 s.

Demonstrations are rows of the oracle's successful episodes, each with the row that ends it, as in IBC's data. As there, they are recorded
at a tolerance of 1 cm for the single target, which policies are judged at with 2 cm. The extra ``pushing`` is needed.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs import pushing as env
from ebgan_mdn_jax.envs import pushing_oracle as oracle
from ebgan_mdn_jax.envs.pushing_bullet import require_pybullet
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

_RESET_SEED = 12  # of the episodes that policies are judged in
_TOGETHER = 64  # episodes that are recorded side by side
_PLACE = (0.25, -0.45), (0.55, 0.45)  # where blocks, targets and the rod are in nearly all demonstrations
_ACTION = 0.033  # the range of nearly all demonstrations, 6 cm, widened by 5 % on each side


def episodes(keys: PRNGKey, scene: env.Scene) -> tuple[Batch, Array]:
    """Observations ``[E, rows, 2 Do]`` and actions ``[E, rows, 2]`` of the oracle, one episode for each of ``keys [E]``.

    Also which rows ``[E, rows]`` are demonstrations: up to the one that ends the episode, if that succeeds. There are as many rows as an
    episode has at most, and one.
    """
    keys_reset, keys_order = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    state = jax.vmap(lambda key: env.reset(key, scene))(keys_reset)
    memory = jax.vmap(lambda key, one: oracle.begin(key, scene, one))(keys_order, state)

    def advance(carry, _):
        memory, state = carry
        memory, action = oracle.act(scene, memory, state)
        return (memory, env.step(scene, state, action)), (env.observe(state), action)

    (_, final), (now, action) = jax.lax.scan(advance, (memory, state), None, scene.num_steps + 1)
    obs = jnp.concatenate([jnp.concatenate([now[:1], now[:-1]]), now], axis=-1)
    rows = jnp.arange(scene.num_steps + 1)[None]
    kept = final.success[:, None] & (rows <= final.num_steps[:, None])
    return Batch(jnp.moveaxis(obs, 0, 1), jnp.moveaxis(action, 0, 1)), kept


def demonstrations(key: PRNGKey, num: int, scene: env.Scene) -> Batch:
    """The first ``num`` rows of as many successful episodes as it takes; row i is the same whatever ``num``.

    An episode's rows come last one first, so that even the first ones, by which an edited task is told, depend on a block that was pushed.

    Raises:
      InputError: without the extra "pushing".
    """
    require_pybullet()
    together = max(1, min(_TOGETHER, num // 50))

    def record(carry):
        index, filled, batch = carry
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(index + jnp.arange(together))
        more, kept = jax.tree.map(lambda rows: rows[:, ::-1], episodes(keys, scene))
        kept = kept.reshape(-1)
        place = jnp.where(kept, filled + jnp.cumsum(kept) - 1, num)
        batch = jax.tree.map(
            lambda old, new: old.at[place].set(new.reshape(-1, new.shape[-1]), mode="drop"), batch, more
        )
        return index + together, filled + jnp.sum(kept), batch

    empty = Batch(jnp.zeros((num, 2 * scene.obs_dim)), jnp.zeros((num, 2)))
    return jax.lax.while_loop(lambda carry: carry[1] < num, record, (0, 0, empty))[2]


def rollouts(key: PRNGKey, policy: Conditional, scene: env.Scene, start: env.State) -> env.State:
    """The final states of episodes ``[B]`` from ``start``, where the policy acts."""

    def advance(carry, key):
        state, before = carry
        now = env.observe(state)
        action = policy.act(key, jnp.concatenate([before, now], axis=-1))
        return (env.step(scene, state, action), now), None

    keys = jax.random.split(key, scene.num_steps)
    (final, _), _ = jax.lax.scan(advance, (start, env.observe(start)), keys)
    return final


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, scene: env.Scene
) -> dict[str, Array]:
    """Metrics of ``num_inputs`` episodes, whose starts are the same for every policy, which acts as it would be deployed.

    ``success``: % of them, at the scene's tolerance; ``goal_distance``: mean distance in metres at the end, of a block from its (last)
    target, with two blocks of a target from the nearest one; ``length``: mean number of actions, failures counted in full. With two
    targets ``targets_visited``: % of them that a block was at. ``heldout_nll`` in nats per row.
    """
    start = env.reset(jax.random.key(_RESET_SEED), scene, (config.num_inputs,))
    final = rollouts(key, policy, scene, start)
    nearest_block = jnp.min(final.distance, axis=-2)  # [B, G]
    visited = jnp.any(final.nearest < scene.tolerance, axis=-2)
    metrics = {
        "success": 100.0 * jnp.mean(final.success),
        "goal_distance": jnp.mean(nearest_block if scene.num_blocks == 2 else nearest_block[:, -1]),
        "length": jnp.mean(final.num_steps.astype(jnp.float32)),
    }
    if scene.num_targets == 2:
        metrics["targets_visited"] = 100.0 * jnp.mean(visited)
    return metrics | heldout_nll(policy, data)


def make(scene: env.Scene, num_demonstrations: int, recorded_at: float) -> Task:
    """The task in ``scene``, with rows recorded at the tolerance ``recorded_at``."""
    obs_low, obs_high = (
        (yaw, *place) * scene.num_blocks + place * 2 + (yaw, *place) * scene.num_targets
        for yaw, place in ((-math.pi, _PLACE[0]), (math.pi, _PLACE[1]))
    )
    recorded = dataclasses.replace(scene, tolerance=recorded_at)
    return Task(
        spec=Spec(obs_low * 2, obs_high * 2, (-_ACTION,) * 2, (_ACTION,) * 2),
        num_demonstrations=num_demonstrations,
        evaluation=EvaluationConfig(num_inputs=100),
        evaluate=functools.partial(evaluate, scene=scene),
        demonstrations=functools.partial(demonstrations, scene=recorded),
        conditional=None,
        modes=None,
        normalize=True,
        primary="success",
    )


# About 2,000 episodes, 2,000 and 1,000.
VARIANTS: dict[str, Task] = {
    "push_single": make(env.SINGLE, 84_000, recorded_at=0.01),
    "push_multi": make(env.MULTI, 126_000, recorded_at=0.04),
    "push_multimodal": make(env.MULTIMODAL, 92_000, recorded_at=0.04),
}
