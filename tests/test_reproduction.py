"""The hyperbola at the authors' settings, trained here and now with 16 seeds, against 3 seeds of the authors' code."""

import csv

import numpy as np
import pytest

from experiments import publish, run
from experiments.config import make_config
from experiments.configs import CONFIGS


@pytest.mark.slow
def test_hyperbola_agrees_with_the_authors_code(tmp_path, data_dir):
    """Medians within the range of the authors' three seeds, widened by that range on each side; losses as in their logs."""
    with (publish.RESULTS / "hyperbola" / "reference.csv").open(newline="") as file:
        references = [row for row in csv.DictReader(file) if row["code_min"]]
    training = {}
    for spec in CONFIGS["hyperbola"]:
        if spec.name in ("hyperbola-mdn", "hyperbola-ebgan_mdn", "hyperbola-explicit_bc"):
            config = make_config(spec.task, spec.method, spec.num_seeds, 0, spec.overrides, spec.preset)
            results = run.train(config, tmp_path / spec.name, str(data_dir), log=lambda line: None)
            training[spec.method] = results["training"]
            for reference in references:
                if reference["run"] == spec.name:
                    low, high = float(reference["code_min"]), float(reference["code_max"])
                    median = np.median(results["metrics"][reference["metric"]])
                    assert low - (high - low) <= median <= high + (high - low), (reference, median)
            if spec.method == "explicit_bc":
                assert results["metrics"]["tmc@S=10,tau=0.05"] == [0.0] * 16
    # Their logs end between 1.6 and 1.75; widened like the others, since another CPU rounds, and so trains, a little differently.
    assert 1.45 <= np.median(training["ebgan_mdn"]["energy_loss"]) <= 1.9
    constant = 0.5 * np.log(2 * np.pi)  # the authors leave it out of their likelihood
    for method in ("mdn", "ebgan_mdn"):
        assert -2.85 <= np.median(training[method]["nll"]) - constant <= -2.4
