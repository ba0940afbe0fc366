"""The distance to a graph: the energy of which any function is the minimum, and that is nowhere steep."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import graph_energy


def test_the_energy_is_the_distance_to_the_nearest_point():
    graph = np.array([[0.0, 0.0], [1.0, 1.0]])
    obs, action = jnp.asarray([[0.0], [1.0]]), jnp.asarray([[[0.5], [1.0]], [[3.0], [-1.0]]])
    energy = graph_energy.distance_to_graph(graph)(obs, action)
    np.testing.assert_allclose(energy, [[0.5, 0.0], [np.sqrt(5), np.sqrt(2)]], rtol=1e-6)


@pytest.mark.parametrize(("name", "slope"), [("jumps_8", 0.0), ("hysteresis", 0.2), ("lines", 1.0)])
def test_its_minimum_is_the_function_to_the_size_of_the_grid(name, slope):
    """Also where that jumps or has several values; points on either side of a jump would be a hundred cells away."""
    row = graph_energy.row(name, 0.01)
    assert row["error"] <= (1 + slope) / 2 + 1e-3
    assert row["height"] <= (1 + slope**2) ** 0.5 / 2 + 1e-3
    assert 0.9 < row["lipschitz"] < 1 + 1e-3
