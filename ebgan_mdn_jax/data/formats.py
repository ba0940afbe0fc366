"""Demonstrations in any layout that has a reader, by the end of their path: the library's own `.npz`, and those of other projects."""

import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence

from ebgan_mdn_jax.data import npz, replay_zarr, rlds, robomimic, tfrecord
from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

READERS: dict[str, Callable[[pathlib.Path], list[Episode]]] = {
    npz.SUFFIX: npz.read,
    replay_zarr.SUFFIX: replay_zarr.read,
    **dict.fromkeys(robomimic.SUFFIXES, robomimic.read),
    tfrecord.SUFFIX: tfrecord.read,
}
EXPECTED = (
    f"a path that ends in {', '.join(READERS)}, or the folder of a version of an RLDS data set, such as mine/1.0.0"
)
_EXTRA = "pip install 'ebgan_mdn_jax[formats]'"


def has_reader(path: str | os.PathLike) -> bool:
    """Whether the end of the path says how to read it."""
    return _reader(pathlib.Path(path)) is not None


def read(path: str | os.PathLike, sha256: str | None = None) -> list[Episode]:
    """The episodes at ``path``.

    Raises:
      InputError: if its layout has no reader or the reader needs the extra "formats", if it is missing, damaged or laid out otherwise, or
        if it has another checksum than ``sha256``.
    """
    require(has_reader(path), f"{path}: expected {EXPECTED}")
    if sha256 is not None:
        found = checksum(path)
        require(
            found == sha256,
            f"{path}: has changed since training (sha256 {found[:12]}..., expected {sha256[:12]}...); restore it, or train again",
        )
    try:
        return _reader(pathlib.Path(path))(pathlib.Path(path))
    except ImportError as error:
        raise InputError(f"{path}: reading it needs {error.name}, which is not installed: {_EXTRA}") from error


def checksum(path: str | os.PathLike) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder.

    Raises:
      InputError: if it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        return _of_folder(path, sorted(file for file in path.rglob("*") if file.is_file()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of your demonstrations") from error


def _reader(path: pathlib.Path) -> Callable[[pathlib.Path], list[Episode]] | None:
    return rlds.read if rlds.VERSION.fullmatch(path.name) else READERS.get(path.suffix)


def _of_folder(folder: pathlib.Path, files: Sequence[pathlib.Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        of_file = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(folder).as_posix()} {of_file}\n".encode())
    return digest.hexdigest()
