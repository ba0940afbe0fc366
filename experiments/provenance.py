"""Where numbers come from: command, code and hardware, recorded beside the runs of a sweep."""

import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax

from experiments.workdir import owned, read_json, write_json

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def record(directory: pathlib.Path, command: Sequence[str] | None = None) -> None:
    """Write ``provenance.json``, or add this launch to it where another commit or machine already worked on the sweep.

    Args:
      directory: of the sweep.
      command: that people gave; None: the one that started this process.
    """
    path, ours = directory / "provenance.json", launch()
    if command is not None:
        ours["command"] = shlex.join(command)
    with owned(directory):
        launches = read_json(path)["launches"] if path.exists() else []
        if ours not in launches:
            write_json(path, {"launches": [*launches, ours]})


def launch() -> dict[str, Any]:
    """Command, commit, hardware and versions of this process."""
    return {
        "command": shlex.join(command_line()),
        "commit": _commit(),
        "hardware": f"{_cpu()}, {os.cpu_count()} cores; {len(jax.devices())} x {jax.devices()[0].device_kind}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def command_line() -> list[str]:
    """What started this process."""
    spec = sys.modules["__main__"].__spec__  # None unless started by python -m
    return ["python", "-m", spec.name, *sys.argv[1:]] if spec else ["python", *sys.argv]


def published(command: str) -> str:
    """The command as others can give it: where recordings lie on this machine (``--data_dir``) is not told."""
    words = shlex.split(command)
    for index, word in enumerate(words):
        if word.lstrip("-") == "data_dir" and index + 1 < len(words):
            words[index + 1] = "FOLDER"
        elif word.lstrip("-").startswith("data_dir="):
            words[index] = "--data_dir=FOLDER"
    return shlex.join(words)


def _commit() -> str:
    """The checkout's commit, with "-dirty" if code was not committed; "unknown" outside a checkout."""
    root = pathlib.Path(__file__).resolve().parents[1]

    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        code = git("status", "--porcelain", "--", "ebgan_mdn_jax", "experiments", ":!experiments/results")
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if code else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
