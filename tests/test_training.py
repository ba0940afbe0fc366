"""Minibatches, members and the compiled chunk, apart from any method."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.methods import mdn
from ebgan_mdn_jax.methods.base import Method, TrainState
from ebgan_mdn_jax.training import devices, loop, members
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


def numbered(rows):
    return Batch(jnp.arange(float(rows))[:, None], -jnp.arange(float(rows))[:, None])


@pytest.mark.parametrize(("rows", "size"), [(12, 4), (10, 4), (3, 8)])
def test_an_epoch_visits_every_row_once(rows, size):
    data = jax.tree.map(lambda x: jnp.stack([x + 1000, x]), numbered(rows))
    order = loop.epoch_order(jax.random.key(0), 1, rows)
    batches = [loop.take_batch(data, 1, order, step, size) for step in range(-(-rows // size))]
    visited = np.concatenate([np.asarray(b.obs[:, 0]) for b in batches])
    assert visited.size == len(batches) * size
    np.testing.assert_array_equal(np.sort(visited[:rows]), np.arange(rows))
    np.testing.assert_array_equal(visited[rows:], np.resize(visited[:rows], visited.size)[rows:])
    assert all(np.array_equal(b.obs, -b.action) for b in batches)


def test_epochs_and_members_shuffle_differently():
    first = loop.epoch_order(jax.random.key(0), 0, 64)
    assert np.array_equal(first, loop.epoch_order(jax.random.key(0), 0, 64))
    assert not np.array_equal(first, loop.epoch_order(jax.random.key(0), 1, 64))
    assert not np.array_equal(first, loop.epoch_order(jax.random.key(1), 0, 64))


class _Rows(NamedTuple):
    rows: jax.Array


@pytest.mark.parametrize("cuts", [(10,), (1, 9), (3, 3, 4), (4, 4, 2)])
def test_a_run_visits_epoch_after_epoch_however_it_is_cut(cuts):
    """10 steps of 4 rows over 12 rows are three epochs and a step: each row is seen 3 times, and 4 of them once more."""

    def step(state, batch, hyper, axis_name=None):
        seen = state.params.rows.at[batch.obs[:, 0].astype(int), state.step // 3].add(1)
        return state._replace(params=_Rows(seen), step=state.step + 1), _Rows(jnp.zeros(()))

    def init(key):
        return TrainState(_Rows(jnp.zeros((12, 4), int)), (), (), jnp.zeros((), jnp.int32), key)

    method = Method(_Rows(1.0), init, step, None, None, None, None, None, ())
    group = members.make_members(method, [0, 1])
    states = members.init_states(method, group.seed)
    data = jax.tree.map(lambda x: x[None], numbered(12))
    chunk = loop.make_chunk(method, batch_size=4)
    for cut in cuts:
        states, _ = chunk(states, group.hyper, np.zeros(2, np.int32), data, np.int32(cut))
    seen = np.asarray(states.train.params.rows)
    assert np.all(seen[..., :3] == 1) and np.all(seen[..., 3].sum(1) == 4)


def test_members_are_all_settings_times_all_seeds():
    method = mdn.make(mdn.Config(), SPEC, Horizon(10, 1))
    group = members.make_members(method, [4, 5], {"learning_rate": [0.1, 0.2], "scale_floor": [0.5]})
    assert len(group) == 4
    np.testing.assert_array_equal(group.seed, [4, 5, 4, 5])
    np.testing.assert_array_equal(group.hyper.learning_rate, np.float32([0.1, 0.1, 0.2, 0.2]))
    np.testing.assert_array_equal(group.hyper.scale_floor, np.float32([0.5] * 4))
    np.testing.assert_array_equal(group.hyper.learning_rate_decay, np.float32([0.5] * 4))
    assert all(leaf.dtype == np.float32 for leaf in group.hyper)
    with pytest.raises(InputError, match="unknown hyperparameter nonsense: expected learning_rate"):
        members.make_members(method, [0], {"nonsense": [1.0]})
    with pytest.raises(InputError, match="no seeds"):
        members.make_members(method, [])


@pytest.mark.parametrize("members_per_step", [1, 2, 3, 6])
def test_map_members_applies_the_function_to_every_member(members_per_step):
    rows = (np.arange(6.0), np.arange(12.0).reshape(6, 2))
    mapped = jax.jit(members.map_members(lambda a, b: {"sum": a + b.sum()}, members_per_step))(*rows)
    np.testing.assert_allclose(mapped["sum"], rows[0] + rows[1].sum(1))


class _Count(NamedTuple):
    total: jax.Array


def _counter():
    """A method whose parameter sums the rows it saw and whose info is the step: closed forms for the loop."""

    def init(key):
        return TrainState(_Count(jnp.zeros(())), (), (), jnp.zeros((), jnp.int32), key)

    def step(state, batch, hyper, axis_name=None):
        params = _Count(state.params.total + hyper.total * batch.obs.sum())
        return state._replace(params=params, step=state.step + 1), _Count(state.step.astype(float))

    return Method(_Count(1.0), init, step, None, None, None, None, None, ("total",))


def test_chunk_runs_each_member_on_its_fold_and_averages_info():
    method = _counter()
    group = members.make_members(method, [0, 1], {"total": [1.0, 10.0]})
    data = Batch(*(jnp.stack([x, x + 100.0]) for x in numbered(8)))
    states = members.init_states(method, group.seed)
    states, info = loop.make_chunk(method, batch_size=4)(
        states, group.hyper, np.asarray([0, 1, 0, 1]), data, np.int32(4)
    )
    two_epochs = 2 * np.asarray([28.0, 828.0])
    np.testing.assert_allclose(states.train.params.total, [*two_epochs, *(10 * two_epochs)])
    np.testing.assert_allclose(info.total, [1.5] * 4)
    np.testing.assert_array_equal(states.train.step, [4] * 4)


def test_chunk_donates_its_states():
    method = _counter()
    group = members.make_members(method, [0])
    states = members.init_states(method, group.seed, devices.make_layout().members)
    data = Batch(*(x[None] for x in numbered(8)))
    loop.make_chunk(method, batch_size=4)(states, group.hyper, np.zeros(1, np.int32), data, np.int32(1))
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(states.train.params.total)
