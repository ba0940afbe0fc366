"""The particle of `envs.particle` in 1 to 32 dimensions: first one goal, then the other (Florence et al. 2021, arXiv 2109.00137, C.5).

The observation is two control steps, the earlier one first, each position, first goal, second goal and velocity, ``Do = 8 N``; at the
start of an episode both are the first. The action is the oracle's set-point, which jumps from one goal to the other: a function of the
past, not of the observation, so a policy has to read from position and velocity whether the first goal was visited. There is one right
action at a time: the task asks for discontinuities, not for modes.

2,000 episodes of 51 rows, of which the last one ends the episode, as in IBC's data.

``particle_2d_mixed`` has demonstrators of mixed quality: one of carelessness c, uniform from 0 to `MOST_CARELESS`, does at every step, with
chance c, something random; 15 % of the episodes succeed. ``particle_2d_mixed_best`` is the half of the same 2,000 episodes with the highest
return, the sum over steps of minus the share of the way that is left, held-out ones included; 29 % of these succeed.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs import particle as env
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec

Quality = Literal["expert", "mixed", "mixed_best"]
NUM_EPISODES = 2_000
MOST_CARELESS = 0.4
ROWS = env.NUM_STEPS + 1
DIMENSIONS = (1, 2, 3, 4, 5, 6, 8, 16, 32)
_RESET_SEED = 11  # of the episodes that policies are judged in
# Between goals in the unit cube the particle overshoots a little, and never moves this fast.
_POSITION, _VELOCITY = (-0.05, 1.05), 1.5


def episodes(key: PRNGKey, num: int, num_dimensions: int, most_careless: float = 0.0) -> tuple[Batch, Array]:
    """Observations ``[num, 51, 8 N]`` and actions ``[num, 51, N]`` of the oracle, and what each earned, ``[num, 51]``.

    With ``most_careless`` they are of demonstrators of mixed quality, see above.
    """
    key_care, key_slips = jax.random.split(jax.random.fold_in(key, 1))
    care = most_careless * jax.random.uniform(key_care, (num,))

    def advance(carry, key):
        visited, state = carry
        visited, action = env.oracle(visited, state)
        key_slip, key_random = jax.random.split(key)
        slips = jax.random.uniform(key_slip, (num,)) < care
        action = jnp.where(slips[:, None], jax.random.uniform(key_random, action.shape), action)
        return (visited, env.step(state, action)), (env.observe(state), action, -env.share_left(visited, state, first))

    start = jnp.zeros(num, bool), env.reset(key, num_dimensions, (num,))
    first = jnp.linalg.norm(start[1].position - start[1].first_goal, axis=-1)
    _, (now, action, reward) = jax.lax.scan(advance, start, jax.random.split(key_slips, ROWS))
    before = jnp.concatenate([now[:1], now[:-1]])
    obs, action, reward = (jnp.moveaxis(x, 0, 1) for x in (jnp.concatenate([before, now], axis=-1), action, reward))
    return Batch(obs, action), reward


def demonstrations(key: PRNGKey, num: int, num_dimensions: int, quality: Quality = "expert") -> Batch:
    """The first ``num`` rows of as many episodes as it takes, one episode after another."""
    count = -(-num // ROWS)
    if quality == "expert":
        batch, _ = episodes(key, count, num_dimensions)
    else:
        drawn = 2 * count if quality == "mixed_best" else count
        batch, reward = episodes(key, drawn, num_dimensions, MOST_CARELESS)
        best = jnp.sort(jnp.argsort(-jnp.sum(reward, axis=1))[:count])
        batch = jax.tree.map(lambda x: x[best], batch)
    return jax.tree.map(lambda rows: rows.reshape(-1, rows.shape[-1])[:num], batch)


def rollouts(key: PRNGKey, policy: Conditional, start: env.State) -> env.State:
    """The final states of episodes ``[B]`` from ``start``, where the policy acts; set-points outside the unit cube are clipped to it."""

    def advance(carry, key):
        state, before = carry
        now = env.observe(state)
        action = policy.act(key, jnp.concatenate([before, now], axis=-1))
        return (env.step(state, jnp.clip(action, 0.0, 1.0)), now), None

    (final, _), _ = jax.lax.scan(advance, (start, env.observe(start)), jax.random.split(key, env.NUM_STEPS))
    return final


def starts(obs: Array, num_dimensions: int, num: int = 10) -> env.State:
    """Where the first ``num`` of the demonstrated episodes in ``obs [rows, 8 N]`` began, or as many as there are."""
    first_rows = obs[::ROWS][:num]
    return env.from_arrays(*jnp.split(first_rows[:, : 3 * num_dimensions], 3, axis=-1))


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, num_dimensions: int
) -> dict[str, Array]:
    """Metrics of ``num_inputs`` episodes, whose starts and goals are the same for every policy, which acts as it would be deployed.

    ``success``: % of them; ``first_goal``: % that visit the first goal; ``final_distance``: mean distance to the second one at the end, in
    edges of the unit cube. ``train_success``: % of the first 10 demonstrated episodes that the policy can do itself, from the same start.
    ``heldout_nll`` in nats per row.
    """
    fresh = env.reset(jax.random.key(_RESET_SEED), num_dimensions, (config.num_inputs,))
    again = starts(data.train.obs, num_dimensions)
    final = rollouts(key, policy, jax.tree.map(lambda *parts: jnp.concatenate(parts), fresh, again))
    repeated = final.success[config.num_inputs :]
    final = jax.tree.map(lambda x: x[: config.num_inputs], final)
    return {
        "success": 100.0 * jnp.mean(final.success),
        "first_goal": 100.0 * jnp.mean(final.nearest_first < env.GOAL_DISTANCE),
        "final_distance": jnp.mean(jnp.linalg.norm(final.position - final.second_goal, axis=-1)),
        "train_success": 100.0 * jnp.mean(repeated),
    } | heldout_nll(policy, data)


def make(num_dimensions: int, quality: Quality = "expert") -> Task:
    """The task in ``num_dimensions`` dimensions, with demonstrators of this quality."""
    n = num_dimensions
    low = (_POSITION[0],) * n + (0.0,) * 2 * n + (-_VELOCITY,) * n
    high = (_POSITION[1],) * n + (1.0,) * 2 * n + (_VELOCITY,) * n
    return Task(
        spec=Spec(low * 2, high * 2, (0.0,) * n, (1.0,) * n),
        num_demonstrations=NUM_EPISODES * ROWS // (2 if quality == "mixed_best" else 1),
        evaluation=EvaluationConfig(num_inputs=100),
        evaluate=functools.partial(evaluate, num_dimensions=n),
        demonstrations=functools.partial(demonstrations, num_dimensions=n, quality=quality),
        conditional=None,
        modes=None,
        normalize=True,
        primary="success",
    )


VARIANTS: dict[str, Task] = {f"particle_{n}d": make(n) for n in DIMENSIONS} | {
    f"particle_2d_{quality}": make(2, quality) for quality in ("mixed", "mixed_best")
}
