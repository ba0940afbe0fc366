"""Members: the (seed, hyperparameters) pairs that train side by side in one program."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.methods.base import Method, TrainState
from ebgan_mdn_jax.types import Array, PyTree, require

# Folded into a seed's key, so that a member shares no noise with data or anything else drawn from the key of a small seed.
_MEMBER = 0x4D454D42


class MemberState(NamedTuple):
    """What a member carries through training: the method's state, and whether it is frozen.

    A member that becomes non-finite keeps the last finite state (only its counter of steps goes on), so that it can be looked at,
    and no other member notices.
    """

    train: TrainState
    failed_at: Array  # int32, steps taken when it became non-finite; -1 while it is healthy
    cause: Array  # int32, what became non-finite: an index of `causes`; -1 while it is healthy


class Members(NamedTuple):
    """S members: ``seed [S]`` int32, and the method's Hyper with float leaves ``[S]``."""

    seed: np.ndarray
    hyper: PyTree

    @property
    def size(self) -> int:
        """S."""
        return len(self.seed)


def make_members(
    method: Method, seeds: Sequence[int], grid: Mapping[str, Sequence[float]] | None = None, dtype: type = np.float32
) -> Members:
    """Every combination of ``grid`` (hyperparameter name to values; the others keep their defaults) with every seed, seeds fastest.

    Leaves are strongly typed, so new values never recompile a program.

    Args:
      method: whose hyperparameters they are.
      seeds: from 0 to 2^31 - 1.
      grid: for example ``{"learning_rate": [1e-3, 1e-4]}``.
      dtype: of the hyperparameters.

    Raises:
      InputError: without seeds, for a seed out of range, an unknown hyperparameter, or one without a list of values.
    """
    grid = dict(grid or {})
    unknown = sorted(set(grid) - set(method.hyper._fields))
    require(not unknown, f"unknown hyperparameter {', '.join(unknown)}: expected {', '.join(method.hyper._fields)}")
    require(len(seeds) > 0, "no seeds: expected at least one")
    wrong = [seed for seed in seeds if not 0 <= seed < 2**31]
    require(not wrong, f"seed {wrong[:1]}: expected 0 to 2147483647")
    for name, values in grid.items():
        require(np.ndim(values) == 1 and len(values) > 0, f"{name}={values}: expected a list of at least one value")
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    rows = [method.hyper._replace(**setting) for setting in settings for _ in seeds]
    hyper = type(method.hyper)(*(np.asarray(column, dtype) for column in zip(*rows, strict=True)))
    return Members(np.asarray(list(seeds) * len(settings), np.int32), hyper)


def init_states(method: Method, seed: Array, sharding: jax.sharding.Sharding | None = None) -> MemberState:
    """Initial states with leading axis S, born on ``sharding``; member i depends on ``seed[i]`` alone."""

    def init(seed):
        state = method.init(jax.random.fold_in(jax.random.key(seed), _MEMBER))
        return MemberState(state, jnp.asarray(-1, jnp.int32), jnp.asarray(-1, jnp.int32))

    return jax.jit(jax.vmap(init), out_shardings=sharding)(seed)


def causes(method: Method) -> tuple[str, ...]:
    """What can freeze a member, by the index kept in `MemberState`."""
    return (*method.losses, "parameters")


def resize(tree: PyTree, num_members: int, sharding: jax.sharding.Sharding | None = None) -> PyTree:
    """Cut the leading axis to ``num_members``, or fill it up with copies of the last member.

    Members must divide evenly over devices and over ``members_per_step``; copies fill the gaps, and their results are cut off. The
    result lies on ``sharding``; a tree that has the size already is returned as it is.
    """
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(tree)}
    if sizes <= {num_members}:
        return tree
    index = np.minimum(np.arange(num_members), sizes.pop() - 1)
    if sharding is None:
        return jax.tree.map(lambda leaf: leaf[index], tree)
    return _rows_on(sharding)(tree, index)


@functools.cache
def _rows_on(sharding: jax.sharding.Sharding) -> Callable:
    """One jitted function per sharding, so that the next checkpoint finds it compiled."""
    return jax.jit(lambda tree, index: jax.tree.map(lambda leaf: leaf[index], tree), out_shardings=sharding)


def map_members(function: Callable, members_per_step: int) -> Callable:
    """Map ``function`` over the leading axis S of all its arguments, ``members_per_step`` at a time.

    1 runs them one after another, which is fastest on a CPU and gives each member bitwise the result of running alone; more run
    vectorised, which is fastest on an accelerator.
    """

    def mapped(*args):
        def one(row):
            return function(*row)

        if members_per_step == 1:  # a batch size of 1 would be a vmap of size 1, which is slower than a plain map
            return jax.lax.map(one, args)
        return jax.lax.map(one, args, batch_size=members_per_step)

    return mapped
