"""The searches of IBC on an energy of known minimum, by dimension: why its joint derivative-free search fails beyond 5 (figure 11)."""

import pytest

from experiments import search_dimensions

NUM_TARGETS = 8


@pytest.mark.parametrize("dim", [1, 2, 5, 8, 16])
def test_langevin_finds_the_minimum_in_every_dimension_and_the_joint_search_in_few(dim):
    assert search_dimensions.error("langevin", dim, NUM_TARGETS) < 0.05
    joint = search_dimensions.error("derivative_free", dim, NUM_TARGETS)
    assert joint < 0.02 or dim > 2
    assert joint > 0.04 or dim <= 5


@pytest.mark.parametrize("dim", [1, 8])
def test_the_autoregressive_search_needs_no_more_candidates_for_more_dimensions(dim):
    assert search_dimensions.error("autoregressive", dim, NUM_TARGETS) < 0.05


@pytest.mark.slow
def test_a_figure_is_drawn_from_the_rows_of_the_csv():
    table = search_dimensions.rows((1,))
    assert [row["search"] for row in table] == ["langevin", "derivative_free", "autoregressive"]
    assert all(row["seconds"] > 0 and row["memory_mb"] > 0.1 for row in table)
    labels = {ax.get_ylabel() for ax in search_dimensions.figure(table).axes}
    assert labels == {"distance to the minimum", "seconds per action"}
