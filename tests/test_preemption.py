"""SIGTERM: the first one asks for a clean stop, what it interrupts is restored, a driver ends with one line and code 143."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments import preemption
from experiments.preemption import Preempted, raise_at_sigterm, watch_sigterm

ROOT = pathlib.Path(__file__).resolve().parents[1]

DRIVER = """
import sys, time
from experiments import flags, preemption
from experiments.preemption import Preempted, watch_sigterm
preemption._ONE_REQUEST_SECONDS = 1.0

def main():
    with watch_sigterm() as watch:
        print("training", flush=True)
        while not watch.requested:
            time.sleep(0.01)
        print("saved", flush=True)
        slow = sys.stdin.readline() == "slow\\n"
        while slow:  # short sleeps: a signal that comes just before a long one is heard after it
            time.sleep(0.01)
        raise Preempted(7, 9)

flags.run(main)
"""


def test_handlers_are_restored():
    called = []
    before = signal.signal(signal.SIGTERM, lambda *_: called.append(1))
    try:
        with watch_sigterm() as watch:
            assert not watch.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert called == [1]
        with pytest.raises(Preempted, match="^stopped by SIGTERM at step 7 of 9: the same command goes on from there$"):
            with watch_sigterm() as watch:
                os.kill(os.getpid(), signal.SIGTERM)
                assert watch.requested
                raise Preempted(7, 9)
        os.kill(os.getpid(), signal.SIGTERM)
        assert called == [1, 1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_request_is_never_forgotten():
    with pytest.raises(Preempted, match="^stopped by SIGTERM: "), watch_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyError), watch_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_that_gets_lost_is_raised_again(monkeypatch):
    class Dropped:
        def __del__(self):  # what is raised here Python prints and forgets
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(preemption, "_ONE_REQUEST_SECONDS", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    lost = False
    with pytest.raises(Preempted), raise_at_sigterm():
        dropped = Dropped()
        del dropped
        lost = True
        time.sleep(10)
    assert lost and signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_threads_watch_nothing():
    seen = []

    def target():
        with watch_sigterm() as watch:
            seen.append(watch.requested)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert seen == [False] and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("second", [False, True])
def test_a_driver_stops(second):
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=ROOT, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout.readline() == "training\n"
    driver.terminate()
    driver.terminate()  # as Slurm does: the same request
    assert driver.stdout.readline() == "saved\n"
    if second:
        time.sleep(1.1)
        driver.stdin.write("slow\n")
        driver.stdin.flush()
        driver.terminate()
    _, error = driver.communicate(None if second else "go\n", timeout=60)
    if second:
        assert driver.returncode == -signal.SIGTERM
    else:
        assert error == "stopped by SIGTERM at step 7 of 9: the same command goes on from there\n"
        assert driver.returncode == 143
