"""Event files are read back with TensorBoard's own reader."""

import importlib.util
import resource

import numpy as np
import pytest
from absl import flags as absl_flags

from ebgan_mdn_jax.types import InputError
from experiments import events, sweep, train

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the extra tensorboard"
)


def read(folder):
    """{tag: [(step, value)]} as TensorBoard shows it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def rows(steps, scale=1.0):
    """Two members' infos at each step: member i has nll = scale * step + i."""
    return {step: {"nll": scale * step + np.arange(2.0), "alpha": np.full(2, 0.5)} for step in steps}


def launch(directory, first_step, infos, labels=("seed 0", "seed 1")):
    write = events.writer(directory, labels, first_step)
    for step, info in infos.items():
        write(step, info)


@needs_tensorboard
def test_every_member_has_its_curves(tmp_path):
    launch(tmp_path / "tensorboard", 0, rows([10, 20]))
    folders = sorted((tmp_path / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["seed_0", "seed_1"]
    for index, folder in enumerate(folders):
        assert read(folder) == {
            "nll": [(10, 10.0 + index), (20, 20.0 + index)],
            "alpha": [(10, 0.5), (20, 0.5)],
        }


@needs_tensorboard
def test_resuming_neither_doubles_nor_drops_rows(tmp_path):
    launch(tmp_path, 0, rows([10, 20, 30]))
    launch(tmp_path, 20, rows([30, 40], scale=2.0))  # killed after step 30, with a checkpoint at 20
    assert read(tmp_path / "seed_0")["nll"] == [(10, 10.0), (20, 20.0), (30, 60.0), (40, 80.0)]
    launch(tmp_path, 30, {})  # killed before its first row
    assert [step for step, _ in read(tmp_path / "seed_1")["nll"]] == [10, 20, 30]
    launch(tmp_path, 0, rows([15]))  # from the start again
    assert read(tmp_path / "seed_1")["nll"] == [(15, 16.0)]


@needs_tensorboard
def test_a_record_cut_short_hides_nothing_else(tmp_path):
    launch(tmp_path, 0, rows([10, 20]))
    (file,) = (tmp_path / "seed_0").iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # killed while it wrote the last row
    launch(tmp_path, 10, rows([20, 30]))
    assert [step for step, _ in read(tmp_path / "seed_0")["nll"]] == [10, 20, 30]


@needs_tensorboard
def test_each_row_is_on_disk_at_once_and_nothing_stays_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    labels = [f"seed {i}" for i in range(300)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, hard), hard))  # fewer handles than members
    try:
        write = events.writer(tmp_path, labels, 0)
        write(5, {"nll": np.arange(300.0)})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(tmp_path / "seed_299") == {"nll": [(5, 299.0)]}


@needs_tensorboard
def test_values_that_are_not_finite_are_kept(tmp_path):
    launch(tmp_path, 0, {10: {"nll": np.array([np.nan, np.inf])}})
    assert np.isnan(read(tmp_path / "seed_0")["nll"][0][1]) and np.isinf(read(tmp_path / "seed_1")["nll"][0][1])


@needs_tensorboard
def test_labels_become_folders(tmp_path):
    launch(tmp_path, 0, rows([1]), ["seed 0, learning_rate=0.01", "../up"])
    assert {path.name for path in tmp_path.iterdir()} == {"seed_0,_learning_rate=0.01", ".._up"}
    with pytest.raises(InputError, match="two members share a label"):
        events.writer(tmp_path / "new", ["seed 0", "seed_0"], 0)
    assert not (tmp_path / "new").exists()


def test_without_a_directory_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    launch(None, 0, rows([10]))
    assert not list(tmp_path.iterdir())


def test_extra_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ebgan_mdn_jax\[tensorboard\]'"):
        events.writer(tmp_path / "tensorboard", ["seed 0"], 0)
    assert not list(tmp_path.iterdir())


def test_training_drivers_know_the_flag():
    assert all("tensorboard" in [flag.name for flag in driver.USED] for driver in (train, sweep))
    assert absl_flags.FLAGS["tensorboard"].default is False
