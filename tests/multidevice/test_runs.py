"""Runs on 1, 2 and 4 devices: the same numbers, and checkpoints that move between them."""

import shutil

import numpy as np
import pytest

from experiments import program, run
from experiments.config import make_config


def small_run(parallel, batch_devices=0, num_seeds=3):
    overrides = [
        "train.steps=24", "train.checkpoint_every=8", f"train.parallel={parallel}", f"train.batch_devices={batch_devices}",
        "data.num_demonstrations=64", "evaluation.num_inputs=5", "evaluation.num_quadrature=50", "evaluation.num_draws=20",
    ]  # fmt: skip
    return make_config("hyperbola", "mdn", num_seeds, 0, overrides, "small")


def cut_back(path, again, step):
    """A copy of a finished run as it was at ``step``."""
    shutil.copytree(path, again)
    (again / "results.json").unlink()
    for checkpoint in (again / "checkpoints").iterdir():
        if checkpoint.name.isdigit() and int(checkpoint.name) > step:
            shutil.rmtree(checkpoint)


def test_a_run_is_the_same_on_one_two_and_four_devices_and_moves_between_them(tmp_path):
    """Three members: on two and on four devices copies fill the gap, and checkpoints hold none of them."""
    config, lines, data_dir = small_run("seeds"), [], str(tmp_path / "data")
    results = [run.train(config, tmp_path / str(n), data_dir, n, log=lines.append) for n in (1, 2, 4)]
    for other in results[1:]:
        assert other["training"] == results[0]["training"]
        for name, values in results[0]["metrics"].items():
            assert other["metrics"][name] == pytest.approx(values, rel=1e-5), name
    for start, end in ((1, 4), (4, 2), (2, 1)):
        again = tmp_path / f"{start}-{end}"
        cut_back(tmp_path / str(start), again, 16)
        assert run.train(config, again, data_dir, end, log=lines.append)["training"] == results[0]["training"]
        assert lines[-2].startswith("resuming") and lines[-2].endswith("at step 16")


@pytest.mark.parametrize(("parallel", "batch_devices"), [("pmap", 0), ("shard_map", 0), ("shard_map", 2)])
def test_a_run_with_shared_minibatches_agrees_with_one_device_and_resumes(parallel, batch_devices, tmp_path):
    """Up to the order of sums, so only the first steps are compared."""
    config, lines, data_dir = small_run(parallel, batch_devices), [], str(tmp_path / "data")
    whole = run.train(small_run("seeds"), tmp_path / "1", data_dir, 1, log=lines.append)
    split = run.train(config, tmp_path / "4", data_dir, log=lines.append)
    np.testing.assert_allclose(whole["training"]["nll"], split["training"]["nll"], rtol=1e-3)
    cut_back(tmp_path / "4", tmp_path / "again", 16)
    assert run.train(config, tmp_path / "again", data_dir, log=lines.append) == split


@pytest.mark.parametrize(
    ("parallel", "batch_devices", "batch_size", "num_members", "num_devices", "expected"),
    [
        ("seeds", 0, 32, 6, 0, (4, 1)), ("seeds", 0, 32, 2, 0, (2, 1)), ("seeds", 0, 32, 1, 3, (3, 1)),
        ("pmap", 0, 32, 1, 0, (1, 4)), ("shard_map", 0, 9, 1, 0, (1, 3)), ("shard_map", 2, 32, 5, 0, (2, 2)),
        ("shard_map", 2, 32, 1, 0, (1, 2)), ("shard_map", 0, 32, 5, 2, (1, 2)),
    ],
)  # fmt: skip
def test_devices_that_have_something_to_do(parallel, batch_devices, batch_size, num_members, num_devices, expected):
    overrides = [f"train.parallel={parallel}", f"train.batch_devices={batch_devices}", f"train.batch_size={batch_size}"]
    layout = program.choose_layout(make_config("hyperbola", "mdn", 1, 0, overrides), num_members, num_devices)
    assert (layout.member_devices, layout.batch_devices) == expected
