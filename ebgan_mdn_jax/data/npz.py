"""Episodes in this library's own layout, an ``.npz`` of three arrays or four.

``obs [steps, Do]`` and ``action [steps, Da]``, all episodes one after another, and ``episode_ends [episodes]``: the number of steps up to
the end of each, as in Diffusion Policy's replay buffers; where known, ``reward [steps]``. It is read without pickle, and its checksums are
verified.
"""

import io
import pathlib
import zipfile

import numpy as np

from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

SUFFIX = ".npz"
_NEEDED = ("obs", "action", "episode_ends")
_LAYOUT = "expected obs [steps, Do], action [steps, Da] and episode_ends [episodes]"


def read(path: pathlib.Path) -> list[Episode]:
    """The episodes of a file.

    Raises:
      InputError: if it is missing, damaged or not laid out as above.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the {SUFFIX} of your demonstrations"
        ) from error
    arrays = _arrays(content, path)
    return split(*(arrays[name] for name in _NEEDED), str(path), arrays.get("reward"))


def split(
    obs: np.ndarray, action: np.ndarray, ends: np.ndarray, path: str, reward: np.ndarray | None = None
) -> list[Episode]:
    """Episodes of arrays ``[steps, ...]`` that hold one after another, up to ``ends [episodes]``; ``path`` is for messages.

    Raises:
      InputError: if shapes do not fit together or an episode is empty.
    """
    require(
        ends.ndim == 1 and ends.dtype.kind in "iu",
        f"{path}: episode_ends has shape {ends.shape} of {ends.dtype}, expected whole numbers [episodes]",
    )
    for part, values in (("obs", obs), ("action", action)):
        require(values.ndim == 2, f"{path}: {part} has shape {values.shape}, expected [steps, {part} dimensions]")
    require(
        len(obs) == len(action),
        f"{path}: obs has {len(obs)} steps, action {len(action)}; expected one action per observation",
    )
    require(
        len(ends) > 0 and ends[-1] == len(obs),
        f"{path}: episode_ends end at {ends[-1] if len(ends) else 'nothing'}, expected the number of steps, {len(obs)}",
    )
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    wrong = np.flatnonzero(ends.astype(np.int64) <= starts)
    if wrong.size:
        i = wrong[0]
        raise InputError(
            f"{path}: episode {i} is empty or goes back (from step {starts[i]} to {ends[i]}); episode_ends must rise, from above 0"
        )
    steps = [slice(a, b) for a, b in zip(starts, ends.astype(np.int64), strict=True)]
    return [Episode(obs[at], action[at], None if reward is None else reward[at]) for at in steps]


def _arrays(content: bytes, path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays by name; each member is read whole, since only then is its checksum compared."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        arrays = {name: _array(members[name]) for name in (*_NEEDED, "reward") if name in members}
    except Exception as error:  # a damaged archive raises many kinds
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{path}: is not an {SUFFIX} or is damaged ({reason}); save it again by numpy.savez"
        ) from error
    missing = [name for name in _NEEDED if name not in arrays]
    require(
        not missing,
        f"{path}: has no {' and no '.join(missing)}; {_LAYOUT} (found: {', '.join(sorted(members)) or 'nothing'})",
    )
    return arrays


def _array(member: bytes) -> np.ndarray:
    stream = io.BytesIO(member)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):
        raise ValueError("more bytes than the array has")
    return array
