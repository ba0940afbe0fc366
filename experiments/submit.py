"""Submit every program of a sweep that is not finished as one job of an array to a Slurm cluster.

    python -m experiments.submit --config=hyperbola --slurm=partition=gpu,gpus_per_node=1,time=60

To be called on the cluster, in the folder of the checkout, with --workdir on a file system that all machines share. Jobs that are
preempted or reach their time limit save, are requeued and go on; when all are done, experiments.report makes the page. The same command
again submits what is not finished. --executor=local runs the jobs on this machine, all at once and without GPU, to try things out.
"""

import contextlib
import importlib.util
import io
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any

from ebgan_mdn_jax.types import InputError, require, resolve_path
from experiments import flags
from experiments.config import to_json
from experiments.job import Job
from experiments.plan import SELECTION, configs_from_flags, folder_from_flags, trained_as
from experiments.program import load_data
from experiments.provenance import command_line
from experiments.workdir import Workdir, make_folder

_SELECTION = tuple(flag for flag in SELECTION if flag.name not in [other.name for other in flags.PROCESSES])
USED = (*_SELECTION, flags.EXECUTOR, flags.SLURM, flags.WORKDIR, flags.DATA_DIR)
FOLDER = ".submitit"  # of the jobs' logs and pickles, in the sweep's folder
_LISTS = ("setup", "teardown", "srun_args")  # shell commands or arguments, one per --slurm
_MOST_REQUEUES = 100  # of one job; each gets further than the one before
_YEAR_MINUTES = 365 * 24 * 60


def main() -> None:
    """Submit, and tell how to follow the jobs."""
    configs = configs_from_flags()
    directory = folder_from_flags(configs)
    executor = make_executor(flags.EXECUTOR.value, directory / FOLDER, flags.SLURM.value)
    left = [name for name in configs if not Workdir(directory / name).finished(to_json(configs[name]))]
    source = trained_as(configs, left)
    programs: dict[str, list[str]] = {}
    for name in left:
        programs.setdefault(source[name], [source[name]]).extend({name} - {source[name]})
    for name in programs:  # here, since jobs would all make the same data set, and may have no network
        load_data(configs[name], flags.DATA_DIR.value)
    make_folder(directory)
    data_dir = flags.DATA_DIR.value and str(resolve_path(flags.DATA_DIR.value))
    common = (data_dir, flags.NUM_DEVICES.value, flags.TENSORBOARD.value)
    command = tuple(command_line())
    jobs = submit(
        executor,
        [Job(command, str(directory), tuple((n, configs[n]) for n in names), *common) for names in programs.values()],
    )
    print(f"runs: {len(configs) - len(left)} of {len(configs)} finished, {len(left)} submitted; jobs: {len(jobs)}")
    for names, job_id in zip(programs.values(), jobs, strict=True):
        print(f"  {', '.join(names)}: job {job_id}, log {directory / FOLDER}/{job_id}_0_log.out")
    if jobs and flags.EXECUTOR.value == "slurm":
        array = jobs[0].partition("_")[0]
        print(
            f"follow: squeue --me --job={array}; tail -F {directory / FOLDER}/{array}_*_log.out; stop: scancel {array}"
        )
    elif jobs:
        print(f"follow: tail -F {directory / FOLDER}/*_log.out; stop, saving: kill {' '.join(jobs)}")
    print(f"when all are done: python -m experiments.report --workdir={directory}")


def make_executor(kind: str, folder: pathlib.Path, slurm: Iterable[str] = ()) -> Any:
    """The executor of submitit that jobs are given to.

    Args:
      kind: "slurm" or "local".
      folder: for its pickles and the jobs' logs; not made yet if anything is wrong.
      slurm: entries of ``--slurm``.

    Raises:
      InputError: if submitit or Slurm is missing, or an option is wrong.
    """
    require(
        importlib.util.find_spec("submitit") is not None,
        "submitting needs submitit, which is not installed: pip install 'ebgan_mdn_jax[slurm]'",
    )
    import submitit

    if kind == "local":
        require(not slurm, "--slurm has no meaning with --executor=local: leave it out")
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=_YEAR_MINUTES)
        return executor
    for program in ("sbatch", "srun", "scontrol"):
        require(
            shutil.which(program) is not None,
            f"Slurm is not on this machine (no {program}): submit from the cluster's login node, or try --executor=local",
        )
    options = slurm_options(slurm, submitit.SlurmExecutor._valid_parameters() - {"additional_parameters"})
    executor = submitit.SlurmExecutor(folder, max_num_timeout=_MOST_REQUEUES)
    executor.update_parameters(**options)
    return executor


def slurm_options(entries: Iterable[str], valid: Iterable[str]) -> dict[str, Any]:
    """What submitit is told from entries "key=value" or "key=value,key=value"; a part without "=" belongs to the value before it.

    Raises:
      InputError: if a key is not ``valid``, or the time limit is missing.
    """
    options: dict[str, Any] = {}
    for entry in entries:
        is_list = entry.partition("=")[0] in _LISTS
        key = ""
        for part in [entry] if is_list else entry.split(","):
            name, separator, value = part.partition("=")
            require(
                bool(separator or key), f"--slurm={entry}: expected key=value, such as --slurm=partition=gpu,time=60"
            )
            if not separator:
                options[key] = f"{options[key]},{part}"
                continue
            key = name
            require(key in valid, f"--slurm={key}=...: no such option; expected one of {', '.join(sorted(valid))}")
            if is_list:
                options[key] = [*options.get(key, []), value]
            else:
                options[key] = int(value) if value.isdigit() else {"True": True, "False": False}.get(value, value)
    require(
        isinstance(options.get("time"), int), "--slurm=time=MINUTES is missing: give the jobs' time limit, a number"
    )
    for key in ("nodes", "ntasks_per_node"):
        require(options.get(key, 1) == 1, f"--slurm={key}={options.get(key)}: a run is one process; leave it out")
    if "cpus_per_task" in options:  # srun does not take it from the batch job since Slurm 22.05
        options["srun_args"] = [f"--cpus-per-task={options['cpus_per_task']}", *options.get("srun_args", [])]
    return {"job_name": "ebgan_mdn_jax", "additional_parameters": {"requeue": True}} | options


def submit(executor: Any, jobs: Sequence[Job]) -> list[str]:
    """Submit ``jobs`` as one array; returns their ids.

    Raises:
      InputError: if the scheduler refuses them.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if not jobs:
        return []
    try:
        # submitit prints what sbatch says before it raises it.
        with contextlib.redirect_stderr(io.StringIO()), executor.batch():
            submitted = [executor.submit(job) for job in jobs]
    except (FailedJobError, FailedSubmissionError) as error:
        reasons = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines() if line.strip()]
        raise InputError(f"Slurm refused the jobs: {'; '.join(reasons)}") from error
    return [job.job_id for job in submitted]


if __name__ == "__main__":
    flags.run(main, *USED)
