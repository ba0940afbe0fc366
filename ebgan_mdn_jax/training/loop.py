"""The training loop: minibatches from shuffled epochs, and chunks of many steps compiled as one program.

Everything a step needs is a pure function of the state, so a run that is cut and resumed anywhere repeats the same numbers.
"""

from collections.abc import Callable

import chex
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


def epoch_order(key: PRNGKey, epoch: Array, num_rows: int) -> Array:
    """Order ``[rows]`` in which ``epoch`` visits the rows."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), num_rows)


def take_batch(data: Batch, fold: Array, order: Array, step: Array, size: int) -> Batch:
    """Minibatch of ``size`` rows for ``step`` of its epoch.

    An epoch has ``ceil(rows / size)`` steps; its last batch is filled up from the epoch's start.

    Args:
      data: leaves ``[F, rows, D]``.
      fold: which of the F splits.
      order: of the epoch, ``[rows]``.
      step: index within the epoch.
      size: rows in the batch; may exceed ``rows``.
    """
    index = order[(step * size + jnp.arange(size)) % order.shape[0]]
    return jax.tree.map(lambda leaf: leaf[fold, index], data)


def run_steps(
    method: Method,
    batch_size: int,
    data: Batch,
    state: TrainState,
    hyper: PyTree,
    fold: Array,
    first: Array,
    last: Array,
    axis_name: str | None = None,
) -> tuple[TrainState, PyTree]:
    """Train one member from step ``first`` up to ``last`` on split ``fold`` of ``data`` (leaves ``[F, rows, D]``).

    Both bounds are traced and must not be vmapped: other ones recompile nothing, and the rows are put in order once per epoch.
    Returns the state and the mean of the method's Info over the steps.
    """
    key = jax.random.fold_in(state.key, _DATA_ORDER)
    num_rows = data.obs.shape[1]
    steps_per_epoch = -(-num_rows // batch_size)

    def one_step(state, order, step):
        batch = take_batch(data, fold, order, step % steps_per_epoch, batch_size)
        return method.step(state, collectives.local_rows(batch, axis_name), hyper, axis_name)

    def one_epoch(epoch, carry):
        order = epoch_order(key, epoch, num_rows)

        def body(step, carry):
            state, total = carry
            state, info = one_step(state, order, step)
            return state, jax.tree.map(jnp.add, total, info)

        start = epoch * steps_per_epoch
        return jax.lax.fori_loop(jnp.maximum(first, start), jnp.minimum(last, start + steps_per_epoch), body, carry)

    info_shape = jax.eval_shape(one_step, state, epoch_order(key, 0, num_rows), first)[1]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), info_shape)
    epochs = first // steps_per_epoch, -(-last // steps_per_epoch)
    state, total = jax.lax.fori_loop(*epochs, one_epoch, (state, zeros))
    return state, jax.tree.map(lambda leaf: leaf / (last - first), total)


def make_chunk(
    method: Method,
    batch_size: int,
    members_per_step: int = 1,
    devices: list[jax.Device] | None = None,
    parallel: str = "seeds",
) -> Callable:
    """Compile ``chunk(states, hyper, folds, data, num_steps) -> (states, mean Info)``; "seeds" donates the states passed in.

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
        chex.assert_rank(list(data), 3)  # [F, rows, D]
        chex.assert_tree_shape_prefix((hyper, folds), states.step.shape)  # [S]
        first = states.step[0]  # all members are at the same step

        def member(state, hyper, fold):
            return run_steps(method, batch_size, data, state, hyper, fold, first, first + num_steps, axis_name)

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
