"""A batch split along a named axis must give what the unsplit batch gives; ``vmap(axis_name=)`` stands in for devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import collectives

ROWS = 12


def split(tree, parts):
    return jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), tree)


def loss_fn(params, x, y):
    prediction = jnp.tanh(x @ params["kernel"]) @ params["head"]
    error = (prediction - y) ** 2
    return jnp.mean(error), {"mae": jnp.mean(jnp.abs(prediction - y))}


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return {"kernel": draw(3, 4), "head": draw(4)}, draw(ROWS, 3), draw(ROWS)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_gradient_of_a_split_batch_is_the_full_gradient(problem, parts):
    params, x, y = problem
    (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, x, y)
    synced = collectives.synced_value_and_grad(loss_fn, "batch")
    blocks = jax.vmap(synced, (None, 0, 0), axis_name="batch")(params, *split((x, y), parts))
    for part in range(parts):  # every device holds the same result
        (part_loss, part_aux), part_grads = jax.tree.map(lambda v, part=part: v[part], blocks)
        np.testing.assert_allclose(part_loss, loss, rtol=1e-5)
        np.testing.assert_allclose(part_aux["mae"], aux["mae"], rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), part_grads, grads)


def test_without_an_axis_it_is_value_and_grad(problem):
    ours = collectives.synced_value_and_grad(loss_fn)(*problem)
    reference = jax.value_and_grad(loss_fn, has_aux=True)(*problem)
    jax.tree.map(np.testing.assert_array_equal, ours, reference)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_rows_keep_their_key_and_index(parts):
    key = jax.random.key(7)

    def local(block):
        num = block.shape[0]
        return collectives.row_indices(num, "batch"), jax.random.key_data(collectives.row_keys(key, num, "batch"))

    indices, keys = jax.vmap(local, axis_name="batch")(jnp.zeros((parts, ROWS // parts)))
    np.testing.assert_array_equal(indices.ravel(), np.arange(ROWS))
    whole = jax.random.key_data(collectives.row_keys(key, ROWS))
    np.testing.assert_array_equal(keys.reshape(ROWS, -1), whole)
    np.testing.assert_array_equal(collectives.row_indices(ROWS), np.arange(ROWS))


def test_every_row_has_its_own_key():
    data = jax.random.key_data(collectives.row_keys(jax.random.key(0), ROWS))
    assert len(np.unique(np.asarray(data), axis=0)) == ROWS
    for row in (0, 5):  # the first rows of a longer batch have the same noise
        expected = jax.random.key_data(jax.random.fold_in(jax.random.key(0), row))
        np.testing.assert_array_equal(data[row], expected)


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_all_rows_and_local_rows_undo_each_other(parts):
    rows = jnp.arange(ROWS * 2.0).reshape(ROWS, 2)

    def there_and_back(block):
        everything = collectives.all_rows(block, "batch")
        return everything, collectives.local_rows({"x": everything, "i": everything[:, 0]}, "batch")

    everything, back = jax.vmap(there_and_back, axis_name="batch")(split(rows, parts))
    for part in range(parts):
        np.testing.assert_array_equal(everything[part], rows)
    np.testing.assert_array_equal(back["x"].reshape(ROWS, 2), rows)
    np.testing.assert_array_equal(back["i"].ravel(), rows[:, 0])


def test_without_an_axis_rows_are_left_alone():
    rows = jnp.arange(4.0)
    assert collectives.all_rows(rows) is rows
    assert collectives.local_rows(rows) is rows
