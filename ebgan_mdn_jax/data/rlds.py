"""Episodes in RLDS (Ramos et al. 2021, arXiv 2111.02767): a TFDS data set whose examples are episodes with a data set of ``steps``.

``observation`` and ``action`` of a step are arrays or dictionaries of them, by any names. What a robot sees or does is their numbers and
arrays of rank 1 side by side, in the order of their names; images and texts are left out. A ``reward`` is a number. By the standard the
action and the reward of a step that ``is_last`` mean nothing, so such steps are left out, with any reward that they have. The path is the
folder of a version, such as ``mine/1.0.0``, and the files are in array_record's format, which TFDS reads without TensorFlow.
"""

import json
import pathlib
import re
from typing import Any

import numpy as np

from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

VERSION = re.compile(r"\d+\.\d+\.\d+")
_FEATURES = "tensorflow_datasets.core.features."


def read(path: pathlib.Path) -> list[Episode]:
    """The episodes of all splits, in the order of their names.

    Raises:
      InputError: if the data set is missing, damaged, of another file format, or lacks what it should have.
    """
    import tensorflow_datasets as tfds

    require((path / "features.json").is_file(), f"{path}: there is no TFDS data set; expected features.json in it")
    try:
        _require_plain(json.loads((path / "features.json").read_text()), path)
        builder = tfds.builder_from_directory(path)
        splits = [builder.as_data_source(split=name) for name in sorted(builder.info.splits)]
        return [
            _episode(example, f"{path}: episode {i}") for i, example in enumerate(e for split in splits for e in split)
        ]
    except InputError:
        raise
    except Exception as error:  # TFDS raises many kinds at damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); expected RLDS episodes as array_record files") from error


def _require_plain(features: Any, path: pathlib.Path) -> None:
    """Raise `InputError` unless all features are TFDS's own: it would import the modules of others."""
    if isinstance(features, dict):
        name = features.get("pythonClassName", _FEATURES)
        require(str(name).startswith(_FEATURES), f"{path}: features.json names {name}, expected TFDS's own features")
        features = features.values()
    if not isinstance(features, str | int | float | bool | None):
        for part in features:
            _require_plain(part, path)


def _episode(example: dict[str, Any], where: str) -> Episode:
    require("steps" in example, f"{where}: expected steps, found {', '.join(sorted(example))}")
    steps = [step for step in example["steps"] if not step.get("is_last", False)]
    require(len(steps) > 0, f"{where}: has no step but the last one, whose action means nothing")
    for name in ("observation", "action"):
        require(name in steps[0], f"{where}: steps have no {name}; they have {', '.join(sorted(steps[0]))}")
    obs, action = (
        np.stack([_flat(step[name], f"{where}: {name}") for step in steps]) for name in ("observation", "action")
    )
    known = all(np.asarray(step.get("reward", "")).dtype.kind in "fiub" for step in steps)
    return Episode(obs, action, np.asarray([step["reward"] for step in steps]) if known else None)


def _flat(values: Any, where: str) -> np.ndarray:
    """The numbers of a step's observation or action, in float32."""
    parts = [values[name] for name in sorted(values)] if isinstance(values, dict) else [values]
    parts = [np.asarray(part) for part in parts]
    parts = [np.atleast_1d(part).astype(np.float32) for part in parts if part.ndim <= 1 and part.dtype.kind in "fiub"]
    require(len(parts) > 0, f"{where}: has no numbers and no arrays of rank 1")
    return np.concatenate(parts)
