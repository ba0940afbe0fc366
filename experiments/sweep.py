"""Train and evaluate every run of a sweep, skipping finished ones, and write one report.

    python -m experiments.sweep --config=quickstart

Flags given beside ``--config`` (``--seeds``, ``--steps``, ``--set``, ...) apply to every run. Killed and started again, the same
command goes on where it was.
"""

import pathlib

from ebgan_mdn_jax.types import require
from experiments import flags
from experiments.config import make_config
from experiments.configs import CONFIGS
from experiments.provenance import record
from experiments.report import report
from experiments.run import train
from experiments.tables import markdown_tables


def main() -> None:
    """Run the sweep and report."""
    name = flags.CONFIG.value
    require(name is not None, f"--config is missing: expected one of {', '.join(CONFIGS)}")
    directory = pathlib.Path(flags.WORKDIR.value or f"runs/{name}")
    configs = {
        run.name: make_config(
            run.task,
            run.method,
            flags.SEEDS.value if flags.SEEDS.present else run.num_seeds,
            flags.FIRST_SEED.value,
            [*run.overrides, *flags.overrides()],
        )
        for run in CONFIGS[name]
    }
    record(directory)
    for number, (run_name, config) in enumerate(configs.items(), start=1):
        print(f"[{number}/{len(configs)}] {run_name}, {config.num_seeds} seeds", flush=True)
        train(config, directory / run_name, flags.DATA_DIR.value, flags.NUM_DEVICES.value)
    print(markdown_tables(directory))
    print(f"report: {report(directory)}")


if __name__ == "__main__":
    flags.run(main)
