"""From a task's name to arrays: find or make the data sets, check them, cut a recording into folds."""

import contextlib
import functools
import hashlib
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ebgan_mdn_jax import normalization, tasks
from ebgan_mdn_jax.data import geyser, lasa, pedestrians, pusht
from ebgan_mdn_jax.tasks import TASKS, Task
from ebgan_mdn_jax.types import Batch, InputError, PyTree, Spec, require, resolve_path

# Where real recordings come from: modules with URL, PLACES (of copies in a data_dir), read(path), download(), to_splits(values, spec) and
# SPLITS: "recording", to be cut into folds, or "train" and "heldout".
RECORDINGS = {"geyser": geyser, "lasa": lasa, **dict.fromkeys(tasks.pusht.VARIANTS, pusht)}
# Recordings with more than rows: functions (data_dir or None, cache) -> train, heldout, context of the latter.
SPLIT_RECORDINGS = {f"pedestrians_{scene}": functools.partial(pedestrians.load, scene) for scene in pedestrians.SCENES}
# What evaluation needs to know of a recording but its rows: functions (train, heldout) -> context of the latter.
CONTEXTS = dict.fromkeys(tasks.pusht.VARIANTS, tasks.pusht.bimodal_neighbourhoods)


class Dataset(NamedTuple):
    """Arrays of one task in data units; leaves are ``[F, rows, D]`` float32. A member uses fold ``seed % F``.

    Folds are the splits of a recording, or data sets of a synthetic task, whose held-out rows are the same.
    """

    train: Batch
    heldout: Batch
    heldout_mask: np.ndarray  # [F, rows]: False where a fold has fewer held-out rows than the largest
    normalization: normalization.Normalization
    spec: Spec
    context: PyTree = ()  # leaves [F, ...]: what else evaluation needs to know of the held-out rows

    @property
    def num_folds(self) -> int:
        """``F``."""
        return self.heldout_mask.shape[0]

    @property
    def num_rows(self) -> int:
        """Training rows of every fold."""
        return self.train.obs.shape[1]


def cache_dir() -> pathlib.Path:
    """Where prepared data sets live by default: ``$XDG_CACHE_HOME/ebgan_mdn_jax``, or under ``~/.cache``."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ebgan_mdn_jax"


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    num_demonstrations: int | None = None,
    draws: Sequence[int] | None = None,
) -> Dataset:
    """Load a task's data, preparing them on first use.

    Synthetic tasks are generated under ``data_dir`` (default `cache_dir`). Real recordings are read from a local copy in ``data_dir``; if
    none is given, they come from an earlier preparation or are downloaded; prepared, they live in `cache_dir`.

    Args:
      name: a key of `TASKS`.
      data_dir: see above.
      num_demonstrations: training rows of a synthetic task; default as in the paper.
      draws: which of a synthetic task's data sets, each drawn on its own, are the folds; default data set 0 alone.

    Raises:
      InputError: if data are missing, damaged or not finite, or the folder cannot be written.
    """
    tasks.require_known(name)
    task = TASKS[name]
    directory = resolve_path(data_dir) if data_dir else None
    context = ()
    if task.demonstrations is None:
        require(
            num_demonstrations in (None, task.num_demonstrations),
            f"data.num_demonstrations={num_demonstrations}: {name} is a recording of {task.num_demonstrations} rows; leave it out",
        )
        require(
            draws is None,
            f"data.redraw=True: {name} is a recording, of which there is one; set data.redraw=False",
        )
        if name in SPLIT_RECORDINGS:
            train, heldout, context = SPLIT_RECORDINGS[name](directory, cache_dir())
            splits = {"train": train, "heldout": heldout}
        else:
            splits = _recording(name, directory)
    else:
        num = task.num_demonstrations if num_demonstrations is None else num_demonstrations
        require(num >= 1, f"data.num_demonstrations={num}: needs at least 1 row")
        draws = (0,) if draws is None else draws
        splits = _synthetic(name, num, directory or cache_dir(), draws)
    for split, batch in splits.items():
        check(batch, task.spec, f"{name} ({split})")
    if name in CONTEXTS:
        with _on_cpu_in_float32():
            context = CONTEXTS[name](**splits)
    if "recording" in splits:
        train, heldout, mask = fold(splits["recording"], task.num_folds)
    else:
        drawn = [batch for split, batch in splits.items() if split != "heldout"]
        train = Batch(*map(np.stack, zip(*drawn, strict=True)))
        heldout = Batch(*(np.stack([x] * len(drawn)) for x in splits["heldout"]))
        mask = np.ones(heldout.obs.shape[:2], bool)
    return Dataset(
        train, heldout, mask, _normalization(task), task.spec, jax.tree.map(lambda leaf: leaf[None], context)
    )


def add_noise(dataset: Dataset, obs_noise: float, action_noise: float) -> Dataset:
    """The data set with Gaussian noise of these standard deviations (data units) added to its training rows, the same ones every time."""
    if obs_noise == action_noise == 0:
        return dataset
    generators = np.random.default_rng(0).spawn(2)  # so that noise on one leaves that on the other as it is
    train = [
        values + np.float32(scale) * generator.standard_normal(values.shape, np.float32)
        for values, scale, generator in zip(dataset.train, (obs_noise, action_noise), generators, strict=True)
    ]
    return dataset._replace(train=Batch(*train))


def fold(rows: Batch, num_folds: int) -> tuple[Batch, Batch, np.ndarray]:
    """Cut ``[rows, D]`` into ``num_folds`` splits, row i being held out in fold ``i % num_folds``.

    All folds get the same shapes: training sets are cut to the smallest one's length (at most one row is left out), held-out sets are
    padded and masked.

    Returns:
      train ``[F, n, D]``, heldout ``[F, m, D]``, mask ``[F, m]``.
    """
    total = rows.obs.shape[0]
    index = np.arange(total)
    held = [index[index % num_folds == f] for f in range(num_folds)]
    kept = [index[index % num_folds != f] for f in range(num_folds)]
    length, width = min(map(len, kept)), max(map(len, held))
    mask = np.stack([np.arange(width) < len(h) for h in held])
    held = np.stack([np.resize(h, width) for h in held])
    kept = np.stack([k[:length] for k in kept])
    return Batch(*(x[kept] for x in rows)), Batch(*(x[held] for x in rows)), mask


def check(batch: Batch, spec: Spec, name: str) -> None:
    """Raise `InputError` unless the arrays have the task's dimensions and are finite."""
    for part, values, dim in (("obs", batch.obs, spec.obs_dim), ("action", batch.action, spec.action_dim)):
        shape = values.shape
        require(len(shape) == 2 and shape[1] == dim, f"{name}: {part} has shape {shape}, expected [rows, {dim}]")
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            row, column = bad[0]
            raise InputError(
                f"{name}: {part} row {row}, column {column} is {values[row, column]}, expected finite numbers; "
                "remove the row or delete the prepared data set so that it is made again"
            )


def _normalization(task: Task) -> normalization.Normalization:
    return normalization.unit_box(task.spec) if task.normalize else normalization.identity(task.spec)


@contextlib.contextmanager
def _on_cpu_in_float32():
    """Whatever the run uses, so that a task's data are the same everywhere."""
    with jax.enable_x64(False), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def _synthetic(name: str, num: int, directory: pathlib.Path, draws: Sequence[int]) -> dict[str, Batch]:
    def make(seed, count):
        with _on_cpu_in_float32():
            return TASKS[name].demonstrations(jax.random.key(seed), count)

    def prepare(draw):
        """Of key 0 with the held-out rows of key 1; further ones of keys 2, 3, ..."""
        splits = {"train": (draw + 1 if draw else 0, num)} | ({} if draw else {"heldout": (1, TASKS[name].num_heldout)})
        label = f"{name}_{num}_{definition}" + (f"_{draw}" if draw else "")
        make_splits = lambda: {split: make(*of) for split, of in splits.items()}  # noqa: E731
        return _prepare(name, label, make_splits, directory, "give another --data_dir", tuple(splits))

    # A few rows tell one definition of a task from another: an edited task does not meet the rows of the old one.
    parts = [np.asarray(leaf).tobytes() for leaf in make(0, 8)]
    if TASKS[name].num_heldout != Task._field_defaults["num_heldout"]:
        parts.append(str(TASKS[name].num_heldout).encode())
    definition = hashlib.sha256(b"".join(parts)).hexdigest()[:8]
    prepared = {draw: prepare(draw) for draw in {0, *draws}}
    return {f"train {draw}": prepared[draw]["train"] for draw in draws} | {"heldout": prepared[0]["heldout"]}


def _recording(name: str, directory: pathlib.Path | None) -> dict[str, Batch]:
    source = RECORDINGS[name]
    places = [directory / place for place in source.PLACES] if directory else []
    local = next((place for place in places if place.exists()), None)
    require(
        directory is None or local is not None,
        f"{name}: no {' or '.join(source.PLACES)} in {directory}; put the recording there ({source.URL}), "
        "or leave out --data_dir to download it",
    )
    # A damaged copy is refused even where a good one was prepared before.
    values = source.read(local) if local else None

    def make_splits():
        return source.to_splits(source.download() if values is None else values, TASKS[name].spec)

    return _prepare(name, name, make_splits, cache_dir(), "set XDG_CACHE_HOME to another folder", source.SPLITS)


def _prepare(
    task: str, name: str, make_splits: Callable, directory: pathlib.Path, mend: str, splits: tuple[str, ...]
) -> dict[str, Batch]:
    """Read ``splits`` of the data set ``name`` under ``directory``, writing it first if it is not there."""
    import tensorflow_datasets as tfds

    from ebgan_mdn_jax.data import builders

    tfds.disable_progress_bar()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise InputError(f"cannot write data to {directory} ({error.strerror}); {mend}") from error
    try:
        config = builders.DemonstrationsConfig(name=name, version="1.0.0", task=task)
        make_builder = functools.partial(
            builders.Demonstrations,
            make_splits=make_splits,
            config=config,
            data_dir=str(directory),
            file_format="array_record",
        )
        builder = make_builder()
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces a download even where it only generates
            try:
                builder.download_and_prepare()
            except FileExistsError:  # another process was faster; a data set appears complete
                builder = make_builder()
        result = {}
        for split in splits:
            source = builder.as_data_source(split=split)
            rows = source.__getitems__(list(range(len(source))))
            result[split] = Batch(*(np.stack([row[part] for row in rows]) for part in Batch._fields))
            if result[split].obs.dtype == object or len(rows) != builder.info.splits[split].num_examples:
                raise ValueError(f"incomplete rows in {split}")  # array_record pads what was cut off
        return result
    except InputError:
        raise
    except Exception as error:  # TFDS and array_record raise many kinds at damaged files
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        folder = directory / builders.Demonstrations.name / name
        raise InputError(f"data in {folder} cannot be read ({reason}); delete that folder, it is made again") from error
