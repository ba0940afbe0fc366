"""The InfoNCE bound where mutual information is known: it holds for negatives of the marginal, whatever the energy."""

import pytest

from experiments import mutual_information


def test_the_bound_holds_for_independent_draws_of_the_marginal_and_fails_for_others():
    rows = {(row["negatives"], row["energy"]): row for row in mutual_information.rows(4_000)}
    best, other = (rows["marginal", energy] for energy in ("p(a|o) / p(a)", "p(a|o)"))
    assert best["mutual_information"] == pytest.approx(0.8304, abs=1e-4)
    assert -5 < best["excess"] <= 3 and other["value"] < best["value"]  # tight for its best energy, valid for any
    for kind in ("one chain", "uniform"):
        assert all(row["excess"] > 10 and "no bound" in row["verdict"] for key, row in rows.items() if key[0] == kind)
    # Negatives that follow the energy leave nothing to tell apart.
    assert all(row["value"] < 0 for key, row in rows.items() if key[0] == "conditional")
