"""Several processes as one run: two real ones with two CPU devices each, over loopback."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from ebgan_mdn_jax.types import InputError
from experiments import processes, run
from experiments.config import make_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = (
    "train.steps=320", "train.checkpoint_every=16", "evaluation.num_inputs=10", "evaluation.num_quadrature=100",
    "evaluation.num_draws=20",
)  # fmt: skip


def start(workdir, data_dir, *flags):
    """Start both processes of one run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "NPROC": "16"}
    command = [
        sys.executable, "-m", "experiments.train", "--task=hyperbola", "--method=mdn", "--seeds=3", "--preset=small",
        f"--workdir={workdir}",
        f"--data_dir={data_dir}", f"--coordinator=127.0.0.1:{port}", "--num_processes=2",
        *(f"--set={setting}" for setting in SETTINGS), *flags,
    ]  # fmt: skip
    workdir.parent.mkdir(parents=True, exist_ok=True)
    started = []
    for index in range(2):
        with (workdir.parent / f"{workdir.name}-{index}.log").open("w") as log:
            one = [*command, f"--process_id={index}"]
            started.append(subprocess.Popen(one, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT))
    return started


def finish(started, workdir):
    logs = [workdir.parent / f"{workdir.name}-{index}.log" for index in range(2)]
    codes = [process.wait(180) for process in started]
    assert codes == [0, 0], "\n".join(log.read_text()[-2000:] for log in logs)
    return [log.read_text() for log in logs]


def wait_for_checkpoint(path, started, step):
    deadline = time.monotonic() + 120
    while not any(e.name.isdigit() and int(e.name) >= step for e in (path / "checkpoints").glob("*")):
        assert all(process.poll() is None for process in started) and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """The same run in this process, on one device."""
    path = tmp_path_factory.mktemp("processes") / "alone"
    run.train(make_config("hyperbola", "mdn", 3, 0, SETTINGS, "small"), path, str(data_dir), log=lambda line: None)
    return path


@pytest.mark.slow
def test_two_processes_are_one_run_and_survive_a_kill(alone, data_dir, tmp_path):
    """Three members over four devices: trained to the same bits as in one process, disturbed or not, and only the first process writes."""
    path = tmp_path / "two"
    first, second = finish(start(path, data_dir), path)
    assert "step 320/320" in first and "step" not in second
    assert (path / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    results, expected = (json.loads((folder / "results.json").read_text()) for folder in (path, alone))
    assert results["training"] == expected["training"] and results["members"] == expected["members"]
    for name, values in expected["metrics"].items():
        assert results["metrics"][name] == pytest.approx(values, rel=1e-5), name
    undisturbed = path
    first, second = finish(start(path, data_dir), path)  # the same command again
    assert "is finished" in first and "is finished" not in second

    path = tmp_path / "killed"
    started = start(path, data_dir)
    wait_for_checkpoint(path, started, 48)
    started[1].send_signal(signal.SIGKILL)
    assert started[0].wait(60) != 0  # ended by the missed heartbeat
    assert not (path / "results.json").exists()
    first, _ = finish(start(path, data_dir), path)
    assert "resuming" in first
    for name in ("results.json", "metrics.jsonl"):
        assert (path / name).read_bytes() == (undisturbed / name).read_bytes()


@pytest.mark.slow
def test_sigterm_to_one_process_stops_both_at_the_same_step(alone, data_dir, tmp_path):
    path = tmp_path / "stopped"
    started = start(path, data_dir)
    wait_for_checkpoint(path, started, 16)
    started[1].send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in started] == [143, 143]
    lines = [
        re.findall(r"stopped by SIGTERM at step \d+ of 320", log.read_text()) for log in sorted(tmp_path.glob("*.log"))
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 1
    finish(start(path, data_dir), path)
    assert (path / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_minibatches_are_shared_across_processes(alone, data_dir, tmp_path):
    """Two by two devices: members and minibatches at once, up to the order of sums."""
    path = tmp_path / "shared"
    finish(start(path, data_dir, "--parallel=shard_map", "--batch_devices=2"), path)
    rows = [[json.loads(line) for line in (p / "metrics.jsonl").read_text().splitlines()] for p in (path, alone)]
    np.testing.assert_allclose(rows[0][0]["nll"], rows[1][0]["nll"], rtol=1e-5)
    np.testing.assert_allclose(rows[0][-1]["nll"], rows[1][-1]["nll"], rtol=0.05)


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_both_with_the_same_line(data_dir, tmp_path):
    path = tmp_path / "strangers"
    path.mkdir()
    (path / "thesis.tex").write_text("x")
    started = start(path, data_dir)
    assert [process.wait(120) for process in started] == [2, 2]
    for index in range(2):
        text = (tmp_path / f"strangers-{index}.log").read_text()
        assert text.count("holds other files (thesis.tex)") == 1 and "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 2, None), "--num_processes needs --coordinator=host:port"),
        (("auto", 2, None), "--coordinator=auto finds the processes itself: leave out --num_processes"),
        (("localhost:1", None, 0), "needs --num_processes and --process_id too"),
        (("localhost:1", 2, 2), "--process_id=2: counts from 0 to 1"),
        (("localhost", 2, 0), "--coordinator=localhost: expected host:port"),
        (("localhost:99999", 2, 0), "with a port below 65536, or auto"),
        (("auto", None, None), "--coordinator=auto: cannot join the other processes"),
    ],
)
def test_flags_that_do_not_fit_together(arguments, message):
    with pytest.raises(InputError) as error:
        processes.start(*arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_one_process_is_the_first_and_decides():
    assert processes.is_first() and processes.any_process(True) and not processes.any_process(False)
    assert processes.first_decides(lambda: 7) == 7
    with pytest.raises(InputError, match="no"):
        processes.first_decides(lambda: (_ for _ in ()).throw(InputError("no")))
