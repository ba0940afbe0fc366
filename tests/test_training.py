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
    assert group.size == 4
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


def _regression():
    """Gradient descent on ``(w x - y)^2`` at a rate that Hyper gives: an infinite one breaks it at once, a large one after a while."""

    def init(key):
        return TrainState(_Count(jnp.ones(())), (), (), jnp.zeros((), jnp.int32), key)

    def step(state, batch, hyper, axis_name=None):
        loss, gradient = jax.value_and_grad(lambda w: jnp.mean((w * batch.obs - 1.0) ** 2))(state.params.total)
        return state._replace(params=_Count(state.params.total - hyper.total * gradient), step=state.step + 1), _Count(
            loss
        )

    return Method(_Count(0.01), init, step, None, None, None, None, None, ("total",))


def _train_regression(rates, cuts=(6,), members_per_step=1):
    method = _regression()
    group = members.make_members(method, [0], {"total": rates})
    states = members.init_states(method, group.seed, devices.make_layout().members)
    chunk = loop.make_chunk(method, 4, members_per_step)
    data = Batch(*(x[None] for x in numbered(8)))
    for cut in cuts:
        states, info = chunk(states, group.hyper, np.zeros(group.size, np.int32), data, np.int32(cut))
    return jax.device_get(states._replace(train=states.train._replace(key=()))), np.asarray(info.total)


@pytest.mark.parametrize("members_per_step", [1, 3])
@pytest.mark.parametrize("cuts", [(6,), (1, 2, 3)])
def test_a_member_that_would_become_infinite_keeps_its_last_finite_state(members_per_step, cuts):
    """Rates sound, infinite, and so large that squares overflow at the third step; the sound member's bits do not change."""
    states, info = _train_regression([0.01, np.inf, 1e13], cuts, members_per_step)
    alone, alone_info = _train_regression([0.01] * 3, cuts, members_per_step)
    np.testing.assert_array_equal(states.failed_at[:2], [-1, 1])
    assert 1 < states.failed_at[2] <= 3
    assert np.all(np.isfinite(states.train.params.total))
    assert states.train.params.total[1] == 1.0  # never moved
    np.testing.assert_array_equal(states.train.step, [6] * 3)
    assert states.train.params.total[0] == alone.train.params.total[0]
    assert info[0] == alone_info[0]


def test_a_frozen_member_stays_frozen():
    """Even where later steps would be sound: here the loss is not finite at the third step alone."""

    def step(state, batch, hyper, axis_name=None):
        params = _Count(state.params.total + 1.0)
        return state._replace(params=params, step=state.step + 1), _Count(jnp.where(state.step == 2, jnp.nan, 1.0))

    method = _regression()._replace(step=step)
    group = members.make_members(method, [0])
    data = Batch(*(x[None] for x in numbered(8)))
    chunk = loop.make_chunk(method, 4)
    states, _ = chunk(members.init_states(method, group.seed), group.hyper, np.zeros(1, np.int32), data, np.int32(6))
    assert (int(states.failed_at[0]), int(states.cause[0]), float(states.train.params.total[0])) == (3, 0, 3.0)


def test_what_only_training_needs_freezes_a_member_too():
    """Where losses and parameters stay finite: it would be in the next checkpoint."""
    method = _regression()
    state = method.init(jax.random.key(0))._replace(extra=jnp.ones(()))
    state = members.MemberState(state, jnp.asarray(-1, jnp.int32), jnp.asarray(-1, jnp.int32))
    broken = method._replace(step=lambda state, *of: (state._replace(extra=state.extra / 0), _Count(jnp.ones(()))))
    after, _, taken = loop.guarded_step(broken, state, numbered(8), method.hyper)
    assert not taken and after.train.extra == 1.0 and members.causes(method)[after.cause] == "parameters"


def test_what_froze_a_member_is_told():
    method = _regression()
    assert members.causes(method) == ("total", "parameters")
    # An infinite step breaks the parameters while the loss is finite; after one of about 1e20 the loss overflows.
    states, _ = _train_regression([0.01, np.inf, 1e19])
    np.testing.assert_array_equal(states.cause, [-1, 1, 0])


def test_infos_are_means_over_the_steps_that_were_taken():
    frozen_at_once, later = _train_regression([np.inf, 1e13], cuts=(6,))[1]
    assert np.isnan(frozen_at_once)  # no step was taken
    assert np.isfinite(later)
    assert np.all(np.isnan(_train_regression([np.inf, 1e13], cuts=(6, 1))[1]))


def test_resize_copies_the_last_member_and_cuts_copies_off():
    group = members.make_members(_regression(), [3, 4, 5])
    larger = members.resize(group, 5)
    np.testing.assert_array_equal(larger.seed, [3, 4, 5, 5, 5])
    assert members.resize(larger, 3).seed.tolist() == [3, 4, 5]
    assert members.resize(group, 3) is group
    states = members.init_states(_regression(), group.seed)
    fitted = members.resize(states, 4, devices.make_layout().members)
    keys = jax.random.key_data(fitted.train.key)
    np.testing.assert_array_equal(keys[3], jax.random.key_data(states.train.key)[2])
