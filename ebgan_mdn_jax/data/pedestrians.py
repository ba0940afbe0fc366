"""Reads recordings of pedestrians and cuts them into windows of 8 observed and 12 following steps of 0.4 s.

Sources: ETH and Hotel of Pellegrini et al. (2009, "You'll never walk alone", ICCV), Zara and Students of UCY of Lerner et al. (2007,
"Crowds by example", Computer Graphics Forum 26), as the 8 files ``frame, pedestrian, x, y`` (tabs, metres, 10 frames a step) in the
repository of Trajectron++, which is under the MIT licence; the recordings are for research: cite the sources.

Windows and scenes are those of Social GAN (Gupta et al. 2018, arXiv 1803.10892, and its code): of every 20 successive frames of a file, the
pedestrians that are in all of them, where these are 2 or more. Policies for a scene train on all files of other scenes. ``students001`` and
``students003`` together are "univ"; ``crowds_zara03`` and ``uni_examples`` are of no test scene, and together our "validation". Social GAN
keeps a part of each training file to validate, which we train on.

A row is in the pedestrian's own frame: the last observed position is the origin, and the first axis points from the first one there, if
that is 0.2 m or more. The observation is the 7 earlier positions, oldest first; the action is by how much each of the 12 following ones
differs from where the last observed step, repeated, would lead.
"""

import hashlib
import io
import pathlib
import tempfile
import urllib.request
from collections.abc import Iterable

import numpy as np

from ebgan_mdn_jax.tasks.pedestrians import OBSERVED, PREDICTED, Crowd
from ebgan_mdn_jax.types import Batch, InputError, require

_LEAST_PEDESTRIANS = 2
_LEAST_WAY = 0.2  # metres, below which a pedestrian has no heading
_COMMIT = "40dec06e9cfef9e0d5f5ec69da2c4058a556bba9"
URL = f"https://raw.githubusercontent.com/StanfordASL/Trajectron-plus-plus/{_COMMIT}/experiments/pedestrians/raw/raw/all_data"
FOLDER = "eth_ucy"
# Rows, pedestrians, and SHA-256 of the values as little-endian float64, so that spelling and line ends of other copies do not matter.
FILES = {
    "biwi_eth": (5492, 360, "4b4aed12e3376b3af7f5572ddbbe01df61057b6727f9570ee5a44df9024bd179"),
    "biwi_hotel": (6543, 389, "c847ae42dcff811a7ecc6a14dd11bcd009cadf50d93afa22ab2becb5524b5cb9"),
    "students001": (21813, 415, "8b8c68806ec1227459d1add8995edb26c4747ed80a4f1dc6cc25cb3adf9b3267"),
    "students003": (17953, 434, "30f2f163c5eee34e71b1370416802b269949b97819aee0b9b53d6f24897cdf5c"),
    "crowds_zara01": (5153, 148, "c8e867a71dafe55216bbc3b3dc8f5283ba5b5fb88e413dec49bcbc6611db05ef"),
    "crowds_zara02": (9722, 204, "9886670107129bc2e5089e33a1f939157130fe5089482f4fa917155fee407405"),
    "crowds_zara03": (5005, 137, "51474e06e362cdf928d87957dfbbb7b53d689849383bee22546d6593d8138506"),
    "uni_examples": (2747, 118, "c9d699fed8d23e309bf2aed6b3c897d85710767efe2d55c48bcba497524f405a"),
}
SCENES = {
    "eth": ("biwi_eth",),
    "hotel": ("biwi_hotel",),
    "univ": ("students001", "students003"),
    "zara1": ("crowds_zara01",),
    "zara2": ("crowds_zara02",),
    "validation": ("crowds_zara03", "uni_examples"),
}


def load(scene: str, directory: pathlib.Path | None, cache: pathlib.Path) -> tuple[Batch, Batch, Crowd]:
    """Training rows and held-out rows of one of `SCENES`, ``[rows, D]`` float32, and the crowd around the latter.

    The files are in ``directory`` or its folder ``eth_ucy``; without a ``directory`` in ``cache``, downloaded if they are not there yet.

    Raises:
      InputError: if a file is missing, damaged or another one.
    """
    place = _find(directory) if directory else _download(cache / FOLDER)
    cut = {name: windows(read(place / f"{name}.txt")) for name in FILES}
    heldout = [cut.pop(name) for name in SCENES[scene]]
    return _concatenate(rows for rows, _ in cut.values()), _concatenate(rows for rows, _ in heldout), join(heldout)


def read(path: pathlib.Path) -> np.ndarray:
    """Rows ``[n, 4]`` of frame, pedestrian, x and y, verified; the file's name says which recording it should be.

    Raises:
      InputError: if it cannot be read or is not that recording.
    """
    mend = f"replace it by the original ({URL}/{path.name})"
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {mend}") from error
    num_rows, _, sha256 = FILES[path.stem]
    try:
        values = np.loadtxt(io.StringIO(text), "<f8", delimiter="\t", ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: is not rows of four numbers ({str(error).splitlines()[0]}); {mend}") from error
    require(values.shape == (num_rows, 4), f"{path}: has shape {values.shape}, expected {(num_rows, 4)}; {mend}")
    found = hashlib.sha256(values.tobytes()).hexdigest()
    require(found == sha256, f"{path}: has other values than the published recording; {mend}")
    return values


def windows(values: np.ndarray) -> tuple[Batch, Crowd]:
    """All windows of a recording, by time and then by pedestrian."""
    frames, pedestrians = np.unique(values[:, 0]), np.unique(values[:, 1])
    place = np.searchsorted(frames, values[:, 0]), np.searchsorted(pedestrians, values[:, 1])
    tracks = np.full((len(frames), len(pedestrians), 2), np.nan)
    tracks[place] = values[:, 2:]
    there = np.lib.stride_tricks.sliding_window_view(~np.isnan(tracks[..., 0]), OBSERVED + PREDICTED, axis=0).all(-1)
    there &= np.sum(there, axis=1, keepdims=True) >= _LEAST_PEDESTRIANS
    first, own = np.nonzero(there)
    points = tracks[first[:, None] + np.arange(OBSERVED + PREDICTED), own[:, None]]
    origin = points[:, OBSERVED - 1]
    way = origin - points[:, 0]
    length = np.linalg.norm(way, axis=1, keepdims=True)
    heading = np.where(length >= _LEAST_WAY, way / np.maximum(length, _LEAST_WAY), [1.0, 0.0])
    axes = np.stack([heading, np.stack([-heading[:, 1], heading[:, 0]], axis=1)], axis=1)
    local = np.einsum("bij,btj->bti", axes, points - origin[:, None])
    step = -local[:, OBSERVED - 2]
    action = local[:, OBSERVED:] - np.arange(1, PREDICTED + 1)[None, :, None] * step[:, None]
    batch = Batch(*(part.reshape(len(first), -1).astype(np.float32) for part in (local[:, : OBSERVED - 1], action)))
    present = np.argsort(np.isnan(tracks[..., 0]), axis=1, kind="stable")  # those who are there first
    present = present[:, : np.sum(~np.isnan(tracks[..., 0]), axis=1).max()]
    position = np.take_along_axis(tracks, present[..., None], axis=1)
    pedestrian = np.where(np.isnan(position[..., 0]), -1, present)
    return batch, Crowd(np.nan_to_num(position), pedestrian, first + OBSERVED, own, origin, heading)


def join(parts: Iterable[tuple[Batch, Crowd]]) -> Crowd:
    """One crowd of the windows of several recordings, one after the other."""
    crowds = [crowd for _, crowd in parts]
    most = max(crowd.pedestrian.shape[1] for crowd in crowds)
    starts = np.cumsum([0, *(len(crowd.position) for crowd in crowds)])
    wide = [
        crowd._replace(
            position=np.pad(crowd.position, ((0, 0), (0, most - crowd.position.shape[1]), (0, 0))),
            pedestrian=np.pad(crowd.pedestrian, ((0, 0), (0, most - crowd.pedestrian.shape[1])), constant_values=-1),
            start=crowd.start + start,
        )
        for crowd, start in zip(crowds, starts[:-1], strict=True)
    ]
    joined = Crowd(*(np.concatenate(parts) for parts in zip(*wide, strict=True)))
    return Crowd(*(part.astype(np.float32 if part.dtype.kind == "f" else np.int32) for part in joined))


def _find(directory: pathlib.Path) -> pathlib.Path:
    """The folder with the user's copies."""
    places = directory, directory / FOLDER
    place = next((place for place in places if any((place / f"{name}.txt").is_file() for name in FILES)), None)
    require(
        place is not None,
        f"pedestrians: no {next(iter(FILES))}.txt or {FOLDER}/{next(iter(FILES))}.txt in {directory}; put the {len(FILES)} files there "
        f"({URL}), or leave out --data_dir to download them",
    )
    return place


def _download(folder: pathlib.Path) -> pathlib.Path:
    """The folder, with all files (3 MB); each appears complete."""
    for name in FILES:
        path = folder / f"{name}.txt"
        if path.is_file():
            continue
        mend = f"put the {len(FILES)} files into a folder and give it by --data_dir"
        try:
            with urllib.request.urlopen(f"{URL}/{name}.txt", timeout=20) as response:
                content = response.read()
        except OSError as error:
            raise InputError(
                f"pedestrians: no local copy, and {URL}/{name}.txt cannot be reached ({error}); {mend}"
            ) from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                file.write(content)
            pathlib.Path(file.name).replace(path)
        except OSError as error:
            raise InputError(f"cannot write data to {folder} ({error.strerror}); {mend}") from error
    return folder


def _concatenate(batches: Iterable[Batch]) -> Batch:
    return Batch(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
