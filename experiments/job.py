"""One program of a sweep as a job of submitit, on Slurm or on this machine; `experiments.submit` makes these.

What submitit does: a job is a pickled callable that its worker loads and calls. Before the call, the worker catches SIGTERM and ignores it,
and catches SIGUSR2, which the scheduler sends some time before the time limit: it then pickles ``checkpoint()`` in place of the
job, requeues the job (``scontrol requeue``; the local executor is told by exit code 144) and exits, wherever the program is.

What we want: both signals let the run save first. So SIGUSR2 is turned into SIGTERM, which the training loop answers by saving and
`Preempted`, and only then submitit requeues. SIGTERM itself has two meanings, and Slurm knows which: a job that is to be preempted is
still running, and if it ends within its time of grace, it is not requeued unless it asks for that; a job that was cancelled, or that
Slurm requeues itself, is not running any more, and is left alone.
"""

import functools
import os
import pathlib
import re
import signal
import subprocess
import sys
from typing import Any, NamedTuple

from experiments import claims, flags
from experiments.config import ExperimentConfig
from experiments.preemption import Preempted, Watch, raise_at_sigterm
from experiments.provenance import record
from experiments.run import train
from experiments.workdir import patiently

# A requeued job may start before the claim of its predecessor, on another machine that has died, is out of date.
_PATIENCE_SECONDS = 2 * claims.STALE_SECONDS


class Job(NamedTuple):
    """Trains one program of a sweep, just as `experiments.sweep` would.

    ``runs`` are names and configs; runs after the first train the same and take its checkpoint.
    """

    command: tuple[str, ...]  # that submitted it, for provenance.json
    directory: str  # of the sweep
    runs: tuple[tuple[str, ExperimentConfig], ...]
    data_dir: str | None
    num_devices: int
    tensorboard: bool

    def __call__(self) -> None:
        """Train to the end; at SIGTERM or before the time limit save and exit."""
        time_is_up = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        requeue = signal.getsignal(time_is_up)
        requeued = []

        def stop_and_requeue(signum, frame):
            requeued.append(signum)
            handler = signal.getsignal(signal.SIGTERM)
            if not (isinstance(handler, Watch) and handler.requested):  # else the loop is about to stop
                signal.raise_signal(signal.SIGTERM)

        signal.signal(time_is_up, stop_and_requeue)
        try:
            with raise_at_sigterm():
                self._train()
        except Preempted as stopped:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print(stopped, file=sys.stderr, flush=True)
            if requeued or _slurm_state() == "RUNNING":
                requeue(time_is_up, None)
            sys.exit(128 + signal.SIGTERM)

    def checkpoint(self) -> Any:
        """What a requeued job runs: the same again, since all that is saved lies in the run's folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self):
        flags.configure_jax()
        directory = pathlib.Path(self.directory)
        patiently(lambda: record(directory, self.command), _PATIENCE_SECONDS)
        for name, config in self.runs:
            source = directory / self.runs[0][0]
            options = {"tensorboard": self.tensorboard, "trained_in": None if directory / name == source else source}
            act = functools.partial(train, config, directory / name, self.data_dir, self.num_devices, **options)
            patiently(act, _PATIENCE_SECONDS)


def _slurm_state() -> str:
    """What Slurm says of this job; empty if it is none of Slurm's, or Slurm does not answer."""
    if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return ""
    command = ["scontrol", "show", "job", "--oneliner", os.environ["SLURM_JOB_ID"]]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\bJobState=(\w+)", shown)
    return found[1] if found else ""
