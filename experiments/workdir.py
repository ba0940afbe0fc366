"""A run's folder: what lies in it, who owns it, and writes that are either complete or absent."""

import contextlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np

from ebgan_mdn_jax.types import InputError, require, resolve_path
from experiments import claims
from experiments import config as configs

# Entries that any folder of ours may hold: claims, the job scheduler's files of a sweep, what NFS keeps of deleted open files.
_COMMON = (claims.PREFIX, ".submitit", ".nfs")


# What to do about a damaged file.
_MENDS = {
    "config.json": 'restore it from a copy; the checkpoints hold another, as "config" in checkpoints/<step>/config',
    "results.json": "delete it and give experiments.train the same command, which evaluates again",
}


class InUse(InputError):
    """Another process works in the folder."""


class Workdir:
    """``config.json``, ``metrics.jsonl``, ``timing.jsonl``, ``checkpoints/``, ``arrays.npz`` and, once finished, ``results.json``."""

    def __init__(self, path: str | os.PathLike):
        self.path = resolve_path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.timing = self.path / "timing.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.arrays = self.path / "arrays.npz"
        self.results = self.path / "results.json"
        self.tensorboard = self.path / "tensorboard"
        self._claim: claims.Claim | None = None

    def finished(self, config: dict[str, Any]) -> bool:
        """Does the folder hold the finished run of ``config``?

        Raises:
          InputError: if it holds something else.
        """
        self._check(config)
        return self.results.exists()

    @contextlib.contextmanager
    def claimed(self, config: dict[str, Any]) -> Iterator[None]:
        """Own the folder for ``config`` while the context lasts; see `claims` for what happens when the process dies or is paused.

        Raises:
          InUse: if another process works in it; the folder stays as it was.
          InputError: if it cannot be written, holds something else, or is lost to another process before the context ends.
        """
        make_folder(self.path)
        with owned(self.path) as claim:
            self._check(config)
            if not self.config.exists():
                write_json(self.config, config)
            self._claim = claim
            try:
                yield
            finally:
                self._claim = None

    def check_claim(self) -> None:
        """To be called before each write of who owns the folder: raises within `claimed` if it is lost, else does nothing."""
        if self._claim is not None:
            self._claim.check()

    def _check(self, config: dict[str, Any]) -> None:
        if not self.config.exists():
            refuse_strangers(self.path, ())
            return
        theirs = read_json(self.config)
        require(
            isinstance(theirs, dict) and all(isinstance(theirs.get(part), dict) for part in ("train", "data")),
            f"{self.config} is not a config of this library: give another --workdir",
        )
        different = configs.differences(configs.identity(config), configs.identity(theirs))
        require(
            not different,
            f"workdir {self.path} holds a run of another config: {'; '.join(_first(different))}; "
            "give another --workdir or the same settings",
        )

    def adopt(self, other: "Workdir") -> None:
        """Take over what another folder's finished run trained.

        Raises:
          InputError: if that is not there any more.
        """
        require(
            other.checkpoints.is_dir() and other.metrics.is_file(),
            f"{other.path} is finished but its checkpoints are gone: delete its results.json, so that it trains again",
        )
        self.check_claim()
        copy = self.path / "checkpoints.tmp"
        for leftover in (copy, self.checkpoints):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copyfile(other.metrics, self.metrics)
        if other.timing.is_file():
            shutil.copyfile(other.timing, self.timing)
        shutil.copytree(other.checkpoints, copy)
        os.replace(copy, self.checkpoints)
        if other.tensorboard.is_dir():
            shutil.copytree(other.tensorboard, self.tensorboard, dirs_exist_ok=True)

    def keep_rows_until(self, step: int) -> None:
        """Drop logged rows after ``step``: a resumed run logs them again."""
        self.check_claim()
        for path in (self.metrics, self.timing):
            kept = [line for line in _read_lines(path) if line["step"] <= step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Add one line."""
        self._append(self.metrics, row)

    def append_seconds(self, step: int, seconds: float) -> None:
        """Note the wall time that training took up to ``step``, all launches together."""
        self._append(self.timing, {"step": step, "seconds": round(seconds, 3)})

    def read_seconds(self) -> float | None:
        """Wall time of the training so far; None if it was not noted."""
        rows = _read_lines(self.timing)
        return rows[-1]["seconds"] if rows else None

    def _append(self, path: pathlib.Path, row: dict[str, Any]) -> None:
        self.check_claim()
        with path.open("a") as file:
            file.write(json.dumps(strict(row)) + "\n")


def _first(different: list[str]) -> list[str]:
    """The differences to show: of task and method alone, if there are any, as all others follow from them."""
    return [line for line in different if line.startswith(("task_name", "method_name"))] or different[:3]


def _read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """All complete lines; one that a killed process left unfinished is skipped."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def patiently(act: Callable[[], Any], seconds: float) -> Any:
    """Call ``act`` until it finds its folder free; after ``seconds`` of `InUse` that is raised."""
    until = time.monotonic() + seconds
    while True:
        try:
            return act()
        except InUse as error:
            if time.monotonic() > until:
                raise
            print(error, flush=True)
            time.sleep(2.0)


@contextlib.contextmanager
def owned(path: pathlib.Path) -> Iterator[claims.Claim]:
    """Own a folder, as `claims.claimed` does, with errors for people.

    Raises:
      InUse: if another process owns it.
      InputError: if it cannot be claimed, or is lost.
    """
    try:
        with claims.claimed(path) as claim:
            yield claim
    except claims.ClaimError as error:
        kind = InUse if isinstance(error, claims.InUse) else InputError
        raise kind(f"workdir {path} {error}") from error


def make_folder(path: pathlib.Path) -> None:
    """Make a folder that can be written.

    Raises:
      InputError: if that fails.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, suffix=".tmp"):
            pass
    except OSError as error:
        raise InputError(f"workdir {path} cannot be written ({error.strerror}): give another --workdir") from error


def refuse_strangers(path: pathlib.Path, ours: Collection[str]) -> None:
    """Raise `InputError` if a folder, which need not exist yet, holds entries other than ``ours``."""
    entries = path.iterdir() if path.is_dir() else ()
    names = [entry.name for entry in entries if not entry.name.startswith(_COMMON)]
    strangers = sorted(name for name in names if name not in ours and not name.endswith(".tmp"))
    require(
        not strangers, f"workdir {path} holds other files ({', '.join(strangers[:3])}): give an empty or new folder"
    )


def read_json(path: pathlib.Path) -> Any:
    """Read JSON, or say which file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist: give the --workdir of a run") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the file and its permissions") from error
    except ValueError as error:
        mend = _MENDS.get(path.name, "restore it from a copy")
        raise InputError(f"{path} cannot be read ({error}): {mend}") from error


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write strict JSON atomically; non-finite numbers become null."""
    write_text(path, json.dumps(strict(value), indent=1) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text file atomically."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an ``.npz`` atomically."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    os.replace(temporary, path)


def strict(value: Any) -> Any:
    """The same JSON data with None for numbers that JSON cannot express."""
    if isinstance(value, dict):
        return {name: strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return strict(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
