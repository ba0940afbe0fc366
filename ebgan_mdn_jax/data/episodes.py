r"""Your own demonstrations: episodes of any lengths become rows of observation history and action chunk.

Row t of an episode with observations :math:`o_1, ..., o_T` and actions :math:`a_1, ..., a_T`, at history h and chunk H, is

.. math:: (o_{t-h+1}, \dots, o_t) \in \mathbb R^{h D_o}, \qquad (a_t, \dots, a_{t+H-1}) \in \mathbb R^{H D_a},

oldest first. Before the start the first observation stands in and after the end the last action, as in Diffusion Policy (Chi et al. 2023,
arXiv 2303.04137), so that every step gives a row and no row spans two episodes.

`data.formats` reads them from files.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from ebgan_mdn_jax.data.load import Dataset
from ebgan_mdn_jax.data.windows import Episode, windows
from ebgan_mdn_jax.normalization import Normalization, unit_box
from ebgan_mdn_jax.types import Batch, InputError, Spec, require

# What observations are divided by: half of their range, their standard deviation, or its square root.
ObsUnits = Literal["range", "std", "sqrt_std"]

# A dimension that varies by less than this, relative to its values, or at all, is constant: that is rounding.
_LEAST_EXTENT, _LEAST_ABSOLUTE = 1e-6, 1e-30


def from_episodes(
    episodes: Sequence[tuple[np.ndarray, ...]],
    history: int = 1,
    chunk: int = 1,
    heldout_share: float = 0.1,
    name: str = "episodes",
    top_return_share: float = 1.0,
    obs_units: ObsUnits = "range",
    action_margin: float = 0.0,
) -> Dataset:
    """Rows to train on and rows of other episodes to judge by, one fold.

    The boxes of `Dataset.spec` are the range of the training episodes, per dimension and the same for every step of history and chunk;
    the normalization maps them to ``[-1, 1]``, and only shifts a constant dimension. Other ``obs_units`` shift observations to mean 0.

    Args:
      episodes: observations ``[T, Do]`` and actions ``[T, Da]`` in your units and, where known, rewards ``[T]``; T may differ.
      history: observations that the policy sees, h.
      chunk: actions that it gives at once, H.
      heldout_share: of the episodes, evenly spaced; at least one is held out and one is not.
      top_return_share: the share of all episodes, those of highest return, that are taken at all, held-out ones included.
      name: how messages call the episodes.
      obs_units: "range" for ``[-1, 1]``, "std" for unit variance; "sqrt_std" divides by the root of the standard deviation, as IBC's code
        does for energies on D4RL (Florence et al. 2021, arXiv 2109.00137).
      action_margin: by what share of the range the box of actions is wider on each side (IBC: 0.05), where they are not constant.

    Raises:
      InputError: if shapes do not fit together, an episode is empty, a number is not finite, there are fewer than 2 episodes, or returns
        are asked for and an episode has none.
    """
    for what, value in (("history", history), ("chunk", chunk)):
        require(value >= 1, f"data.{what}={value}: needs at least 1 step")
    require(0 < heldout_share < 1, f"data.heldout_share={heldout_share}: needs a number between 0 and 1")
    require(0 < top_return_share <= 1, f"data.top_return_share={top_return_share}: needs a number above 0, at most 1")
    options = get_args(ObsUnits)
    require(obs_units in options, f"data.obs_units={obs_units}: expected one of {', '.join(options)}")
    require(
        0 <= action_margin < np.inf, f"data.action_margin={action_margin}: needs 0 or a positive share of the range"
    )
    checked = [_check_episode(i, Episode(*episode), name) for i, episode in enumerate(episodes)]
    total = len(checked)
    require(total >= 2, f"{name}: has {total} episode(s), expected at least 2: one to train on and one to judge by")
    for i, episode in enumerate(checked):
        for part in Batch._fields:
            found, first = (getattr(e, part).shape[1] for e in (episode, checked[0]))
            require(found == first, f"{name}: episode {i} has {found} {part} dimensions, episode 0 has {first}")
    if top_return_share < 1:
        checked = best_by_return(checked, top_return_share, name)
        left = len(checked)
        require(
            left >= 2, f"data.top_return_share={top_return_share}: leaves 1 of {total} episodes, expected 2 or more"
        )
        total = left
    count = min(max(1, round(heldout_share * total)), total - 1)
    held = set(((np.arange(count) + 0.5) * total / count).astype(int).tolist())
    train, heldout = ([e for i, e in enumerate(checked) if (i in held) == out] for out in (False, True))
    steps = _concatenate([Batch(episode.obs, episode.action) for episode in train])
    spec = Spec(*_box(steps.obs, history), *_box(steps.action, chunk, action_margin))
    units = unit_box(spec)
    if obs_units != "range":
        units = _standardized(units, spec, steps.obs, obs_units)
    rows = [_concatenate([windows(episode, history, chunk) for episode in part]) for part in (train, heldout)]
    train, heldout = (Batch(*(x[None] for x in part)) for part in rows)
    return Dataset(train, heldout, np.ones(heldout.obs.shape[:2], bool), units, spec)


def best_by_return(episodes: Sequence[Episode], share: float, name: str = "episodes") -> list[Episode]:
    """The ``share`` of ``episodes`` with the highest sum of rewards, rounded up, in the order they came; of equals, the earlier.

    As IBC trains on D4RL (Florence et al. 2021, arXiv 2109.00137): on the half with the highest returns.

    Raises:
      InputError: if an episode has no rewards, not one of each step, or one that is not finite, or if all returns are equal.
    """
    returns = np.asarray([_return(i, episode, name) for i, episode in enumerate(episodes)])
    require(
        np.ptp(returns) > 0,
        f"{name}: all {len(returns)} returns are {returns[0]:g}, so none is better; take all: data.top_return_share=1",
    )
    best = np.argsort(-returns, kind="stable")[: math.ceil(share * len(episodes) - 1e-9)]
    return [episodes[i] for i in sorted(best)]


def _return(index: int, episode: Episode, name: str) -> float:
    require(
        episode.reward is not None,
        f"{name}: episode {index} has no rewards to choose by (reward [steps] in .npz, rewards in HDF5, "
        "reward of steps in RLDS and TFRecord); record them, or take all: data.top_return_share=1",
    )
    reward = np.asarray(episode.reward)
    reward = reward[:, 0] if reward.ndim == 2 and reward.shape[1] == 1 else reward
    where = f"{name}: reward of episode {index}"
    require(
        reward.shape == episode.obs.shape[:1],
        f"{where} has shape {np.shape(episode.reward)}, expected one number per step, [{len(episode.obs)}]",
    )
    require(reward.dtype.kind in "fiub", f"{where} is of {reward.dtype}, expected real numbers")
    total = float(np.sum(reward, dtype=np.float64))
    require(np.isfinite(total), f"{where} sums to {total}, expected finite numbers")
    return total


def _check_episode(index: int, episode: Episode, name: str) -> Episode:
    """The episode in float32, its rewards as they are: they matter only to `best_by_return`."""
    checked = []
    for part, values in zip(Batch._fields, episode, strict=False):
        values = np.asarray(values)
        where = f"{name}: {part} of episode {index}"
        require(values.dtype.kind in "fiub", f"{where} is of {values.dtype}, expected real numbers")
        require(values.ndim == 2, f"{where} has shape {values.shape}, expected [steps, {part} dimensions]")
        require(values.shape[0] > 0, f"{where} is empty: expected at least 1 step")
        require(values.shape[1] > 0, f"{where} has no dimensions")
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            step, column = bad[0]
            found = values[step, column]
            raise InputError(
                f"{where}, step {step}, dimension {column} is {found}, expected finite numbers; mend the episode"
            )
        checked.append(values)
    lengths = tuple(map(len, checked))
    require(lengths[0] == lengths[1], f"{name}: episode {index} has {lengths[0]} observations and {lengths[1]} actions")
    return Episode(*checked, episode.reward)


def _box(values: np.ndarray, repeats: int, margin: float = 0.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    low, high = values.min(axis=0).astype(float), values.max(axis=0).astype(float)
    least = np.maximum(_LEAST_EXTENT * np.maximum(abs(low), abs(high)), _LEAST_ABSOLUTE)
    extent, middle = high - low, (low + high) / 2
    low, high = (np.where(extent > least, side, middle) for side in (low - margin * extent, high + margin * extent))
    return tuple(low.tolist()) * repeats, tuple(high.tolist()) * repeats


def _standardized(units: Normalization, spec: Spec, obs: np.ndarray, how: ObsUnits) -> Normalization:
    """``units`` with observations at mean 0, and of them those that are not constant divided as ``how`` says."""
    repeats = spec.obs_dim // obs.shape[1]
    mean, std = np.mean(obs, axis=0, dtype=float), np.std(obs, axis=0, dtype=float)
    scale = np.tile(std if how == "std" else np.sqrt(std), repeats)
    scale = np.where(np.less(spec.obs_low, spec.obs_high), scale, 1.0)
    return units._replace(obs_shift=tuple(np.tile(mean, repeats).tolist()), obs_scale=tuple(scale.tolist()))


def _concatenate(batches: Sequence[Batch]) -> Batch:
    return Batch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
