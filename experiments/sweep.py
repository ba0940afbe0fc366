"""Train and evaluate every run of a sweep, skipping finished ones, and write one report.

    python -m experiments.sweep --config=quickstart

Flags given beside ``--config`` (``--seeds``, ``--steps``, ``--set``, ...) apply to every run and must be valid for every run. Killed and
started again, the same command goes on where it was.
"""

import pathlib

from ebgan_mdn_jax.types import InputError, require
from experiments import flags
from experiments.config import ExperimentConfig, make_config
from experiments.configs import CONFIGS, RunSpec
from experiments.provenance import record
from experiments.report import OUTPUTS, report
from experiments.run import train
from experiments.tables import markdown_tables
from experiments.workdir import make_folder, refuse_strangers

USED = (flags.CONFIG, flags.WORKDIR, flags.DATA_DIR, *flags.TRAINING)


def main() -> None:
    """Run the sweep and report."""
    name = flags.CONFIG.value
    require(name is not None, f"--config is missing: expected one of {', '.join(CONFIGS)}")
    directory = pathlib.Path(flags.WORKDIR.value or f"runs/{name}").expanduser().resolve()
    configs = {run.name: _config(run) for run in CONFIGS[name]}
    refuse_strangers(directory, (*configs, *OUTPUTS, "provenance.json"))
    make_folder(directory)
    record(directory)
    for number, (run_name, config) in enumerate(configs.items(), start=1):
        print(f"[{number}/{len(configs)}] {run_name}, {config.num_seeds} seeds", flush=True)
        train(config, directory / run_name, flags.DATA_DIR.value, flags.NUM_DEVICES.value)
    print(markdown_tables(directory))
    print(f"report: {report(directory)}")


def _config(run: RunSpec) -> ExperimentConfig:
    num_seeds = flags.SEEDS.value if flags.SEEDS.present else run.num_seeds
    try:
        overrides = [*run.overrides, *flags.overrides()]
        return make_config(run.task, run.method, num_seeds, flags.FIRST_SEED.value, overrides)
    except InputError as error:
        raise InputError(f"run {run.name}: {error}") from error


if __name__ == "__main__":
    flags.run(main, *USED)
