"""Episodes in the replay buffers of Diffusion Policy (Chi et al. 2023, arXiv 2303.04137), zarr folders such as that of Push-T.

``data/action [steps, Da]``, ``data/state`` or ``data/obs [steps, Do]``, and ``meta/episode_ends [episodes]``, the number of steps up to the
end of each episode. Other arrays, such as images and rewards, are left unread. Needs the extra "formats".
"""

import pathlib

import numpy as np

from ebgan_mdn_jax.data import npz
from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

SUFFIX = ".zarr"


def read(path: pathlib.Path) -> list[Episode]:
    """The episodes of a folder.

    Raises:
      InputError: as `arrays`, or if shapes do not fit together.
    """
    found = arrays(path)
    return npz.split(found["obs"], found["action"], found["episode_ends"], str(path))


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """``obs``, ``action`` and ``episode_ends``.

    Raises:
      InputError: if the folder is missing, damaged or laid out otherwise. Chunks that are missing count as zeros in zarr: here as damage.
    """
    import zarr

    require(path.is_dir(), f"{path}: there is no such folder; give the unpacked {SUFFIX} folder")
    try:
        group = zarr.open_group(str(path), mode="r")
        obs = next((name for name in ("data/state", "data/obs") if name in group), None)
        names = {"obs": obs, "action": "data/action", "episode_ends": "meta/episode_ends"}
        missing = [name for name, at in names.items() if at is None or at not in group]
        require(
            not missing,
            f"{path}: has no {' and no '.join(missing)}; expected data/state, data/action, meta/episode_ends",
        )
        for at in names.values():
            array = group[at]
            chunks = array.nchunks_initialized, array.nchunks
            require(
                chunks[0] == chunks[1],
                f"{path}: {chunks[1] - chunks[0]} of {chunks[1]} pieces of {at} are missing; copy it again",
            )
        return {name: np.asarray(group[at][:]) for name, at in names.items()}
    except InputError:
        raise
    except Exception as error:  # zarr and its codecs raise many kinds at damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); copy the folder again") from error
