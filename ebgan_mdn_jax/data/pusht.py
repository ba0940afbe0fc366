"""Reads the human demonstrations of Push-T: 206 episodes, 25,650 steps at 10 Hz.

Source: Chi et al. 2023, Diffusion Policy (arXiv 2303.04137), pusht_cchi_v7_replay.zarr, MIT licence; Push-T is from Florence et al. 2021
(arXiv 2109.00137). Read are the state, agent x and y, block x and y in pixels and the block's angle in [0, 2 pi), and the action, the
position that the agent is pulled to; camera images are not. Positions and angle are those that gym-pusht observes. Needs the extra
``pusht`` or ``formats``.
"""

import hashlib
import http.client
import io
import pathlib
import tempfile
import urllib.request
import zipfile
import zlib

import numpy as np

from ebgan_mdn_jax.data import formats
from ebgan_mdn_jax.data.windows import Episode, windows
from ebgan_mdn_jax.types import Batch, InputError, Spec, require

URL = "https://diffusion-policy.cs.columbia.edu/data/training/pusht.zip"
NAME = "pusht_cchi_v7_replay.zarr"
NUM_EPISODES, NUM_STEPS = 206, 25_650
NUM_HELDOUT = 21  # the last episodes
# Of states, actions and lengths as little-endian float32 and int64, so that copies without images do not matter.
VALUES_SHA256 = "a808ebbecb3a6533e37513cf81d4cd432199dd06ff1848f8d27ac8b17f534f62"
SPLITS = ("train", "heldout")
PLACES = (NAME, f"pusht/{NAME}")
_ARRAYS = ("data/state/", "data/action/", "meta/episode_ends/")
_OBS_DIM, _ACTION_DIM = 5, 2


def read(path: pathlib.Path) -> list[Episode]:
    """Episodes of ``obs [T, 5]`` and ``action [T, 2]`` in a folder, verified against the published recording.

    Raises:
      InputError: if it cannot be read, or episodes, steps or values are not those of the recording.
    """
    found, mend = formats.read(path), f"replace it by the original (in {URL})"
    counts = len(found), sum(len(episode.obs) for episode in found)
    require(
        counts == (NUM_EPISODES, NUM_STEPS),
        f"{path}: has {counts[0]} episodes and {counts[1]} steps, expected {NUM_EPISODES} and {NUM_STEPS}; {mend}",
    )
    require(checksum(found) == VALUES_SHA256, f"{path}: has other values than the published recording; {mend}")
    return found


def checksum(found: list[Episode]) -> str:
    """SHA-256 of the values."""
    digest = hashlib.sha256()
    for part in zip(*((episode.obs, episode.action) for episode in found), strict=True):
        digest.update(np.concatenate(part).astype("<f4").tobytes())
    digest.update(np.asarray([len(episode.obs) for episode in found], "<i8").tobytes())
    return digest.hexdigest()


def download() -> list[Episode]:
    """Download the archive, images and all, and `read` its episodes.

    Raises:
      InputError: if it cannot be reached, or is not what it should be.
    """
    mend = f"put {NAME} into a folder and give it by --data_dir"
    try:
        with urllib.request.urlopen(URL, timeout=60) as response:
            archive = response.read()
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(archive)) as opened:
            _unpack(opened, pathlib.Path(folder) / NAME)
            return read(pathlib.Path(folder) / NAME)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"pusht: no local copy, and {URL} cannot be reached ({error}); {mend}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"pusht: {URL} is no archive ({error}); {mend}") from error


def _unpack(archive: zipfile.ZipFile, folder: pathlib.Path) -> None:
    """Write the arrays that are read into ``folder``, and nothing anywhere else, whatever names there are."""
    for entry in archive.infolist():
        _, found, inside = entry.filename.rpartition(f"{NAME}/")
        parts = pathlib.PurePosixPath(inside).parts
        array = inside.startswith(_ARRAYS) and len(parts) == 3
        if found and (array or inside in (".zgroup", "data/.zgroup", "meta/.zgroup")) and ".." not in parts:
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).write_bytes(archive.read(entry))


def to_splits(found: list[Episode], spec: Spec) -> dict[str, Batch]:
    """Windows of all but the last 21 episodes and of those; history and chunk are as long as ``spec`` has room for."""
    shape = spec.obs_dim // _OBS_DIM, spec.action_dim // _ACTION_DIM
    parts = zip(SPLITS, (found[:-NUM_HELDOUT], found[-NUM_HELDOUT:]), strict=True)
    return {
        split: Batch(*map(np.concatenate, zip(*(windows(episode, *shape) for episode in part), strict=True)))
        for split, part in parts
    }
