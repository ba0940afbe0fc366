"""Ta et al.'s figure 1: each form of Langevin dynamics ends where theory says."""

import numpy as np
import pytest

from experiments import langevin_forms


@pytest.mark.parametrize("noise", langevin_forms.FORMS)
def test_chains_end_with_the_deviation_that_theory_gives_for_their_form(noise):
    drawn = langevin_forms.draws(noise, 2_000, 500)
    theory = {"ibc": (0.003203, 0.006344), "langevin": (0.102598, 0.201262), "langevin_half": (0.101274, 0.200628)}
    # A deviation of 2,000 draws is off by 1.6 % (one standard error): false alarms once in 10,000.
    np.testing.assert_allclose(drawn.std(axis=0), theory[noise], rtol=0.065)
    np.testing.assert_allclose(drawn.mean(axis=0), langevin_forms.MEAN, atol=0.02)


def test_one_long_chain_gives_its_last_states(monkeypatch):
    drawn = langevin_forms.draws("ibc", 1, 300, 100)
    assert drawn.shape == (100, 2)
    steps = np.linalg.norm(np.diff(drawn, axis=0), axis=1)
    assert 0 < steps.max() < 0.02  # successive states of one chain
    monkeypatch.setattr(langevin_forms, "FORMS", ("ibc",))
    row = {"noise": "ibc", "draws": "20,000 chains", "steps": "10", "std_over_target": "2", "theory": "0.03"}
    (axis,) = langevin_forms.figure([row, row | {"steps": "100", "std_over_target": "0.04"}]).axes
    assert axis.get_yscale() == "log"
