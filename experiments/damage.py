"""What becomes of damaged files: 200 copies of one of each format that the library reads, each read anew.

    python -m experiments.damage

Half of the copies have one byte changed, the others are cut short; of formats that are folders one file at random, as often as any other.
Files are written by the libraries whose formats they are. "refused" is one line that says so; "right" is a load with the values of the
whole file, bit for bit, as some bytes do not matter; "shorter" is a load of the first episodes or steps alone, which are right; "wrong" is
a load with other values. Only formats without checksums may have the last one: nothing says that a number in them is not what was
written. "other" is any other exception than `InputError`, or more than one line.

Needs the extras ``formats`` and ``tensorboard``.
"""

import collections
import functools
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ebgan_mdn_jax import policy
from ebgan_mdn_jax.data import npz, replay_zarr, robomimic, tfrecord
from ebgan_mdn_jax.types import InputError
from experiments import run
from experiments.benchmarks import measure
from experiments.config import make_config

LENGTHS = (5, 7)


class Format(NamedTuple):
    """One format: its checksums, whose they are, and how it is written and read."""

    checksums: str
    write: Callable[[pathlib.Path], None]
    read: Callable[[pathlib.Path], Sequence[np.ndarray]]  # what is in the file, in order


def demonstrations() -> list[tuple[np.ndarray, np.ndarray]]:
    """Observations ``[T, 3]`` and actions ``[T, 2]`` of each episode."""
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(t, 3)).astype(np.float32), rng.normal(size=(t, 2)).astype(np.float32)) for t in LENGTHS]


def in_a_row() -> dict[str, np.ndarray]:
    """All episodes one after another, and where each ends."""
    obs, action = (np.concatenate(parts) for parts in zip(*demonstrations(), strict=True))
    return {"obs": obs, "action": action, "episode_ends": np.cumsum(LENGTHS)}


def write_npz(path: pathlib.Path) -> None:
    """As users do."""
    np.savez(path, **in_a_row())


def write_zarr(path: pathlib.Path) -> None:
    """A replay buffer as that of Diffusion Policy."""
    import zarr

    group, names = zarr.open_group(str(path), mode="w", zarr_format=2), {"obs": "data/state", "action": "data/action"}
    for name, values in in_a_row().items():
        group.create_array(names.get(name, f"meta/{name}"), data=values, chunks=(4, *values.shape[1:]))


def write_hdf5(path: pathlib.Path) -> None:
    """As robomimic does, with an image, which is not read."""
    import h5py

    with h5py.File(path, "w") as file:
        for index, (obs, action) in enumerate(demonstrations()):
            demo = file.create_group(f"data/demo_{index + 9}")  # 9 before 10
            demo["actions"] = action.astype(np.float64)
            demo["obs/b"], demo["obs/a"] = obs[:, 1:], obs[:, :1]
            demo["obs/image"] = np.zeros((len(obs), 4, 4, 3), np.uint8)


def write_tfrecord(path: pathlib.Path) -> None:
    """As TF-Agents does, by TensorBoard's writer of records."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("wb") as file:
        writer = RecordWriter(file)
        for obs, action in demonstrations():
            for t in range(len(obs)):
                types = 0 if t == 0 else 1, 2 if t == len(obs) - 1 else 1
                writer.write(_example(obs[t], action[t], float(t), *types))
            writer.write(_example(obs[-1], 0 * action[-1], 0.0, 2, 0))
        writer.flush()


def write_run(path: pathlib.Path) -> None:
    """A trained policy's folder, of which the checkpoint is what is damaged."""
    write_npz(path.with_name("own.npz"))
    settings = ("train.steps=10", "data.heldout_share=0.5", "method.generator.hidden=(8,)")
    config = make_config(str(path.with_name("own.npz")), "mdn", 1, 0, settings, "small")
    run.train(config, path.with_name("run"), log=lambda line: None)
    shutil.copytree(path.with_name("run") / "checkpoints", path)


def _example(obs: np.ndarray, action: np.ndarray, reward: float, step: int, following: int) -> bytes:
    """A ``tf.train.Example``, put together from the wire format."""

    def varint(value):
        out = bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes(out + bytes([value]))

    def field(number, content):
        return varint(number << 3 | 2) + varint(len(content)) + content

    def floats(values):
        return field(2, field(1, np.asarray(values, "<f4").tobytes()))

    def text(value):
        return field(1, field(1, np.int32(value).tobytes()))

    features = {"observation": floats(obs), "action": floats(action), "reward": floats([reward])}
    features |= {"step_type": text(step), "next_step_type": text(following)}
    return field(1, b"".join(field(1, field(1, name.encode()) + field(2, value)) for name, value in features.items()))


def _episodes(read: Callable[[pathlib.Path], Sequence[Any]], path: pathlib.Path) -> list[np.ndarray]:
    return [values for episode in read(path) for values in (episode.obs, episode.action)]


def _acting(path: pathlib.Path) -> list[np.ndarray]:
    """Parameters of a restored policy, and what it does with them: its boxes and normalization."""
    trained = policy.restore(path)
    action = trained.method.act(jax.random.key(0), trained.params, np.zeros((2, 3), np.float32))
    return [np.atleast_1d(leaf) for leaf in (*jax.tree.leaves(trained.params), action)]


FORMATS = {
    "own.npz": Format("zip's CRC-32", write_npz, functools.partial(_episodes, npz.read)),
    "replay.zarr": Format("none", write_zarr, functools.partial(_episodes, replay_zarr.read)),
    "demos.hdf5": Format("none", write_hdf5, functools.partial(_episodes, robomimic.read)),
    "demos.tfrecord": Format("CRC-32C of records", write_tfrecord, functools.partial(_episodes, tfrecord.read)),
    "checkpoints": Format("SHA-256", write_run, _acting),
}


def damage(rng: np.random.Generator, content: bytes) -> bytes:
    """One byte changed, or the end cut off."""
    place = rng.integers(len(content))
    if rng.random() < 0.5:
        return content[:place] + bytes([content[place] ^ rng.integers(1, 256)]) + content[place + 1 :]
    return content[:place]


def outcome(
    read: Callable[[pathlib.Path], Sequence[np.ndarray]], path: pathlib.Path, whole: Sequence[np.ndarray]
) -> str:
    """What reading ``path`` comes to, where ``whole`` is what the undamaged file has."""
    try:
        found = read(path)
    except InputError as error:
        return "other" if "\n" in str(error) else "refused"
    except Exception:  # what must not be
        return "other"
    pairs = list(zip(found, whole, strict=False))
    if len(found) > len(whole) or not all(np.array_equal(ours, right[: len(ours)]) for ours, right in pairs):
        return "wrong"
    lengths = [len(values) for values in whole]
    return "right" if [len(values) for values in found] == lengths else "shorter"


def count(name: str, folder: pathlib.Path, num: int) -> collections.Counter:
    """Outcomes of ``num`` damaged copies of a file of this format, written to ``folder``."""
    (_, write, read), rng = FORMATS[name], np.random.default_rng(0)
    path, copy = folder / name, folder / "copy" / name
    write(path)
    whole, counts = read(path), collections.Counter()
    for _ in range(num):
        shutil.rmtree(copy.parent, ignore_errors=True)
        copy.parent.mkdir()
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        files = sorted(file for file in copy.rglob("*") if file.is_file() and file.stat().st_size) or [copy]
        victim = files[rng.integers(len(files))]
        victim.write_bytes(damage(rng, victim.read_bytes()))
        counts[outcome(read, copy, whole)] += 1
    return counts


def rows(num: int = 200) -> list[dict]:
    """A row per format."""
    table = []
    for name, of_format in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            counts = count(name, pathlib.Path(folder), num)
        outcomes = {how: counts[how] for how in ("refused", "right", "shorter", "wrong", "other")}
        table.append({"file": name, "checksums": of_format.checksums, "copies": num} | outcomes)
    return table


if __name__ == "__main__":
    measure.command("damage", rows)
