"""Whole sweeps in processes of their own: killed, stopped, and shared by workers."""

import csv
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# 4 programs of 24 members: K x the batch's size, and in each 8 seeds x 3 floors.
SWEEP = (
    "--method=mdn", "--seeds=8", "--steps=640", "--checkpoint_every=48", "--grid=method.generator.num_components=1,2",
    "--grid=train.batch_size=16,32", "--grid=hyper.scale_floor=0.001,0.01,0.1", "--set=data.num_demonstrations=64",
    "--set=evaluation.num_inputs=10", "--set=evaluation.num_quadrature=100", "--set=evaluation.num_draws=20",
    "--set=method.generator.hidden=16", "--preset=small",
)  # fmt: skip


def launch(workdir, data_dir, log):
    command = [sys.executable, "-m", "experiments.sweep", *SWEEP, f"--workdir={workdir}", f"--data_dir={data_dir}"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
    with log.open("a") as file:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir):
    """The sweep's folder when nothing disturbs it."""
    path = tmp_path_factory.mktemp("sweep") / "undisturbed"
    process = launch(path, data_dir, path.with_suffix(".log"))
    assert process.wait(300) == 0, path.with_suffix(".log").read_text()
    return path


def assert_same(path, undisturbed):
    """All numbers but the wall time that training took."""
    assert (path / "table.csv").read_bytes() == (undisturbed / "table.csv").read_bytes()
    ours, theirs = ((folder / "members.csv").read_text().splitlines() for folder in (path, undisturbed))
    timed = [line for line in ours if ",training/seconds," in line]
    assert len(timed) == 96
    assert [line for line in ours if line not in timed] == [line for line in theirs if ",training/seconds," not in line]
    with (path / "table.csv").open() as file:
        lines = {(row["run"], row["hyper"]) for row in csv.DictReader(file) if row["hyper"]}
    assert len(lines) == 12


@pytest.mark.slow
def test_a_sweep_survives_kills_and_sigterm_with_an_identical_table(undisturbed, data_dir, tmp_path):
    """Three SIGKILL and a SIGTERM, each a random while after the sweep has got further than before."""
    assert "96 members in 4 programs, 4 compilations" in undisturbed.with_suffix(".log").read_text()
    path, log = tmp_path / "disturbed", tmp_path / "disturbed.log"
    seed = random.SystemRandom().randrange(2**32)
    print(f"moments from seed {seed}")
    moments = random.Random(seed)
    progress = lambda: len(list(path.glob("*/checkpoints/*/params"))) + 100 * len(list(path.glob("*/results.json")))  # noqa: E731
    for which in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        before, process = progress(), launch(path, data_dir, log)
        deadline = time.monotonic() + 120
        while progress() <= before:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        assert process.poll() is None, "the sweep was over before it could be disturbed"
        process.send_signal(which)
        assert process.wait(60) == (-signal.SIGKILL if which == signal.SIGKILL else 128 + signal.SIGTERM), (
            log.read_text()
        )
    assert re.search(
        r"stopped by SIGTERM(?: at step \d+ of 640)?: the same command goes on from there", log.read_text()
    )
    assert launch(path, data_dir, log).wait(300) == 0, log.read_text()
    assert_same(path, undisturbed)


@pytest.mark.slow
def test_two_workers_share_a_sweep_and_do_no_run_twice(undisturbed, data_dir, tmp_path):
    path, logs = tmp_path / "shared", [tmp_path / "one.log", tmp_path / "two.log"]
    workers = [launch(path, data_dir, log) for log in logs]
    assert [worker.wait(300) for worker in workers] == [0, 0], logs[0].read_text() + logs[1].read_text()
    trained = [log.read_text().count("step 640/640") for log in logs]
    assert sum(trained) == 4 and all(trained)
    assert_same(path, undisturbed)
