"""Precision and recall by nearest neighbours: against an independent version, and on samples whose support is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.evaluation.support import precision_recall


def by_hand(draws, demonstrations, num_neighbours):
    """One pair of rows after another."""

    def share(points, centres):
        radii = [sorted(np.linalg.norm(centres - c, axis=1))[num_neighbours] for c in centres]  # the first is its own
        return 100 * np.mean(
            [any(np.linalg.norm(c - p) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
        )

    return share(draws, demonstrations), share(demonstrations, draws)


def test_as_by_hand():
    rng = np.random.default_rng(0)
    draws, demonstrations = 50 + rng.normal(size=(30, 4)), 50.5 + 0.8 * rng.normal(size=(40, 4))
    for num_neighbours in (1, 3, 5):
        result = precision_recall(
            jnp.asarray(draws, jnp.float32), jnp.asarray(demonstrations, jnp.float32), num_neighbours
        )
        np.testing.assert_allclose(result, by_hand(draws, demonstrations, num_neighbours), atol=1e-4)


@pytest.mark.parametrize(
    ("places", "precise", "recalled"),
    [
        ((0, 1), 100, 100),  # the same law
        ((0,), 100, 50),  # one of two modes is dropped
        ((0, 0.5, 1), 67, 100),  # a third of all draws is between the modes
    ],
)
def test_modes_dropped_and_bridged(places, precise, recalled):
    def clusters(key, places):
        place = jnp.repeat(jnp.asarray(places, float), 600 // len(places))
        return place[:, None] + 0.01 * jax.random.normal(key, (600, 3))

    first, second = jax.random.split(jax.random.key(0))
    precision, recall = jax.jit(precision_recall)(clusters(first, places), clusters(second, (0, 1)))
    assert precision == pytest.approx(precise, abs=10) and recall == pytest.approx(recalled, abs=10)
