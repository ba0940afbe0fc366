"""Episodes in HDF5 files of robomimic's layout (Mandlekar et al. 2021, arXiv 2108.03298).

A group ``data/<demonstration>`` for each episode, with ``actions [T, Da]``, observations ``obs/<name> [T, ...]`` and, if there are any,
``rewards [T]``. What a robot sees is the observations of rank 2 side by side, in the order of their names; images, of higher rank, are left
out. Needs the extra "formats".
"""

import pathlib

import numpy as np

from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

SUFFIXES = (".hdf5", ".h5")


def read(path: pathlib.Path, names: tuple[str, ...] = ()) -> list[Episode]:
    """The episodes of a file, by number where names end in one; ``names`` of observations, all that are of rank 2 by default.

    Raises:
      InputError: if the file is missing, damaged, or lacks what it should have.
    """
    import h5py

    require(path.is_file(), f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            require(
                "data" in file and len(file["data"]) > 0, f"{path}: has no episodes; expected groups data/demo_0, ..."
            )
            return [
                _episode(file["data"][name], f"{path}: data/{name}", names) for name in sorted(file["data"], key=_order)
            ]
    except InputError:
        raise
    except Exception as error:  # h5py raises many kinds at damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); copy the file again") from error


def _episode(group, where: str, names: tuple[str, ...]) -> Episode:
    require("actions" in group and "obs" in group, f"{where}: expected actions and obs, found {', '.join(group)}")
    obs = group["obs"]
    names = names or tuple(name for name in sorted(obs) if obs[name].ndim == 2)
    missing = [name for name in names if name not in obs]
    require(not missing, f"{where}: has no observation {', '.join(missing)}; it has {', '.join(obs)}")
    require(bool(names), f"{where}: no observation is of rank 2, [T, numbers]; images are not read")
    action = np.asarray(group["actions"], np.float32)
    parts = [np.asarray(obs[name], np.float32) for name in names]
    for name, part in zip(names, parts, strict=True):
        require(len(part) == len(action), f"{where}: obs/{name} has {len(part)} steps, actions {len(action)}")
    reward = np.asarray(group["rewards"]) if "rewards" in group else None
    return Episode(np.concatenate(parts, axis=1), action, reward)


def _order(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)
