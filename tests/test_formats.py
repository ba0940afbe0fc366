"""Readers of other projects' files: what their own libraries wrote comes back, and damage is told."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from ebgan_mdn_jax.data import formats, replay_zarr, robomimic, tfrecord
from ebgan_mdn_jax.types import InputError

zarr = pytest.importorskip("zarr", reason="extra formats is not installed")
h5py = pytest.importorskip("h5py", reason="extra formats is not installed")

DATA = pathlib.Path(
    os.environ.get("EBGAN_MDN_JAX_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data")
)
NUM_DAMAGED = 200


def recording(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; set EBGAN_MDN_JAX_DATA to the folder of recordings")
    return path


def two_episodes(seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(t, 3)).astype(np.float32), rng.normal(size=(t, 2)).astype(np.float32)) for t in (5, 7)]


def write_zarr(path):
    episodes = two_episodes()
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    obs, action = (np.concatenate(parts) for parts in zip(*episodes, strict=True))
    for name, values in (("data/state", obs), ("data/action", action), ("meta/episode_ends", np.array([5, 12]))):
        group.create_array(name, data=values, chunks=(4, *values.shape[1:]))
    return {"obs": obs, "action": action, "episode_ends": np.array([5, 12])}


def write_hdf5(path):
    with h5py.File(path, "w") as file:
        for index, (obs, action) in enumerate(two_episodes()):
            demo = file.create_group(f"data/demo_{index + 9}")  # 9 before 10
            demo["actions"] = action.astype(np.float64)
            demo["obs/b"], demo["obs/a"] = obs[:, 1:], obs[:, :1]
            demo["obs/image"] = np.zeros((len(obs), 4, 4, 3), np.uint8)


def write_tfrecord(path):
    """With TensorBoard's writer of records and another description of the message."""
    writer_module = pytest.importorskip("tensorboard.summary.writer.record_writer")
    with path.open("wb") as file:
        writer = writer_module.RecordWriter(file)
        for obs, action in two_episodes():
            for t in range(len(obs)):
                types = 0 if t == 0 else 1, 2 if t == len(obs) - 1 else 1
                writer.write(example(obs[t], action[t], float(t), *types))
            writer.write(example(obs[-1], 0 * action[-1], 0.0, 2, 0))
        writer.flush()


def example(obs, action, reward, step, following):
    """The bytes of a ``tf.train.Example``, put together by hand from the wire format."""

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


def assert_episodes(found):
    assert len(found) == 2
    for (obs, action), episode in zip(two_episodes(), found, strict=True):
        np.testing.assert_array_equal(episode.obs, obs)
        np.testing.assert_array_equal(episode.action, action)


def test_hdf5_of_h5py_comes_back(tmp_path):
    write_hdf5(tmp_path / "demos.hdf5")
    assert_episodes(robomimic.read(tmp_path / "demos.hdf5"))
    (first, _) = robomimic.read(tmp_path / "demos.hdf5", ("b",))
    np.testing.assert_array_equal(first.obs, two_episodes()[0][0][:, 1:])
    with pytest.raises(InputError, match="no observation c; it has a, b, image"):
        robomimic.read(tmp_path / "demos.hdf5", ("c",))


def test_zarr_of_zarr_comes_back(tmp_path):
    expected = write_zarr(tmp_path / "replay.zarr")
    for name, values in replay_zarr.arrays(tmp_path / "replay.zarr").items():
        np.testing.assert_array_equal(values, expected[name])


def test_tfrecord_of_another_writer_comes_back(tmp_path):
    write_tfrecord(tmp_path / "demos.tfrecord")
    assert_episodes(tfrecord.read(tmp_path / "demos.tfrecord"))
    assert [episode.reward.sum() for episode in tfrecord.episodes(tmp_path)] == [10, 21]


def test_any_of_them_is_read_by_the_end_of_its_path(tmp_path):
    for name, (write, _) in FORMATS.items():
        write(tmp_path / name)
        digest = formats.checksum(tmp_path / name)
        assert_episodes(formats.read(tmp_path / name, digest))
        with pytest.raises(InputError, match="has changed since training"):
            formats.read(tmp_path / name, digest[::-1])
    before = formats.checksum(tmp_path / "replay.zarr")
    (tmp_path / "replay.zarr/.zgroup").rename(tmp_path / "replay.zarr/zgroup")
    assert formats.checksum(tmp_path / "replay.zarr") != before
    with pytest.raises(InputError, match="a.csv: expected a path that ends in .npz, .zarr"):
        formats.read(tmp_path / "a.csv")


def test_a_reader_that_is_not_installed_is_named(monkeypatch, tmp_path):
    def read(path):
        raise ModuleNotFoundError("No module named 'zarr'", name="zarr")

    monkeypatch.setitem(formats.READERS, ".zarr", read)
    with pytest.raises(InputError, match=r"needs zarr, which is not installed: pip install 'ebgan_mdn_jax\[formats\]'"):
        formats.read(tmp_path / "replay.zarr")


def test_push_t_has_its_206_episodes():
    arrays = replay_zarr.arrays(recording("pusht/pusht_cchi_v7_replay.zarr"))
    assert arrays["obs"].shape == (25650, 5) and arrays["action"].shape == (25650, 2)
    lengths = np.diff(arrays["episode_ends"], prepend=0)
    assert (len(lengths), lengths.min(), lengths.max()) == (206, 49, 246)


@pytest.mark.parametrize(
    ("name", "num_records", "num_episodes", "sizes"),
    [("door-human-v0", 1700, 11, (39, 28)), ("kitchen-complete-v0", 755, 4, (60, 9))],
)
def test_d4rl_samples_have_their_records_and_episodes(name, num_records, num_episodes, sizes):
    folder = recording(f"d4rl/{name}")
    assert sum(1 for file in folder.glob("*.tfrecord") for _ in tfrecord.records(file)) == num_records
    found = tfrecord.episodes(folder)
    assert len(found) == num_episodes and sum(len(e.obs) for e in found) == num_records - num_episodes
    assert (found[0].obs.shape[1], found[0].action.shape[1]) == sizes
    assert all(np.isfinite(e.reward).all() and len(e.reward) == len(e.obs) for e in found)


FORMATS = {
    "demos.tfrecord": (write_tfrecord, tfrecord.read),
    "demos.hdf5": (write_hdf5, robomimic.read),
    "replay.zarr": (write_zarr, replay_zarr.read),
}


def damaged(rng, content):
    """One byte changed, or the end cut off."""
    if rng.random() < 0.5:
        place = rng.integers(len(content))
        return content[:place] + bytes([content[place] ^ rng.integers(1, 256)]) + content[place + 1 :]
    return content[: rng.integers(len(content))]


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_told_or_does_not_matter(name, tmp_path):
    write, read = FORMATS[name]
    whole = tmp_path / name
    write(whole)
    good = read(whole)
    rng, told = np.random.default_rng(0), 0
    for _ in range(NUM_DAMAGED):
        copy = tmp_path / f"copy_{name}"
        if whole.is_dir():
            shutil.copytree(whole, copy)
            files = sorted(path for path in copy.rglob("*") if path.is_file())
            victim = files[rng.integers(len(files))]
        else:
            shutil.copy(whole, copy)
            victim = copy
        victim.write_bytes(damaged(rng, victim.read_bytes()))
        try:
            found = read(copy)
        except InputError as error:
            told += 1
            assert "\n" not in str(error)
        else:
            if name == "demos.tfrecord":  # has checksums, so nothing may be wrong but an episode cut at a record's end
                for a, b in zip(found, good, strict=False):
                    np.testing.assert_array_equal(a.obs, b.obs[: len(a.obs)])
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    assert told > NUM_DAMAGED / 4


@pytest.mark.parametrize(
    ("read", "name", "message"),
    [
        (tfrecord.read, "none.tfrecord", "no .tfrecord file"),
        (robomimic.read, "none.hdf5", "no such file"),
        (replay_zarr.arrays, "none.zarr", "no such folder"),
    ],
)
def test_what_is_not_there_is_told(read, name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


def test_what_is_laid_out_otherwise_is_told(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((2, 2))
    with pytest.raises(InputError, match="demo_0: expected actions and obs, found actions"):
        robomimic.read(tmp_path / "a.hdf5")
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2).create_array(
        "data/action", data=np.zeros((2, 2))
    )
    with pytest.raises(InputError, match="has no obs and no episode_ends"):
        replay_zarr.arrays(tmp_path / "a.zarr")
    write_zarr(tmp_path / "b.zarr")
    (tmp_path / "b.zarr/data/action/1.0").unlink()
    with pytest.raises(InputError, match="1 of 3 pieces of data/action are missing"):
        replay_zarr.arrays(tmp_path / "b.zarr")
