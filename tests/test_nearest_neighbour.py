"""Nearest neighbours: the memory holds every row once, and the policy is that of brute force over the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ebgan_mdn_jax.methods import nearest_neighbour
from ebgan_mdn_jax.training import devices, loop, members
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0, 0.0), (1.0, 10.0), (-2.0, -1.0), (2.0, 1.0))
HALF_OBS, HALF_ACTION = np.asarray([1.0, 5.0]), np.asarray([2.0, 1.0])


def rows(num):
    rng = np.random.default_rng(0)
    low, high = np.asarray(SPEC.obs_low), np.asarray(SPEC.obs_high)
    return rng.uniform(low, high, (num, 2)).astype(np.float32), rng.uniform(-1, 1, (num, 2)).astype(np.float32)


def train(num, batch_size, num_steps, **fields):
    """Method and parameters after ``num_steps`` of the library's own loop, whose last batch of an epoch is filled from its start."""
    config = nearest_neighbour.Config(**({"capacity": 64, "num_neighbours": 3} | fields))
    method = nearest_neighbour.make(config, SPEC, Horizon(num_steps, -(-num // batch_size)))
    group = members.make_members(method, [5])
    states = members.init_states(method, group.seed, devices.make_layout().members)
    data = Batch(*(x[None] for x in rows(num)))
    states, info = loop.make_chunk(method, batch_size)(
        states, group.hyper, np.zeros(1, np.int32), data, np.int32(num_steps)
    )
    return method, jax.tree.map(lambda x: x[0], states.train.params), info


@pytest.mark.parametrize(("num", "batch_size"), [(24, 8), (21, 8), (17, 8), (5, 8), (3, 8), (7, 1)])
def test_every_row_is_stored_once(num, batch_size):
    """Whether the last batch of the first epoch is full, filled up, or longer than the data; later epochs change nothing."""
    for num_epochs in (1, 3):
        _, params, info = train(num, batch_size, num_epochs * -(-num // batch_size))
        assert int(params.num_rows) == num
        stored = np.concatenate([params.obs, params.action], 1)[:num]
        expected = np.concatenate(rows(num), 1)
        np.testing.assert_array_equal(stored[np.lexsort(stored.T)], expected[np.lexsort(expected.T)])
    assert np.isfinite(info.distance)


def test_equal_rows_of_the_data_count_as_often_as_they_occur():
    """Only the order of an epoch's start marks a row as a repetition."""
    memory = Batch(jnp.asarray([[1.0], [1.0], [2.0], [3.0], [0.0]]), jnp.zeros((5, 1)))
    for tail, expected in (
        ([2, 3, 1], 1),
        ([2, 1, 1], 2),
        ([1, 1, 2], 0),
        ([4, 1, 2], 0),
        ([1, 1, 1], 2),
        ([4, 2, 3], 0),
    ):
        batch = Batch(jnp.asarray(tail, float)[:, None], jnp.zeros((3, 1)))
        assert int(nearest_neighbour.repeated(memory, batch)) == expected


def test_policy_is_that_of_brute_force():
    """Neighbours by a loop over rows in half extents of the box; the density from SciPy."""
    method, params, _ = train(40, 8, 5)
    obs, action = rows(40)
    inputs, queries = rows(12)[0] + 0.01, np.random.default_rng(1).uniform(-1, 1, (6, 12, 2))
    nearest = np.argsort(np.sum(((inputs[:, None] - obs[None]) / HALF_OBS) ** 2, -1), axis=1)
    np.testing.assert_array_equal(method.act(jax.random.key(0), params, jnp.asarray(inputs)), action[nearest[:, 0]])
    wide = params._replace(bandwidth=jnp.asarray(0.3))
    log_prob = method.log_prob(wide, jnp.asarray(inputs), jnp.asarray(queries, jnp.float32))
    for row in range(12):
        kernels = stats.norm(action[nearest[row, :3]], 0.3 * HALF_ACTION)
        density = np.prod(kernels.pdf(queries[:, row, None]), -1).mean(-1)
        np.testing.assert_allclose(log_prob[:, row], np.log(density), rtol=2e-4, atol=2e-4)
    plain = nearest_neighbour.make(
        nearest_neighbour.Config(64, 3, sample_by="neighbour", act_by="sample"), SPEC, Horizon(5, 5)
    )
    assert plain.log_prob is None
    draws = np.asarray(plain.sample(jax.random.key(0), params, jnp.asarray(inputs), 200))
    for row in range(12):
        assert {tuple(draw) for draw in draws[:, row]} == {tuple(action[i]) for i in nearest[row, :3]}
    apart = plain.act(jax.random.key(0), wide, jnp.asarray(inputs)) - action[nearest[:, 0]]
    assert np.all(np.abs(apart) > 0)


def test_neighbours_among_many_rows_are_the_nearest_by_exact_distances():
    """Rows far from 0 and close together, where the product that shortlists them rounds; of equal rows the first ones are taken."""
    dim, num = 8, 500
    spec = Spec((-1.0,) * dim, (1.0,) * dim, (0.0,), (float(num),))
    rng = np.random.default_rng(0)
    obs = np.float32(0.9) + np.float32(0.02) * rng.random((num, dim), np.float32)
    obs[400:410] = obs[0]
    method = nearest_neighbour.make(nearest_neighbour.Config(capacity=600, num_neighbours=5), spec, Horizon(1, 1))
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.asarray(obs), jnp.arange(float(num))[:, None])
    params = jax.jit(method.step)(state, batch, method.hyper)[0].params
    found = np.asarray(jax.jit(method.mixture)(params, batch.obs).means[..., 0], int)
    squared = np.sum((obs[:, None].astype(np.float64) - obs[None]) ** 2, axis=-1)
    np.testing.assert_array_equal(found, np.argsort(squared, axis=1, kind="stable")[:, :5])
    assert found[0].tolist() == [0, 400, 401, 402, 403]


def test_missing_neighbours_stand_for_the_box():
    method, params, info = train(2, 8, 1)
    mixture = method.mixture(params, jnp.zeros((1, 2)))
    assert mixture.log_weights.shape == (1, 3) and int(params.num_rows) == 2
    np.testing.assert_array_equal(mixture.means[0, 2], [0.0, 0.0])
    np.testing.assert_allclose(mixture.scales[0], [0.02 * HALF_ACTION, 0.02 * HALF_ACTION, HALF_ACTION], rtol=1e-6)
    assert float(info.distance[0]) == pytest.approx(2 * 2**0.5)  # the memory was empty: the box's diagonal


def test_a_memory_that_is_too_small_is_refused():
    with pytest.raises(
        InputError, match="method.capacity=16: the memory must hold an epoch of 24 rows; set method.capac"
    ):
        train(20, 8, 3, capacity=16)
    with pytest.raises(InputError, match="method.capacity=4: needs at least method.num_neighbours=5"):
        nearest_neighbour.Config(4, 5)
    with pytest.raises(InputError, match="method.num_neighbours=0: needs at least 1"):
        nearest_neighbour.Config(num_neighbours=0)
