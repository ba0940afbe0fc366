"""A clean stop at SIGTERM, which clusters send before they take a machine away."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

# Slurm sends SIGTERM to a process and once more through srun: signals so close together count as one.
_ONE_REQUEST_SECONDS = 5.0


class Preempted(BaseException):
    """Stopped as SIGTERM asked, with all that is worth it saved.

    Like KeyboardInterrupt no `Exception`, so that nobody takes it for a damaged file. ``agreed``: all processes of a run raise it.
    """

    def __init__(self, step: int | None = None, num_steps: int | None = None):
        self.agreed = step is not None
        where = "" if step is None else f" at step {step} of {num_steps}"
        super().__init__(f"stopped by SIGTERM{where}: the same command goes on from there")


class Watch:
    """A handler of SIGTERM; ``requested`` becomes True when it arrives."""

    requested = False

    def __call__(self, signum, frame):
        """Take note; somebody who asks again after some seconds does not want to wait."""
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
        elif time.monotonic() - self._since > _ONE_REQUEST_SECONDS:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def raise_at_sigterm() -> Iterator[None]:
    """While the context lasts, SIGTERM raises `Preempted`, wherever the program is: for all but training, which has something to save.

    An exception can get lost, as Python drops one that is raised in a finaliser or a callback of the garbage collector. So it is raised
    again every few seconds until the context ends. In other threads than the main one nothing is caught.
    """

    def stop(signum, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may be sent twice
        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, _ONE_REQUEST_SECONDS)
        raise Preempted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGALRM)]
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in previous:
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def watch_sigterm() -> Iterator[Watch]:
    """While the context lasts, the first SIGTERM only sets ``requested``; one that is sent later again ends the process at once.

    Python delivers signals to the main thread alone: in other threads nothing is caught.

    Raises:
      Preempted: at the end of the context, if a request came too late to be answered within.
    """
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    previous = signal.signal(signal.SIGTERM, watch)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)
    if watch.requested:
        raise Preempted
