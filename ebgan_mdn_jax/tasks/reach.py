"""Reaching among obstacles in a closed loop, by the two-link arm and the UR5 of `envs.arm`: geometry that stands in for a robot.

The observation is joints, target and the way from tip to target; the action a chunk of H set-points of the joints, relative to where they
are when it begins. Several joint settings reach a target: the demonstrator goes to one of those that `envs.arm_planner` finds a way to,
by a random choice that prefers short ways.

An episode gives 40 rows, at even times from its start to H / 2 steps after its end; then comes the next one. A policy draws a chunk by how
it acts, executes half of it, and draws the next one where it is then, until 40 steps are done, or a few more to end a chunk.
"""

import functools

import jax
import jax.numpy as jnp

from ebgan_mdn_jax.envs import arm as env
from ebgan_mdn_jax.envs import arm_planner, chunks
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig, Task, heldout_nll
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, Spec, require

CHUNK = 8
ROWS = 40  # of an episode
NUM_EPISODES = 1_000


def demonstrations(key: PRNGKey, num: int, scene: env.Scene) -> Batch:
    """The first ``num`` rows of as many episodes as it takes, one episode after another."""
    key_problem, key_choice = jax.random.split(key)
    starts, targets, ways = arm_planner.problems(key_problem, scene, -(-num // ROWS))
    choice = arm_planner.choose(key_choice, ways)
    corners = ways.corners[jnp.arange(len(starts)), choice]
    length = ways.length[jnp.arange(len(starts)), choice]
    times = jnp.linspace(
        jnp.zeros_like(length), length + scene.speed * CHUNK / 2, ROWS, axis=1
    )  # [E, rows], in radians
    now, *ahead = (arm_planner.along(corners, times + scene.speed * i) for i in range(CHUNK + 1))
    target = jnp.broadcast_to(targets[:, None], (len(starts), ROWS, targets.shape[-1]))
    batch = Batch(env.observe(scene, now, target), jnp.stack(ahead, axis=2) - now[:, :, None])
    return jax.tree.map(lambda rows: rows.reshape(len(starts) * ROWS, -1)[:num], batch)


def rollouts(
    key: PRNGKey, policy: Conditional, scene: env.Scene, start: env.State, execute: int
) -> tuple[env.State, Array]:
    """Final states of episodes ``[R]`` and the share ``[]`` of set-points beyond the limits."""

    def advance(state, set_point):
        return env.step(scene, state, set_point), jnp.mean(env.beyond_limits(scene, set_point))

    def plan(state, key):
        chunk = policy.act(key, env.observe(scene, state.joints, state.target))
        chunk = state.joints[:, None] + chunk.reshape(len(chunk), CHUNK, scene.num_joints)
        return jax.lax.scan(advance, state, jnp.moveaxis(chunk[:, :execute], 1, 0))

    final, beyond = jax.lax.scan(plan, start, jax.random.split(key, -(-env.NUM_STEPS // execute)))
    return final, jnp.mean(beyond)


def evaluate(
    key: PRNGKey, policy: Conditional, data: Data, config: EvaluationConfig, *, scene: env.Scene
) -> dict[str, Array]:
    """Metrics of ``num_inputs`` episodes, or of all there are, with the starts and targets of held-out demonstrations.

    ``success``: % in which the tip is within tolerance of the target at the end and nothing was touched, ``collision``: % in which
    something was; ``tip_error``: mean distance at the end, in the arm's unit of length; ``limits``: % of set-points beyond a joint's
    limits. Of the successful ones, NaN if there are none: ``path_ratio``, mean length of their way over that of the shortest that the
    planner finds at the start, both in joint space, and ``clearance``, mean of their least distance to an obstacle. ``heldout_nll`` in
    nats per row.
    """
    joints, target = env.parts(scene, data.heldout.obs[::ROWS][: config.num_inputs])
    shortest = jnp.min(arm_planner.plan_all(scene, joints, target).length, axis=-1)
    start = env.reset(scene, joints, target)
    final, beyond = rollouts(key, policy, scene, start, config.execute or CHUNK)
    success, error = env.success(scene, final), env.tip_error(scene, final)
    succeeded = lambda values: jnp.sum(jnp.where(success, values, 0.0)) / jnp.sum(success)  # noqa: E731
    return {
        "success": 100.0 * jnp.mean(success),
        "collision": 100.0 * jnp.mean(final.collided),
        "limits": 100.0 * beyond,
        "tip_error": jnp.mean(error),
        "path_ratio": succeeded(final.length / shortest),
        "clearance": succeeded(final.clearance),
    } | heldout_nll(policy, data)


def require_rollouts(config: EvaluationConfig) -> None:
    """Raise `InputError` unless episodes can be run so."""
    require(not config.ensemble, "evaluation.ensemble=True: an arm executes its chunks; set evaluation.execute instead")
    require(
        config.disturbance == 0,
        f"evaluation.disturbance={config.disturbance}: an arm goes where it is told; leave it out",
    )
    chunks.require_execution(config.execute, config.ensemble, CHUNK, "evaluation.")


def planner(scene: env.Scene) -> Conditional:
    """What knows the obstacles: at every decision the shortest way it finds, along which it goes; where it finds none it stays."""

    def act(key, obs):
        del key
        joints, target = env.parts(scene, obs)
        ways = arm_planner.plan_all(scene, joints, target)
        best = jnp.argmin(ways.length, axis=-1)
        corners = ways.corners[jnp.arange(len(obs)), best]
        distance = jnp.broadcast_to(scene.speed * (1.0 + jnp.arange(CHUNK)), (len(obs), CHUNK))
        ahead = arm_planner.along(corners, distance)
        found = jnp.isfinite(ways.length[jnp.arange(len(obs)), best])
        return jnp.where(found[:, None], (ahead - joints[:, None]).reshape(len(obs), -1), 0.0)

    def sample(key, obs, num_samples):
        action = act(key, obs)
        return jnp.broadcast_to(action, (num_samples, *action.shape))

    return Conditional(sample, None, act=act)


def make(name: env.Name) -> Task:
    """The task of a scene."""
    scene = env.make_scene(name)
    tip_low, tip_high = scene.box
    across = tuple(high - low for low, high in zip(tip_low, tip_high, strict=True))
    most = tuple(scene.speed * (i + 1) for i in range(CHUNK) for _ in range(scene.num_joints))
    return Task(
        spec=Spec(
            (*scene.low, *tip_low, *(-x for x in across)),
            (*scene.high, *tip_high, *across),
            tuple(-x for x in most),
            most,
        ),
        num_demonstrations=NUM_EPISODES * ROWS,
        evaluation=EvaluationConfig(num_inputs=100, execute=CHUNK // 2),
        evaluate=functools.partial(evaluate, scene=scene),
        demonstrations=functools.partial(demonstrations, scene=scene),
        conditional=None,
        modes=None,
        normalize=True,
        num_heldout=100 * ROWS,
        primary="success",
        require=require_rollouts,
        baseline=("planner", planner(scene)),
    )


VARIANTS: dict[str, Task] = {f"reach_{name}": make(name) for name in ("two_link", "ur5")}
