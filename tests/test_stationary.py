"""Laws of chains, against closed forms; and that the certificate notices a sampler that is not what it is taken for."""

import numpy as np
import pytest

from ebgan_mdn_jax.samplers import langevin, stationary
from experiments import certify

STD, CENTRE = 0.2, 0.1


@pytest.mark.parametrize("noise", ["langevin", "langevin_half", "ibc"])
@pytest.mark.parametrize("step_size", [1e-3, 1e-2])
def test_the_grid_agrees_with_the_closed_form_of_a_gaussian(noise, step_size):
    expected = float(langevin.gaussian_std(STD, step_size, noise))
    grid = stationary.make_grid(CENTRE - 8 * expected, CENTRE + 8 * expected)
    law = stationary.langevin_on_grid(lambda a: (a - CENTRE) / STD**2, grid, step_size, noise, 1.0)
    assert law.std[0] == pytest.approx(expected, rel=0.01)
    assert law.mean[0] == pytest.approx(CENTRE, abs=1e-6)


def test_principal_axes_of_a_correlated_gaussian():
    """The variance of a sum of independent coordinates: along (1, 1) and (1, -1)."""
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    law = stationary.langevin_on_gaussian(np.zeros(2), covariance, 0.1, "langevin")
    stds = langevin.gaussian_std(np.sqrt([1.5, 0.5]), 0.1, "langevin")
    np.testing.assert_allclose(law.std, np.sqrt((stds[0] ** 2 + stds[1] ** 2) / 2), rtol=1e-6)


def test_clipped_mass_lies_on_the_box():
    """With hardly any drift and steps as wide as the box most of the mass sits at its ends: half a unit from the middle each."""
    law = stationary.langevin_on_grid(lambda a: 0 * a, stationary.make_grid(-0.5, 0.5), 50.0, "langevin")
    assert law.std[0] == pytest.approx(0.5, abs=0.02)


def test_a_chain_that_never_crosses_has_no_law():
    wells = lambda a: 400 * a * (a**2 - 1)  # noqa: E731
    law = stationary.langevin_on_grid(wells, stationary.make_grid(-1.5, 1.5), 1e-4, "ibc")
    assert np.isnan(law.std).all() and np.isnan(law.mean).all()


def test_the_search_reweights_and_spreads():
    """Of a Gaussian: reweighting adds its precision, noise its variance."""
    grid = stationary.make_grid(-2.0, 2.0)
    population, draw = stationary.derivative_free_on_grid(
        lambda a: (a - CENTRE) ** 2 / (2 * STD**2), grid, 2, 0.05, 0.5
    )
    precision = 0.0
    for index in range(2):
        precision = 1 / (1 / (precision + 1 / STD**2) + (0.05 * 2 * 0.5**index) ** 2)
    assert population.std[0] == pytest.approx(precision**-0.5, rel=1e-3)
    assert draw.std[0] == pytest.approx((precision + 1 / STD**2) ** -0.5, rel=1e-3)


def test_a_certificate_is_given_and_refused():
    """Of the same chains: with their own theory they pass, with that of the textbook's form IBC's do not."""
    target = certify.targets()["anisotropic"]
    for settings in ({"noise": "langevin", "metropolis": True}, {"noise": "ibc"}):
        draws, _, _ = certify.run_chains(target, settings, 500, 1_500)[:3]
        row = {"target": "anisotropic"} | certify.compare(draws, target, certify.theory(target, settings))
        assert max(row["z_mean"], row["z_std"]) < certify.THRESHOLD
        words = certify.verdict(row)
        assert words == "samples the target" if "metropolis" in settings else words.startswith("samples another law")
    wrong = {"target": "anisotropic"} | certify.compare(draws, target, target.law)
    assert certify.verdict(wrong).startswith("not what theory says")
    assert certify.verdict(wrong | {"target": "two modes", "mean_error": 0.5}) == "does not mix"
