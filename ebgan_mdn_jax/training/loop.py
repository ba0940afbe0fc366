"""The training loop: minibatches from shuffled epochs, and chunks of many steps compiled as one program.

Everything a step needs is a pure function of the state, so a run that is cut and resumed anywhere repeats the same numbers.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.methods.base import Method
from ebgan_mdn_jax.training.devices import Layout, make_layout
from ebgan_mdn_jax.training.members import MemberState, map_members
from ebgan_mdn_jax.types import Array, Batch, PRNGKey, PyTree, require, steps_per_epoch

# Folded into a member's base key for the order of its data; steps fold in their own index, which never gets this high.
_DATA_ORDER = 0xFFFFFFFF


def epoch_order(key: PRNGKey, epoch: Array, num_rows: int) -> Array:
    """Order ``[rows]`` in which ``epoch`` visits the rows; ``key`` is the member's base key."""
    return jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, _DATA_ORDER), epoch), num_rows)


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


def guarded_step(
    method: Method, state: MemberState, batch: Batch, hyper: PyTree, axis_name: str | None = None
) -> tuple[MemberState, PyTree, Array]:
    """One step, unless the member is frozen or the step would make a loss or a trained weight non-finite, which freezes it.

    An optimiser state that overflows while its updates stay finite (squares of gradients above 1e19) is not noticed.
    Returns the state, the method's Info, and whether the step was taken.
    """
    after, info = method.step(state.train, batch, hyper, axis_name)
    losses = [getattr(info, name) for name in method.losses]
    leaves = jax.tree.leaves((after.params, after.extra))
    sound = jnp.stack([jnp.isfinite(loss) for loss in losses] + [_all_finite(leaves)])
    healthy = state.failed_at < 0
    taken = healthy & jnp.all(sound)
    fails = healthy & ~jnp.all(sound)
    kept = jax.tree.map(lambda new, old: jnp.where(taken, new, old), after, state.train)
    return (
        MemberState(
            kept._replace(step=after.step),
            jnp.where(fails, after.step, state.failed_at),
            jnp.where(fails, jnp.argmin(sound).astype(jnp.int32), state.cause),
        ),
        info,
        taken,
    )


def _all_finite(leaves: list[Array]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def run_steps(
    method: Method,
    batch_size: int,
    data: Batch,
    state: MemberState,
    hyper: PyTree,
    fold: Array,
    first: Array,
    last: Array,
    axis_name: str | None = None,
    shuffle: Callable[[PRNGKey, Array, int], Array] = epoch_order,
) -> tuple[MemberState, PyTree]:
    """Train one member from step ``first`` up to ``last`` on split ``fold`` of ``data`` (leaves ``[F, rows, D]``).

    Both bounds are traced and must not be vmapped: other ones recompile nothing, and the rows are put in order once per epoch, by
    ``shuffle(key, epoch, rows)``. Returns the state and the mean of the method's Info over the steps taken, NaN if there were none.
    """
    key, num_rows = state.train.key, data.obs.shape[1]
    per_epoch = steps_per_epoch(num_rows, batch_size)

    def one_step(state, order, step):
        batch = take_batch(data, fold, order, step % per_epoch, batch_size)
        return guarded_step(method, state, collectives.local_rows(batch, axis_name), hyper, axis_name)

    def one_epoch(epoch, carry):
        order = shuffle(key, epoch, num_rows)

        def body(step, carry):
            state, total, count = carry
            state, info, taken = one_step(state, order, step)
            total = jax.tree.map(lambda sum, value: sum + jnp.where(taken, value, 0), total, info)
            return state, total, count + taken

        start = epoch * per_epoch
        return jax.lax.fori_loop(jnp.maximum(first, start), jnp.minimum(last, start + per_epoch), body, carry)

    info_shape = jax.eval_shape(one_step, state, shuffle(key, 0, num_rows), first)[1]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), info_shape)
    epochs = first // per_epoch, -(-last // per_epoch)
    state, total, count = jax.lax.fori_loop(*epochs, one_epoch, (state, zeros, jnp.zeros((), jnp.int32)))
    return state, jax.tree.map(lambda leaf: leaf / count, total)


def _as_they_come(key: PRNGKey, epoch: Array, num_rows: int) -> Array:
    return jnp.arange(num_rows)


def make_chunk(
    method: Method, batch_size: int, members_per_step: int = 1, layout: Layout | None = None, streamed: bool = False
) -> Callable:
    """Jit ``chunk(states, hyper, folds, data, num_steps) -> (states, mean Info)``; it donates the states passed in.

    States, hyper and folds have leading axis S, data ``[F, rows, D]``; member i trains on ``data[folds[i]]``. S must be a multiple of
    ``layout.member_devices`` (see `members.resize`). Where devices share a minibatch, noise and gradients are those of one device, up
    to the order of sums.

    Args:
      method: the method to train.
      batch_size: rows of a minibatch.
      members_per_step: see `map_members`.
      layout: default the first device alone.
      streamed: data are the minibatches of the next steps, one after another, as `stream.blocks` gives them.

    Raises:
      InputError: if the minibatch does not divide over the devices that share it.
    """
    layout = layout or make_layout()
    count = layout.batch_devices
    require(
        batch_size % count == 0,
        f"train.batch_size={batch_size} does not divide over {count} devices: use a multiple, or fewer devices",
    )
    axis_name = None if layout.parallel == "seeds" else "batch"

    def chunk(states, hyper, folds, data, num_steps):
        chex.assert_rank(list(data), 3)  # [F, rows, D]
        chex.assert_tree_shape_prefix((hyper, folds), states.failed_at.shape)  # [S]
        first = 0 if streamed else states.train.step[0]  # all members are at the same step
        shuffle = _as_they_come if streamed else epoch_order

        def member(state, hyper, fold):
            return run_steps(method, batch_size, data, state, hyper, fold, first, first + num_steps, axis_name, shuffle)

        return map_members(member, members_per_step)(states, hyper, folds)

    if layout.parallel == "pmap":
        # pmap wants one mapped argument: the device's index. All else is broadcast, and all devices return the same.
        in_axes = (0, None, None, None, None, None)
        on_device = lambda _, *args: chunk(*args)  # noqa: E731
        mapped = jax.pmap(on_device, "batch", in_axes=in_axes, out_axes=None, devices=layout.devices)
        return jax.jit(lambda *args: mapped(np.arange(count), *args), donate_argnums=0)

    spec = P("member")
    sharded = jax.shard_map(
        chunk, mesh=layout.mesh, in_specs=(spec, spec, spec, P(), P()), out_specs=(spec, spec), check_vma=False
    )
    return jax.jit(sharded, donate_argnums=0)
