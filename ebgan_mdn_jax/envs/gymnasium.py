"""Policies in simulators of Gymnasium (Towers et al. 2024, arXiv 2407.17032): closed loop, episodes side by side.

A policy sees the last h observations and gives the next H actions, flat and oldest first, as `data.episodes` cuts demonstrations; before
the start the first observation stands in. h and H follow from the dimensions of policy and environment. How chunks are executed:
`envs.chunks`. Observations that are dictionaries, images or numbers of a kind are flattened as `gymnasium.spaces.flatten` does, actions
are clipped to the environment's box.

The policy is asked for all episodes at once; each has an environment of its own, which is stepped until its episode is over. Gymnasium is
imported on first use: it comes with the extras ``pusht`` and ``adroit``, and with every package of environments.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.envs import chunks
from ebgan_mdn_jax.types import InputError, Spec, require

_SUCCESS = ("is_success", "success")  # where environments tell it in their info
_FRAME_SIZE = 240  # pixels that frames have at most, about
_EXTRA = (
    "pip install 'ebgan_mdn_jax[pusht]' for Push-T, [adroit] for Adroit, for others the package that they come from"
)


class Episodes(NamedTuple):
    """What happened, a number for each episode ``[E]``."""

    total: np.ndarray  # sum of rewards
    best: np.ndarray  # the largest reward
    length: np.ndarray  # steps
    success: np.ndarray | None  # whether it was reached at any step; None if the environment does not tell
    frames: tuple[np.ndarray, ...] = ()  # of the episodes filmed, the start first: uint8 [length + 1, height, width, 3]


def rollouts(
    key: jax.Array,
    act: Callable[[jax.Array, np.ndarray], np.ndarray],
    spec: Spec,
    name: str,
    seeds: Sequence[int],
    execute: int = 0,
    ensemble: bool = False,
    max_steps: int | None = None,
    film: int = 0,
) -> Episodes:
    """Run an episode from each of ``seeds`` (E).

    Args:
      key: of the policy's draws; those of a step depend on the step alone.
      act: the policy, ``(key, obs [E, Do]) -> [E, Da]`` in the environment's units; of a `Policy`, its ``act``.
      spec: its dimensions; of a `Policy`, ``trained.spec``.
      name: of the environment, such as "gym_pusht/PushT-v0"; what is before the slash is imported if it is not known otherwise.
      seeds: one for each environment's ``reset``.
      execute: steps of a chunk that are done before the next; 0: all.
      ensemble: plan at every step and do the average of the last chunks.
      max_steps: after which an episode is cut off; default: the environment's own limit.
      film: episodes whose frames are kept, the first ones.

    Raises:
      InputError: if there is no such environment, or policy and environment do not fit together.
    """
    with contextlib.ExitStack() as stack:
        envs = [_make(name, index < film) for index in range(len(seeds))]
        for env in envs:
            stack.callback(env.close)
        history, chunk = _fit(spec, envs[0], name)
        chunks.require_execution(execute, ensemble, chunk, "--")
        max_steps = max_steps or envs[0].spec.max_episode_steps
        require(max_steps is not None, f"--env={name}: its episodes have no end of their own; give --max_steps")
        return _run(
            key, act, envs, seeds, (history, chunk), 1 if ensemble else execute or chunk, ensemble, max_steps, film
        )


def require_environment(name: str) -> None:
    """Raise `InputError` unless the environment of that name can be made."""
    _make(name, False).close()


def _run(key, act, envs, seeds, shape, execute, ensemble, max_steps, film) -> Episodes:
    history, chunk = shape
    box = envs[0].action_space
    num = len(envs)
    obs = np.stack([env.reset(seed=int(seed))[0] for env, seed in zip(envs, seeds, strict=True)])
    past = np.repeat(obs[:, None], history, axis=1)
    plans = np.zeros((chunk, num, chunk, box.low.size), np.float32)  # the newest first
    frames = [[_frame(env)] for env in envs[:film]]
    running, success, told = np.ones(num, bool), np.zeros(num, bool), False
    total, best, length = np.zeros(num), np.full(num, -np.inf), np.zeros(num, int)
    for step in range(max_steps):
        if step % execute == 0:
            planned = np.asarray(act(jax.random.fold_in(key, step), past.reshape(num, -1).astype(np.float32)))
            plans = np.concatenate([planned.reshape(1, *plans.shape[1:]), plans[:-1]])
        action = np.asarray(chunks.average(jnp.asarray(plans), step)) if ensemble else plans[0, :, step % execute]
        action = np.clip(np.nan_to_num(action).reshape(num, *box.shape), box.low, box.high).astype(box.dtype)
        for index in np.flatnonzero(running):
            obs[index], reward, terminated, truncated, info = envs[index].step(action[index])
            found = [bool(info[key]) for key in _SUCCESS if key in info]
            told, success[index] = told or bool(found), success[index] or any(found)
            total[index] += reward
            best[index] = max(best[index], reward)
            length[index] += 1
            running[index] = not (terminated or truncated)
            if index < film:
                frames[index].append(_frame(envs[index]))
        past = np.concatenate([past[:, 1:], obs[:, None]], axis=1)
        if not running.any():
            break
    return Episodes(total, best, length, success if told else None, tuple(map(np.stack, frames)))


def _make(name: str, filmed: bool) -> Any:
    """An environment with flat observations."""
    require(
        importlib.util.find_spec("gymnasium") is not None,
        f"--env={name} needs gymnasium, which is not installed: {_EXTRA}",
    )
    import gymnasium

    package, slash, _ = name.partition("/")
    if slash and ":" not in name and package.isidentifier() and importlib.util.find_spec(package) is not None:
        name = f"{package}:{name}"
    try:
        settings = {"render_mode": "rgb_array"} if filmed else {}
        env = gymnasium.make(name, disable_env_checker=True, **settings)
        return gymnasium.wrappers.FlattenObservation(env)
    except (gymnasium.error.Error, ImportError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"--env={name}: cannot be made ({reason}); {_EXTRA}") from error


def _fit(spec: Spec, env: Any, name: str) -> tuple[int, int]:
    """Observations that the policy sees, h, and actions that it gives, H."""
    import gymnasium

    space = env.action_space
    require(
        isinstance(space, gymnasium.spaces.Box) and np.prod(space.shape) > 0,
        f"--env={name}: its actions are {space}, expected a Box: policies give real numbers",
    )
    sizes = []
    for what, ours, theirs in (
        ("observations", spec.obs_dim, int(np.prod(env.observation_space.shape))),
        ("actions", spec.action_dim, int(np.prod(space.shape))),
    ):
        require(
            theirs > 0 and ours % theirs == 0,
            f"--env={name}: its {what} have {theirs} dimensions, those of the policy {ours}, no multiple of that: it was trained on others",
        )
        sizes.append(ours // theirs)
    return tuple(sizes)


def _frame(env: Any) -> np.ndarray:
    try:
        frame = env.render()
    except Exception as error:  # simulators raise many kinds where there is no display
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"--env={env.spec.id}: cannot be drawn here ({reason}); give --film=0, or for MuJoCo set MUJOCO_GL=egl or osmesa"
        ) from error
    require(
        isinstance(frame, np.ndarray) and frame.ndim == 3,
        f"--env={env.spec.id}: it draws no frames; give --film=0",
    )
    step = -(-max(frame.shape[:2]) // _FRAME_SIZE)
    return frame[::step, ::step, :3]
