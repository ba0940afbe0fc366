"""Readers of other projects' files: what their own libraries wrote comes back, and what is not there or otherwise is told."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ebgan_mdn_jax.data import formats, replay_zarr, rlds, robomimic, tfrecord
from ebgan_mdn_jax.types import InputError
from experiments import damage

zarr = pytest.importorskip("zarr", reason="extra formats is not installed")
h5py = pytest.importorskip("h5py", reason="extra formats is not installed")

DATA = pathlib.Path(
    os.environ.get("EBGAN_MDN_JAX_DATA", pathlib.Path(__file__).resolve().parents[2] / "shared" / "data")
)


def recording(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; set EBGAN_MDN_JAX_DATA to the folder of recordings")
    return path


def assert_episodes(found):
    assert len(found) == 2
    for (obs, action), episode in zip(damage.demonstrations(), found, strict=True):
        np.testing.assert_array_equal(episode.obs, obs)
        np.testing.assert_array_equal(episode.action, action)


def test_hdf5_of_h5py_comes_back(tmp_path):
    damage.write_hdf5(tmp_path / "demos.hdf5")
    assert_episodes(robomimic.read(tmp_path / "demos.hdf5"))
    (first, _) = robomimic.read(tmp_path / "demos.hdf5", ("b",))
    np.testing.assert_array_equal(first.obs, damage.demonstrations()[0][0][:, 1:])
    with pytest.raises(InputError, match="no observation c; it has a, b, image"):
        robomimic.read(tmp_path / "demos.hdf5", ("c",))


def test_rewards_of_hdf5_come_back(tmp_path):
    h5py = pytest.importorskip("h5py")
    damage.write_hdf5(tmp_path / "demos.hdf5")
    assert all(episode.reward is None for episode in robomimic.read(tmp_path / "demos.hdf5"))
    with h5py.File(tmp_path / "demos.hdf5", "a") as file:
        for group in file["data"].values():
            group["rewards"] = np.arange(len(group["actions"]), dtype=np.float32)
    for episode in robomimic.read(tmp_path / "demos.hdf5"):
        np.testing.assert_array_equal(episode.reward, np.arange(len(episode.obs)))


def test_zarr_of_zarr_comes_back(tmp_path):
    damage.write_zarr(tmp_path / "replay.zarr")
    for name, values in replay_zarr.arrays(tmp_path / "replay.zarr").items():
        np.testing.assert_array_equal(values, damage.in_a_row()[name])


def test_tfrecord_of_another_writer_comes_back(tmp_path):
    damage.write_tfrecord(tmp_path / "demos.tfrecord")
    assert_episodes(tfrecord.read(tmp_path / "demos.tfrecord"))
    assert [episode.reward.sum() for episode in tfrecord.read(tmp_path)] == [10, 21]


def rlds_dataset(folder, observation, action, steps, **others):
    """A data set of two episodes written by TFDS; ``steps(episode)`` are its steps."""

    class Mine(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        url_infos = {}

        def _info(self):
            last = tfds.features.Scalar(np.bool_)
            step = {"observation": observation, "action": action, "is_last": last, **others}
            features = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(step)})
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {
                "train": (
                    (index, {"steps": list(steps(episode))}) for index, episode in enumerate(damage.demonstrations())
                )
            }

        def _generate_examples(self):
            raise NotImplementedError

    builder = Mine(data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)


def test_rlds_of_tfds_comes_back(tmp_path):
    """Arrays, and dictionaries with an image and a text; the last step, whose action means nothing, is left out."""
    tensor, text = tfds.features.Tensor, tfds.features.Text()

    def steps(episode):
        obs, action = (np.concatenate([part, part[-1:]]) for part in episode)
        return [
            {"observation": o, "action": a, "is_last": t == len(obs) - 1}
            for t, (o, a) in enumerate(zip(obs, action, strict=True))
        ]

    path = rlds_dataset(
        tmp_path / "plain", tensor(shape=(3,), dtype=np.float32), tensor(shape=(2,), dtype=np.float32), steps
    )
    assert path.name == "1.0.0"
    assert_episodes(formats.read(path, formats.checksum(path)))

    def named(episode):
        for step in steps(episode):
            seen, done = step["observation"], step["action"]
            others = {"camera": np.zeros((2, 2, 3), np.uint8), "said": "go"}
            yield step | {
                "reward": seen[0],
                "action": {"b": done[1], "a": done[0]},
                "observation": {"z": seen[1:], "joint": seen[0], **others},
            }

    scalar = tfds.features.Scalar(np.float32)
    observation = {
        "z": tensor(shape=(2,), dtype=np.float32),
        "joint": scalar,
        "said": text,
        "camera": tensor(shape=(2, 2, 3), dtype=np.uint8),
    }
    path = rlds_dataset(tmp_path / "named", observation, {"a": scalar, "b": scalar}, named, reward=scalar)
    assert_episodes(formats.read(path))
    for episode in formats.read(path):
        np.testing.assert_array_equal(episode.reward, episode.obs[:, 0])
    features = (path / "features.json").read_text()
    (path / "features.json").write_text(
        features.replace("tensorflow_datasets.core.features.text_feature.Text", "evil.Text")
    )
    with pytest.raises(InputError, match="names evil.Text, expected TFDS's own"):
        formats.read(path)


def test_any_of_them_is_read_by_the_end_of_its_path(tmp_path):
    for name in ("demos.tfrecord", "demos.hdf5", "replay.zarr"):
        damage.FORMATS[name].write(tmp_path / name)
        digest = formats.checksum(tmp_path / name)
        assert_episodes(formats.read(tmp_path / name, digest))
        with pytest.raises(InputError, match="has changed since training"):
            formats.read(tmp_path / name, digest[::-1])
    before = formats.checksum(tmp_path / "replay.zarr")
    (tmp_path / "replay.zarr/.zgroup").rename(tmp_path / "replay.zarr/zgroup")
    assert formats.checksum(tmp_path / "replay.zarr") != before
    with pytest.raises(InputError, match="a.csv: expected a path that ends in .npz, .zarr.* mine/1.0.0"):
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
    found = tfrecord.read(folder)
    assert len(found) == num_episodes and sum(len(e.obs) for e in found) == num_records - num_episodes
    assert (found[0].obs.shape[1], found[0].action.shape[1]) == sizes
    assert all(np.isfinite(e.reward).all() and len(e.reward) == len(e.obs) for e in found)


@pytest.mark.parametrize(
    ("read", "name", "message"),
    [
        (tfrecord.read, "none.tfrecord", "no .tfrecord file"),
        (robomimic.read, "none.hdf5", "no such file"),
        (replay_zarr.arrays, "none.zarr", "no such folder"),
        (rlds.read, "1.0.0", "no TFDS data set; expected features.json"),
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
    damage.write_zarr(tmp_path / "b.zarr")
    (tmp_path / "b.zarr/data/action/1.0").unlink()
    with pytest.raises(InputError, match="1 of 3 pieces of data/action are missing"):
        replay_zarr.arrays(tmp_path / "b.zarr")
