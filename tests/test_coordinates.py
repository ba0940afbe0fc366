"""Coordinate regression: what the images show, who is in the convex hull, and errors in pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import Delaunay

from ebgan_mdn_jax import encoders
from ebgan_mdn_jax.methods import explicit_bc, ibc
from ebgan_mdn_jax.tasks import TASKS, coordinates
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch, Horizon

TASK = TASKS["coordinates"]


def test_the_block_is_where_the_action_says():
    batch = jax.tree.map(np.asarray, TASK.demonstrations(jax.random.key(0), 200))
    images = batch.obs.reshape(200, 96, 96)
    assert set(np.unique(images)) == {0.0, 1.0}
    np.testing.assert_array_equal((images == 0).sum((1, 2)), 49)  # all of it, always
    places = np.asarray([np.argwhere(image == 0) for image in images])  # [200, 49, 2]
    np.testing.assert_array_equal(places.max(1) - places.min(1), 6)
    np.testing.assert_allclose((batch.action + 1) * 95 / 2, places.mean(1), atol=1e-4)
    assert places.min() == 0 and places.max() == 95  # the block reaches all borders


def test_hull_is_that_of_scipy():
    rng = np.random.default_rng(0)
    corners, points = rng.uniform(-1, 1, (8, 2)), rng.uniform(-1, 1, (500, 2))
    inside = coordinates.inside_hull(jnp.asarray(points), jnp.asarray(corners))
    np.testing.assert_array_equal(inside, Delaunay(corners).find_simplex(points) >= 0)
    assert 0.2 < np.mean(inside) < 0.8
    assert np.all(coordinates.inside_hull(jnp.asarray(corners), jnp.asarray(corners)))


def test_errors_are_in_pixels_and_told_apart_by_the_hull():
    """A policy that reads the image, and is 3 rows and 4 columns off in the upper half of it."""

    def act(key, obs):
        on_block = (obs == 0).reshape(-1, 96, 96)
        rows, columns = (jnp.arange(96.0) @ jnp.sum(on_block, axis).T / 49 for axis in (2, 1))
        off = jnp.where(rows < 48, 1.0, 0.0)
        return coordinates.to_action(jnp.stack([rows + 3 * off, columns + 4 * off], axis=-1))

    policy = Conditional(None, None, act=act)
    lower_half = jnp.asarray([[48.0, 0.0], [48.0, 95.0], [95.0, 0.0], [95.0, 95.0]])
    train = Batch(jnp.zeros((4, 96**2)), coordinates.to_action(lower_half))
    data = Data(train, train, jnp.ones(4, bool))
    metrics = jax.jit(lambda: TASK.evaluate(jax.random.key(0), policy, data, TASK.evaluation))()
    assert set(metrics) == {"pixel_error", "pixel_error_inside", "pixel_error_outside"}
    assert metrics["pixel_error_inside"] == pytest.approx(0.0, abs=1e-3)
    assert metrics["pixel_error_outside"] == pytest.approx(5.0, abs=1e-3)
    assert 2.0 < metrics["pixel_error"] < 3.0  # half of the images


@pytest.mark.parametrize("method", [ibc, explicit_bc])
def test_policies_learn_from_images(method):
    """Ten images by heart: far nearer than chance, about 50 pixels, on those; a row acts alone as it does among others."""
    encoder = encoders.EncoderConfig("spatial_softmax", (4, 8))
    fields = {"num_candidates": 512, "energy_hidden": (32,)} if method is ibc else {"hidden": (32,)}
    made = method.make(method.Config(encoder=encoder, **fields), TASK.spec, Horizon(150, 1))
    batch = TASK.demonstrations(jax.random.key(0), 10)
    rates = made.hyper._replace(learning_rate=0.01)

    def run(state):
        return jax.lax.fori_loop(0, 150, lambda _, state: made.step(state, batch, rates)[0], state)

    state = jax.jit(lambda key: run(made.init(key)))(jax.random.key(0))
    act = jax.jit(made.act)
    action = act(jax.random.key(1), state.params, batch.obs)
    assert np.linalg.norm(action - batch.action, axis=-1).mean() * 47.5 < 12
    alone = act(jax.random.key(1), state.params, batch.obs[:1])
    np.testing.assert_allclose(alone, action[:1], rtol=1e-4, atol=1e-5)
