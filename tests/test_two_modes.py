"""A trained CVAE follows the exact laws of two modes, and lines of theory are those of the functions that prove them."""

import csv

import numpy as np
import pytest

from ebgan_mdn_jax import theory
from experiments import chunk_bounds, latent_theory, two_modes
from experiments.benchmarks import measure
from experiments.figures import Member


@pytest.mark.slow
def test_a_squared_errors_code_vanishes_where_theory_says():
    """Within 10 % of beta = 2, for every seed."""
    rate = two_modes.train("squared", (1.0, 1.8, 2.2))["rate"]
    np.testing.assert_allclose(rate[0], theory.two_mode_law(1.0, 1.0).rate, rtol=0.03)
    assert np.all(rate[1] > 0.04) and np.all(rate[2] < 2e-3)


@pytest.mark.slow
def test_an_absolute_errors_rate_falls_with_the_square_of_beta():
    betas = (3.0, 6.0, 12.0)
    rate = two_modes.train("l1", betas)["rate"]
    slopes = np.diff(np.log(rate), axis=0) / np.diff(np.log(betas))[:, None]
    assert np.all(np.abs(slopes + 2) < 0.2)


def test_figure_has_the_laws_beside_the_rates():
    row = {"loss": "l1", "beta": "1", "rate": "0.3", "low": "0.2", "high": "0.4", "law": "0.33", "error": "0.1"}
    row |= {"error's law": "0.12", "information": "0.2", "its law": "0.2", "slope": "\u2013"}
    table = [{**row, "loss": loss, "beta": beta} for loss in two_modes.BETAS for beta in ("1", "2")]
    rate, error = two_modes.figure(table).axes[2:4]
    np.testing.assert_array_equal(rate.lines[1].get_ydata(), [0.33, 0.33])
    np.testing.assert_array_equal(error.lines[1].get_ydata(), [0.12, 0.12])


GAIN = 0.4
METRICS = {"reconstruction@l1": 0.1, "spread@l1": 0.5, "decoding_error": 5.0, "information": 0.6, "rate": 0.7}


def members(task="planar_circle", betas=(0.0, 0.1, 1.0)):
    return [
        Member(task, "cvae", seed, {"l1": "", "beta": f"{beta}"}, METRICS | {"information": 0.6 + 0.1 * seed})
        for beta in betas
        for seed in range(2)
    ]


def test_bounds_meet_at_the_critical_beta():
    line = latent_theory.line_of(members())
    assert latent_theory.gain(line) == pytest.approx(GAIN)
    bound = {name: latent_theory.bound(name, line) for name in ("rate", "information", "decoding_error", "on_support")}
    assert bound["on_support"] is None
    np.testing.assert_array_equal(bound["rate"].x, [0.1, 1.0])
    np.testing.assert_allclose(bound["rate"].value, [4.0, 0.4])
    np.testing.assert_allclose(bound["information"].value, theory.fano_floor([0.5, 0.5], 0.05))
    assert bound["decoding_error"].value[0] == 0.0  # 4 nats tell two modes
    weights = np.full(8, 1 / 8)
    for error in (0.01, 0.1, 0.4):
        beta = theory.beta_crit(GAIN, weights, error)
        assert latent_theory.least_error(beta, GAIN, weights) == pytest.approx(error, rel=1e-6)
    assert latent_theory.least_error(1e9, GAIN, weights) == pytest.approx(7 / 8, abs=1e-3)


def test_the_law_is_that_of_half_the_mean_difference_of_the_modes():
    line = latent_theory.line_of(members())
    actions, weights = latent_theory.modes("planar_circle")
    assert actions.shape == (2, 120) and np.all(np.abs(actions) < 1)
    law = latent_theory.law("decoding_error", line)
    half_gap = np.abs(actions[0] - actions[1]).mean() / 2
    assert law.value[-1] == pytest.approx(100 * theory.two_mode_law(half_gap, 1.0, "absolute").error)
    assert latent_theory.law("information", latent_theory.line_of(members("radial_8"))) is None


def test_claims_compare_seeds_with_the_cap_and_the_floor():
    row = chunk_bounds.row(latent_theory.line_of(members(betas=(0.0, 0.1, 10.0))))
    assert (row["D_0"], row["D_min"], row["last"]) == (0.5, 0.1, 10.0)
    assert row["over cap"] == pytest.approx((0.65 - GAIN / 10) / 0.05)  # two seeds, 0.1 apart
    assert row["over floor"] == pytest.approx(0.65 - theory.fano_floor([0.5, 0.5], 0.05))
    assert row["beta_crit"] == pytest.approx(GAIN / theory.fano_floor([0.5, 0.5], 0.1))


def test_a_run_collapsed_early_where_anothers_codes_would_cost_less():
    """At beta = 1 a code with loss 0.1 and rate 0.3 costs 0.4, less than the 0.5 of a run without a code; at beta = 4 it costs 1.3."""
    cost = {0.1: (0.1, 0.3), 1.0: (0.5, 0.0), 4.0: (0.5, 0.0)}
    values = {
        beta: {"reconstruction@l1": np.array([loss]), "rate": np.array([rate])} for beta, (loss, rate) in cost.items()
    }
    assert chunk_bounds.collapsed_early(latent_theory.Line("planar_circle", "l1", values)) == [1.0]


def test_the_published_runs_keep_to_the_bounds():
    """No code decodes beyond the critical beta or says more than the cap by 2 standard errors, in any published row."""
    with (measure.BENCHMARKS / "chunk_bounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        assert float(row["last"]) < float(row["beta_crit"])
        assert float(row["over cap"]) <= 2 and float(row["over floor"]) > -1e-3
