"""The training loop: minibatches from shuffled epochs, and chunks of many steps compiled as one program.

Everything a step needs is a pure function of the state, so a run that is cut and resumed anywhere repeats the same numbers.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.methods.base import Method, TrainState
from ebgan_mdn_jax.training.members import map_members
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, PyTree, require

# Folded into a member's base key for the order of its data; steps fold in their own index, which never gets this high.
_DATA_ORDER = 0xFFFFFFFF


def take_batch(data: Batch, key: PRNGKey, step: Array, size: int) -> Batch:
    """Minibatch of ``size`` rows for ``step``: shuffled epochs of ``ceil(rows / size)`` steps, the last one filled up from their start.

    Args:
      data: leaves ``[rows, D]``.
      key: decides the order; each epoch has its own.
      step: steps taken so far.
      size: rows in the batch; may exceed ``rows``.
    """
    rows = data.obs.shape[0]
    steps_per_epoch = -(-rows // size)
    order = jax.random.permutation(jax.random.fold_in(key, step // steps_per_epoch), rows)
    index = order[((step % steps_per_epoch) * size + jnp.arange(size)) % rows]
    return jax.tree.map(lambda leaf: leaf[index], data)


def run_steps(
    method: Method,
    batch_size: int,
    data: Batch,
    state: TrainState,
    hyper: PyTree,
    num_steps: Array,
    axis_name: str | None = None,
) -> tuple[TrainState, PyTree]:
    """Train one member for ``num_steps`` (traced: another count recompiles nothing) on ``data`` with leaves ``[rows, D]``.

    Returns the state and the mean of the method's Info over the steps.
    """
    key = jax.random.fold_in(state.key, _DATA_ORDER)

    def one_step(state):
        batch = collectives.local_rows(take_batch(data, key, state.step, batch_size), axis_name)
        return method.step(state, batch, hyper, axis_name)

    def body(_, carry):
        state, total = carry
        state, info = one_step(state)
        return state, jax.tree.map(jnp.add, total, info)

    info_shape = jax.eval_shape(one_step, state)[1]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), info_shape)
    state, total = jax.lax.fori_loop(0, num_steps, body, (state, zeros))
    return state, jax.tree.map(lambda leaf: leaf / num_steps, total)


def make_chunk(
    method: Method,
    batch_size: int,
    members_per_step: int = 1,
    devices: list[jax.Device] | None = None,
    parallel: str = "seeds",
) -> Callable:
    """Compile ``chunk(states, hyper, folds, data, num_steps) -> (states, mean Info)``; the states passed in are donated.

    States, hyper and folds have leading axis S, data ``[F, rows, D]``; member i trains on ``data[folds[i]]``.

    Args:
      method: the method to train.
      batch_size: rows of a minibatch.
      members_per_step: see `map_members`.
      devices: default the first one.
      parallel: "seeds" spreads the members over the devices, each training alone. "pmap" trains every member on all devices, each
        taking an equal block of every minibatch; noise and gradients are those of one device, up to the order of sums.
    """
    devices = devices or jax.devices()[:1]

    def chunk(states, hyper, folds, data, num_steps, axis_name=None):
        def member(state, hyper, fold):
            rows = jax.tree.map(lambda leaf: leaf[fold], data)
            return run_steps(method, batch_size, rows, state, hyper, num_steps, axis_name)

        return map_members(member, members_per_step)(states, hyper, folds)

    if parallel == "pmap":
        require(
            batch_size % len(devices) == 0,
            f"train.batch_size={batch_size} does not divide over {len(devices)} devices: use a multiple, or fewer devices",
        )

        def on_device(_, states, hyper, folds, data, num_steps):
            return chunk(states, hyper, folds, data, num_steps, "batch")

        # pmap wants one mapped argument: the device's index. All else is broadcast, and all devices return the same.
        mapped = jax.pmap(on_device, "batch", in_axes=(0, None, None, None, None, None), out_axes=None, devices=devices)
        return lambda *args: mapped(np.arange(len(devices)), *args)

    mesh = member_mesh(devices)
    spec = P("member")
    sharded = jax.shard_map(
        chunk, mesh=mesh, in_specs=(spec, spec, spec, P(), P()), out_specs=(spec, spec), check_vma=False
    )
    return jax.jit(sharded, donate_argnums=0)


def member_mesh(devices: list[jax.Device], axis_name: str = "member") -> Mesh:
    """Mesh of one axis, which the members (or, for pmap, the batch) are spread over."""
    return jax.make_mesh((len(devices),), (axis_name,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)


def state_sharding(devices: list[jax.Device], parallel: str = "seeds") -> NamedSharding:
    """Where `make_chunk` keeps the states between calls; states created or restored elsewhere cost one more compilation."""
    if parallel == "pmap":
        return NamedSharding(member_mesh(devices, "batch"), P())
    return NamedSharding(member_mesh(devices), P("member"))
