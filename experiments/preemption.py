"""A clean stop at SIGTERM, which clusters send before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Preempted(Exception):
    """A run has saved its state and stopped, as SIGTERM asked."""

    def __init__(self, step: int | None = None, num_steps: int | None = None):
        where = "" if step is None else f" at step {step} of {num_steps}"
        super().__init__(f"stopped by SIGTERM{where}: the same command goes on from there")


class Watch:
    """``requested`` becomes True when SIGTERM arrives."""

    requested = False


@contextlib.contextmanager
def watch_sigterm() -> Iterator[Watch]:
    """While the context lasts, the first SIGTERM only sets ``requested``; a second one ends the process as it does by default.

    Python delivers signals to the main thread alone: in other threads nothing is caught.

    Raises:
      Preempted: at the end of the context, if a request came too late to be answered within.
    """
    watch = Watch()

    def handle(signum, frame):
        watch.requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)
    if watch.requested:
        raise Preempted
