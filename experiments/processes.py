"""Several processes as one run: they start together, the first one writes, and all decide alike.

With one process each function is its trivial self. All processes must see the same folders. When one dies, the others are ended by
JAX once its heartbeat is missed; started again, the run goes on from its newest checkpoint.
"""

import os
import socket
import sys
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from ebgan_mdn_jax.types import InputError, require
from experiments.workdir import InUse

_HEARTBEAT_SECONDS = 10
_SHUTDOWN_SECONDS = 30
_ERRORS = {error.__name__: error for error in (InputError, InUse)}


def start(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Join the other processes, before anything else is done with JAX.

    Args:
      coordinator: ``host:port`` of the first process; "auto" takes all three values from the cluster's environment (Slurm, Open MPI,
        Kubernetes, TPU pods); None: this is the only process.
      num_processes: how many there are.
      process_id: this one's number, from 0.

    Raises:
      InputError: if the values do not fit together, or no cluster is found.
    """
    given = [
        name for name, value in (("num_processes", num_processes), ("process_id", process_id)) if value is not None
    ]
    if coordinator is None:
        require(
            not given, f"--{given[0] if given else ''} needs --coordinator=host:port, the address of the first process"
        )
        return
    if coordinator == "auto":
        require(not given, f"--coordinator=auto finds the processes itself: leave out --{given[0] if given else ''}")
    else:
        require(len(given) == 2, "--coordinator=host:port needs --num_processes and --process_id too")
        require(process_id < num_processes, f"--process_id={process_id}: counts from 0 to {num_processes - 1}")
        port = coordinator.rpartition(":")[2]
        require(
            ":" in coordinator and port.isdigit() and 0 < int(port) < 2**16,
            f"--coordinator={coordinator}: expected host:port with a port below 65536, or auto",
        )
        if process_id == 0:
            _check_free(coordinator, int(port))
        print(f"process {process_id} of {num_processes}: waiting for all at {coordinator}", flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # it would catch SIGTERM and tell nobody
    try:
        jax.distributed.initialize(
            coordinator if coordinator != "auto" else None,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if coordinator == "auto":
            reason += "; without Slurm, Open MPI or Kubernetes give host:port, --num_processes and --process_id"
        raise InputError(f"--coordinator={coordinator}: cannot join the other processes ({reason})") from error


def _check_free(coordinator: str, port: int) -> None:
    """JAX may crash on a port that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(
                f"--coordinator={coordinator}: port {port} is taken here ({error.strerror}); give another"
            ) from error


def leave(code: int, at_once: bool = False) -> None:
    """Exit with ``code``; ``at_once``, without the usual clean-up, which can crash where a signal interrupted the compiler.

    One of several processes always leaves at once: the clean-up would wait for the others, who wait for this one. They end after a missed
    heartbeat.
    """
    if at_once or jax.process_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def is_first() -> bool:
    """Does this process write?"""
    return jax.process_index() == 0


def log(line: str) -> None:
    """Print a line, once."""
    if is_first():
        print(line, flush=True)


def first_decides(decide: Callable[[], int | None]) -> int:
    """What ``decide`` returns in the first process; its InputError is raised in all of them, with ``agreed`` set."""
    if jax.process_count() == 1:
        return int(decide() or 0)
    value, kind, message = 0, "", ""
    if is_first():
        try:
            value = int(decide() or 0)
        except InputError as error:
            kind, message = type(error).__name__, str(error)
    text = np.frombuffer(f"{value}\n{kind}\n{message}".encode(), np.uint8)
    size = multihost_utils.broadcast_one_to_all(np.int32(text.size))
    text = multihost_utils.broadcast_one_to_all(np.resize(text, int(size)))
    value, kind, message = bytes(text).decode().split("\n", 2)
    if kind:
        error = _ERRORS[kind](message)
        error.agreed = True
        raise error
    return int(value)


def any_process(flag: bool) -> bool:
    """Is ``flag`` set in any process?"""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
