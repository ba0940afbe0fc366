"""Evaluate a trained run again, from its checkpoint alone.

    python -m experiments.evaluate --workdir=runs/hyperbola
    python -m experiments.evaluate --workdir=runs/hyperbola --set=method.sample_by=rerank

The first form repeats the run's numbers. With overrides of how actions are chosen or judged, results are printed and not written.
"""

from ebgan_mdn_jax.types import require
from experiments import flags
from experiments.evaluation import evaluate
from experiments.tables import results_table

USED = (flags.WORKDIR, flags.DATA_DIR, flags.SET)


def main() -> None:
    """Evaluate and print the results."""
    require(flags.WORKDIR.value is not None, "--workdir is missing: give the folder of a trained run")
    overrides = tuple(flags.SET.value)
    results = evaluate(flags.WORKDIR.value, flags.DATA_DIR.value, overrides)
    if overrides:
        results["method"] = f"{results['method']}, {', '.join(overrides)}"
    print(results_table(results))
    if overrides:
        print("These numbers were printed only; results.json keeps those of the run's own settings.")


if __name__ == "__main__":
    flags.run(main, *USED)
