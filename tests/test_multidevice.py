"""Runs `tests/multidevice` in a process with 4 CPU devices."""

import os
import pathlib
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_multidevice_suite():
    # NPROC widens XLA's thread pool, without which collectives deadlock on few cores.
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "NPROC": "16", "JAX_PLATFORMS": "cpu"}
    folder = pathlib.Path(__file__).parent / "multidevice"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1800)
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
