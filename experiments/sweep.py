"""Train and evaluate every run of a sweep, skipping finished ones, and write one report.

    python -m experiments.sweep --config=quickstart
    python -m experiments.sweep --method=ebgan_mdn --seeds=16 --grid=hyper.energy_weight=0,1,10 --grid=method.num_negatives=8,32

The plan is printed first; ``--dry_run`` stops there. Flags given beside ``--config`` (``--seeds``, ``--steps``, ``--set``, ...) apply to
every run and must be valid for every run. Killed and started again, the same command goes on where it was; several workers may be given
the same command and folder and share the runs.
"""

import pathlib
import time

from experiments import flags, processes
from experiments.config import to_json
from experiments.plan import SELECTION, compile_plan, configs_from_flags, folder_from_flags
from experiments.provenance import record
from experiments.report import report
from experiments.run import train
from experiments.tables import markdown_tables
from experiments.workdir import InUse, Workdir, make_folder, owned, patiently

USED = (*SELECTION, flags.WORKDIR, flags.DATA_DIR, flags.DRY_RUN)
_POLL_SECONDS = 5
_PATIENCE_SECONDS = 120  # another worker may be writing the report


def main() -> None:
    """Plan, run what is left, and report."""
    configs = configs_from_flags()
    directory = folder_from_flags(configs)
    if not flags.DRY_RUN.value:
        processes.first_decides(lambda: make_folder(directory))

    def finished(name):
        return bool(processes.first_decides(lambda: Workdir(directory / name).finished(to_json(configs[name]))))

    plan = compile_plan(configs, finished, flags.DATA_DIR.value, flags.NUM_DEVICES.value, processes.log)
    if flags.DRY_RUN.value:
        return
    processes.first_decides(lambda: patiently(lambda: record(directory), _PATIENCE_SECONDS))
    _run_all(configs, plan, directory)
    processes.log(markdown_tables(directory))
    processes.first_decides(lambda: _report(directory))


def _run_all(configs, plan, directory):
    """Run what is left; what other workers do in the meantime is waited for, and taken over if they die."""
    left, told = [name for name in configs if name in plan.programs or name in plan.borrowed], set()
    while left:
        for name in list(left):
            source = plan.borrowed.get(name)
            if source in left:
                continue
            if name not in told:
                processes.log(f"[{list(configs).index(name) + 1}/{len(configs)}] {name}")
            try:
                train(
                    configs[name],
                    directory / name,
                    flags.DATA_DIR.value,
                    flags.NUM_DEVICES.value,
                    log=processes.log,
                    program=plan.programs.get(name),
                    trained_in=directory / source if source else None,
                    tensorboard=flags.TENSORBOARD.value,
                )
                left.remove(name)
            except InUse as error:
                if name not in told:
                    processes.log(
                        f"{str(error).partition(': wait')[0]}, another worker of this sweep; its runs are waited for"
                    )
                told.add(name)
        if left:
            time.sleep(_POLL_SECONDS)


def _report(directory: pathlib.Path) -> None:
    try:
        with owned(directory):
            print(f"report: {report(directory)}")
    except InUse:
        print(f"another worker writes the report of {directory}")


if __name__ == "__main__":
    flags.run(main, *USED)
