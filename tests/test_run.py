"""Runs from the command line: end to end, cut and resumed, and refused with one clear line."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags as absl_flags

from ebgan_mdn_jax.data import load
from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.training.members import init_states
from experiments import evaluate, evaluation, export, flags, publish, report, run, simulate, sweep, train
from experiments.config import make_config, to_json
from experiments.program import build
from experiments.workdir import Workdir, strict

SMALL = ("evaluation.num_inputs=20", "evaluation.num_quadrature=200", "evaluation.num_draws=50")
TINY_NETWORK = (
    "method.generator.hidden=8",
    "method.energy_hidden=8",
    "method.num_negatives=4",
    "method.energy_steps=2",
)


USED = {driver.main: driver.USED for driver in (train, evaluate, export, simulate, sweep, report, publish)}


def small_config(method="mdn", seeds=2, task="hyperbola", steps=40, overrides=()):
    return make_config(
        task, method, seeds, 0, (f"train.steps={steps}", "train.checkpoint_every=16", *SMALL, *overrides), "small"
    )


def call(main, *argv):
    """Run a driver's main as the command line would; returns the exit code."""
    absl_flags.FLAGS.unparse_flags()
    for name in absl_flags.FLAGS:
        absl_flags.FLAGS[name].unparse()
    before = sys.argv
    sys.argv = ["driver", *argv]
    try:
        with pytest.raises(SystemExit) as stopped:
            flags.run(main, *USED[main])
        return stopped.value.code or 0
    finally:
        sys.argv = before


def read_rows(directory):
    """The logged rows of a `Workdir`."""
    return [json.loads(line) for line in directory.metrics.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_dir):
    """A finished run of two MDN seeds."""
    path = tmp_path_factory.mktemp("runs") / "mdn"
    run.train(small_config(), path, str(data_dir), log=lambda line: None)
    return path


def test_a_run_leaves_what_the_readme_says(trained):
    assert {entry.name for entry in trained.iterdir()} == {
        "config.json", "metrics.jsonl", "timing.jsonl", "checkpoints", "arrays.npz", "results.json",
    }  # fmt: skip
    results = json.loads((trained / "results.json").read_text())
    assert [member["seed"] for member in results["members"]] == [0, 1]
    assert {"tmc@S=10,tau=0.05", "kl", "heldout_nll", "precision", "w1"} <= set(results["metrics"])
    for name, values in results["metrics"].items():
        assert len(values) == 2
        assert results["statistics"][0]["metrics"][name]["mean"] == pytest.approx(np.mean(values))
    assert results["ceiling"]["kl"]["mean"] == pytest.approx(0.0, abs=1e-3)
    rows = read_rows(Workdir(trained))
    assert [row["step"] for row in rows] == [16, 32, 40]
    assert 0 < Workdir(trained).read_seconds() < 600
    with np.load(trained / "arrays.npz") as arrays:
        assert arrays["samples"].shape == (2, 20, 100, 1)


def test_a_seed_finds_its_own_data_set_wherever_the_seeds_begin(data_dir):
    overrides = ("data.redraw=True", "data.num_demonstrations=30")
    first, later = (
        build(make_config("lines", "mdn", num, start, overrides), str(data_dir)) for num, start in ((4, 0), (3, 2))
    )
    for run_ in (first, later):
        for seed, fold in zip(run_.members.seed, run_.folds, strict=True):
            expected = load("lines", data_dir, 30, draws=(seed,)).train.action[0]
            np.testing.assert_array_equal(run_.dataset.train.action[fold], expected)


def test_intervals_are_over_all_seeds_even_if_each_has_its_own_data(data_dir, tmp_path):
    """Strata are folds of a recording; a stratum per data set would leave nothing to resample."""
    config = small_config(seeds=3, steps=4, overrides=("data.redraw=True", "data.num_demonstrations=30"))
    results = run.train(config, tmp_path / "redrawn", str(data_dir), log=lambda line: None)
    for summary in (results["statistics"][0]["metrics"]["heldout_nll"], results["ceiling"]["w1"]):
        assert summary["low"] < summary["mean"] < summary["high"]


@pytest.mark.parametrize(("task", "length"), [("two_link", 3), ("three_link", 2)])
def test_figures_of_an_arm_show_arms(task, length, data_dir):
    """There is no grid of actions to draw over; demonstrations shown are those nearest to the target."""
    config = small_config(task=task, steps=4, overrides=("data.num_demonstrations=64", *TINY_NETWORK[:1]))
    program = build(config, str(data_dir))
    params = init_states(program.method, program.members.seed).train.params
    arrays = evaluation._figure_arrays(program, params)
    assert arrays["samples"].shape == (2, 20, 64, program.task.spec.action_dim) and "means" in arrays
    assert not {"actions", "energy", "log_prob"} & arrays.keys()
    np.testing.assert_array_equal(arrays["obs"], arrays["train_obs"])  # of more rows, 100
    chosen = np.linspace(0, 63, 6).astype(int)
    np.testing.assert_array_equal(arrays["arm_targets"], arrays["obs"][chosen])
    heading = np.cumsum(arrays["samples"][:, :, chosen], axis=-1)
    tip = length * np.stack([np.cos(heading).sum(-1), np.sin(heading).sum(-1)], -1)
    np.testing.assert_allclose(arrays["arm_samples"][..., -1, :], tip, atol=1e-4)
    demonstrated = arrays["arm_demonstrations"][..., -1, :]  # [M, T, 2], the nearest first
    np.testing.assert_allclose(demonstrated[0], arrays["arm_targets"], atol=1e-4)
    distance = np.linalg.norm(demonstrated - arrays["arm_targets"], axis=-1)
    every = np.linalg.norm(arrays["obs"][:, None] - arrays["arm_targets"], axis=-1)
    np.testing.assert_allclose(distance, np.sort(every, axis=0)[:4], atol=1e-4)


def test_evaluate_repeats_the_numbers_from_the_checkpoint_alone(trained, data_dir, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(trained, path)
    expected = (path / "results.json").read_bytes()
    for name in ("results.json", "metrics.jsonl", "arrays.npz"):
        (path / name).unlink()
    assert call(evaluate.main, f"--workdir={path}", f"--data_dir={data_dir}") == 0
    assert (path / "results.json").read_bytes() == expected


def test_evaluate_with_another_inference_writes_nothing(trained, data_dir):
    before = (trained / "results.json").read_bytes()
    results = evaluation.evaluate(
        trained, str(data_dir), ("method.sample_by=component_mean", "evaluation.num_samples=3")
    )
    assert "tmc@S=3,tau=0.05" in results["metrics"] and "kl" not in results["metrics"]
    assert results["metrics"]["mode_distance"][0] >= 0
    assert (trained / "results.json").read_bytes() == before


def test_evaluate_keeps_the_settings_of_the_run_and_does_not_disturb_it(data_dir, tmp_path):
    path = tmp_path / "run"
    run.train(small_config(overrides=("evaluation.num_samples=4",)), path, str(data_dir), log=lambda line: None)
    leftover = path / "checkpoints" / "99.orbax-checkpoint-tmp"
    leftover.mkdir()
    results = evaluation.evaluate(path, str(data_dir), ("method.sample_by=mode",))
    assert "tmc@S=4,tau=0.05" in results["metrics"]
    assert leftover.exists()


def test_a_finished_run_is_not_trained_again(trained, data_dir):
    stamp = (trained / "results.json").stat().st_mtime_ns
    lines = []
    run.train(small_config(), trained, str(data_dir), log=lines.append)
    assert lines == [f"{trained} is finished"]
    assert (trained / "results.json").stat().st_mtime_ns == stamp


def test_a_seed_alone_gives_the_numbers_it_has_in_company(trained, data_dir, tmp_path):
    config = make_config("hyperbola", "mdn", 1, 1, ("train.steps=40", "train.checkpoint_every=16", *SMALL), "small")
    alone = run.train(config, tmp_path / "alone", str(data_dir), log=lambda line: None)
    together = json.loads((trained / "results.json").read_text())
    # Training to the bit; short loops of evaluation are unrolled, and so compiled to other, equally good, sums.
    assert {name: values[1:] for name, values in together["training"].items()} == alone["training"]
    for name, values in together["metrics"].items():
        assert values[1:] == pytest.approx(alone["metrics"][name], rel=1e-5), name


def test_hyperparameter_lists_become_members(data_dir, tmp_path):
    config = small_config(overrides=("hyper.learning_rate=0,0.01", "method.generator.hidden=8"))
    results = run.train(config, tmp_path / "grid", str(data_dir), log=lambda line: None)
    assert [(m["seed"], m["hyper"]["learning_rate"]) for m in results["members"]] == [
        (0, 0.0), (1, 0.0), (0, pytest.approx(0.01)), (1, pytest.approx(0.01)),
    ]  # fmt: skip
    assert [entry["hyper"]["learning_rate"] for entry in results["statistics"]] == [0.0, pytest.approx(0.01)]
    nll = results["metrics"]["heldout_nll"]
    assert nll[2] < nll[0] and nll[3] < nll[1]  # at rate 0 nothing is learned


def test_old_faithful_uses_all_folds_and_minutes(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = small_config("mdn", seeds=10, task="geyser", steps=160, overrides=("hyper.learning_rate=0.005",))
    results = run.train(config, tmp_path / "geyser", str(recordings), log=lambda line: None)
    # The best single Gaussian for all durations has deviation 1.15 minutes, so 1.56 nats.
    assert all(value < 1.5 for value in results["metrics"]["heldout_nll"])
    assert all(value < 30.0 for value in results["metrics"]["short_share[40,60)"])
    assert results["ceiling"] is None
    # Intervals are resampled within folds: seed i holds out fold i % 5.
    expected = statistics.summarize(results["metrics"]["heldout_nll"], np.arange(10) % 5)
    assert results["statistics"][0]["metrics"]["heldout_nll"] == pytest.approx(expected)


def test_a_run_judged_from_another_ones_training_is_as_if_it_had_trained(trained, data_dir, tmp_path):
    config = small_config(overrides=("method.sample_by=mode", "evaluation.num_samples=4"))
    lines = []
    borrowed = run.train(config, tmp_path / "borrowed", str(data_dir), log=lines.append, trained_in=trained)
    assert not any("step" in line for line in lines)
    own = run.train(config, tmp_path / "own", str(data_dir), log=lines.append)
    assert borrowed == own
    assert {entry.name for entry in (tmp_path / "borrowed").iterdir()} == {entry.name for entry in trained.iterdir()}
    assert call(evaluate.main, f"--workdir={tmp_path / 'borrowed'}", f"--data_dir={data_dir}") == 0


def test_tensorboard_gets_a_folder_per_member_and_changes_no_number(trained, data_dir, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    results = run.train(small_config(), tmp_path / "run", str(data_dir), log=lambda line: None, tensorboard=True)
    assert results == json.loads((trained / "results.json").read_text())
    folders = {path.parent.name for path in (tmp_path / "run" / "tensorboard").glob("*/events.*")}
    assert folders == {"seed_0", "seed_1"}


def test_every_interval_is_logged_whether_it_is_saved_or_not(data_dir, tmp_path):
    config = small_config(overrides=("train.log_every=8", "train.checkpoint_every=20"))
    run.train(config, tmp_path / "run", str(data_dir), log=lambda line: None)
    rows = read_rows(Workdir(tmp_path / "run"))
    assert [row["step"] for row in rows] == [8, 16, 24, 32, 40]
    assert len({tuple(row["nll"]) for row in rows}) == 5


def test_help_lists_the_flags_of_the_driver(capsys):
    assert call(evaluate.main, "--help") == 0
    printed = capsys.readouterr().out
    assert "--workdir: " in printed and "--method" not in printed


def test_another_checkpoint_interval_resumes_the_run(trained, data_dir, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(trained, path)
    (path / "results.json").unlink()
    shutil.rmtree(path / "checkpoints" / "40")
    config = small_config(overrides=("train.checkpoint_every=7",))
    assert run.train(config, path, str(data_dir), log=lambda line: None) == json.loads(
        (trained / "results.json").read_text()
    )


class TestBadInput:
    """One line on stderr that says what and how to mend it, exit code not 0, and nothing written."""

    def refused(self, capsys, main, *argv):
        code = call(main, *argv)
        captured = capsys.readouterr().err.strip()
        assert code not in (0, None)
        assert len(captured.splitlines()) == 1 and captured.startswith("error: "), captured
        return captured

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--task=hyperbole", "value should be one of"),
            ("--method=gan", "value should be one of"),
            ("--seeds=0", "a positive integer"),
            ("--seeds=-2", "a positive integer"),
            ("--seeds=two", "flag --seeds=two"),
            ("--steps=0", "a positive integer"),
            ("--nonsense=1", "Unknown command line flag 'nonsense'"),
            ("stray", "unexpected argument 'stray'"),
            ("--set=method.bogus=1", "no such path; valid ones are"),
            ("--set=train.batch_size=many", "expected a value of type int"),
            ("--num_devices=999", "this machine has"),
            ("--first_seed=3000000000", "seeds end at 2147483647"),
            ("--config=quickstart", "--config has no meaning here"),
            ("--set=data.num_demonstrations=0", "needs at least 1 row"),
        ],
    )
    def test_wrong_flags(self, capsys, tmp_path, data_dir, argument, message):
        workdir = tmp_path / "run"
        error = self.refused(capsys, train.main, f"--workdir={workdir}", f"--data_dir={data_dir}", argument)
        assert message in error
        assert not workdir.exists()

    def test_sweeps(self, capsys, tmp_path, data_dir):
        assert "--config is missing" in self.refused(capsys, sweep.main)
        argv = ("--config=quickstart", f"--data_dir={data_dir}")
        (tmp_path / "thesis.tex").write_text("x")
        assert "holds other files (thesis.tex)" in self.refused(capsys, sweep.main, *argv, f"--workdir={tmp_path}")
        below = f"--workdir={tmp_path}/thesis.tex/x"
        assert "give another --workdir" in self.refused(capsys, sweep.main, *argv, below)
        error = self.refused(capsys, sweep.main, *argv, f"--workdir={tmp_path}/new", "--set=hyper.scale_floor=1")
        assert error.startswith("error: run hyperbola-explicit_bc: --set=hyper.scale_floor=")
        assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]

    def test_reports(self, capsys, tmp_path):
        assert "--workdir is missing" in self.refused(capsys, report.main)
        assert "no results.json" in self.refused(capsys, report.main, f"--workdir={tmp_path}")

    def test_workdir_in_use(self, capsys, tmp_path, data_dir):
        workdir = tmp_path / "run"
        config = to_json(make_config("hyperbola", "ebgan_mdn"))
        with Workdir(workdir).claimed(config):
            error = self.refused(capsys, train.main, f"--workdir={workdir}", f"--data_dir={data_dir}")
        assert f"in use by process {os.getpid()} on " in error
        assert {entry.name for entry in workdir.iterdir()} == {"config.json"}

    def test_workdir_that_cannot_be_made(self, capsys, tmp_path, data_dir):
        (tmp_path / "file").write_text("x")
        argv = (f"--workdir={tmp_path}/file/run", f"--data_dir={data_dir}", "--steps=1")
        assert "give another --workdir" in self.refused(capsys, train.main, *argv)

    def test_foreign_workdir_is_left_alone(self, capsys, tmp_path, data_dir):
        (tmp_path / "thesis.tex").write_text("x")
        argv = (f"--workdir={tmp_path}", f"--data_dir={data_dir}", "--steps=1")
        assert "holds other files (thesis.tex)" in self.refused(capsys, train.main, *argv)
        assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--method=explicit_bc", 'method_name is "explicit_bc" here and "mdn" there; give another'),
            ("--seeds=3", "num_seeds is 3 here and 2 there"),
            ("--set=method.generator.num_components=7", "method.generator.num_components is 7 here and 3 there"),
        ],
    )
    def test_workdir_of_another_run(self, capsys, trained, data_dir, argument, message):
        before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
        argv = [
            "--task=hyperbola",
            "--method=mdn",
            "--preset=small",
            "--seeds=2",
            "--steps=40",
            "--checkpoint_every=16",
        ]
        argv += [f"--set={override}" for override in SMALL] + [f"--workdir={trained}", f"--data_dir={data_dir}"]
        error = self.refused(capsys, train.main, *argv, argument)
        assert "holds a run of another config" in error and message in error
        assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*")}

    def test_checkpoint_of_another_run(self, capsys, trained, data_dir, tmp_path):
        path = tmp_path / "mixed"
        shutil.copytree(trained, path)
        config = json.loads((path / "config.json").read_text())
        config["num_seeds"] = 5
        (path / "config.json").write_text(json.dumps(config))
        error = self.refused(capsys, evaluate.main, f"--workdir={path}", f"--data_dir={data_dir}")
        assert "checkpoint and config.json are of different runs" in error

    def test_evaluate_needs_a_finished_run(self, capsys, tmp_path, trained, data_dir):
        assert "--workdir is missing" in self.refused(capsys, evaluate.main)
        assert "does not exist" in self.refused(capsys, evaluate.main, f"--workdir={tmp_path}/none")
        error = self.refused(capsys, evaluate.main, f"--workdir={trained}", "--set=method.generator.num_components=9")
        assert "evaluation may only change" in error

    def test_damaged_config(self, capsys, trained, data_dir, tmp_path):
        path = tmp_path / "damaged"
        shutil.copytree(trained, path)
        (path / "config.json").write_text('{"task_name": "hyper')
        assert "config.json cannot be read" in self.refused(capsys, evaluate.main, f"--workdir={path}")

    def test_missing_and_truncated_recordings(self, capsys, recordings, tmp_path):
        workdir, folder = tmp_path / "run", tmp_path / "data"
        folder.mkdir()
        argv = ("--task=geyser", f"--workdir={workdir}", f"--data_dir={folder}")
        assert "no geyser.csv" in self.refused(capsys, train.main, *argv)
        text = (recordings / "geyser" / "geyser.csv").read_text()
        (folder / "geyser.csv").write_text(text[: len(text) // 2])
        assert "geyser.csv: " in self.refused(capsys, train.main, *argv)
        (folder / "geyser.csv").write_text(text.replace("80,4.0166667", "80,nan"))
        assert "row 1 is not finite" in self.refused(capsys, train.main, *argv)
        assert not workdir.exists()


def test_strict_json_has_no_nan():
    assert strict({"a": [1.0, float("nan")], "b": np.float64("inf"), "c": np.arange(2)}) == {
        "a": [1.0, None], "b": None, "c": [0, 1],
    }  # fmt: skip


def test_metrics_of_a_killed_process_are_cut_to_the_checkpoint(tmp_path):
    directory = Workdir(tmp_path)
    for step in (10, 20, 30):
        directory.append_metrics({"step": step, "nll": np.asarray([1.0, np.nan])})
        directory.append_seconds(step, 0.5 * step)
    with directory.metrics.open("a") as file:
        file.write('{"step": 40, "nl')
    directory.keep_rows_until(20)
    assert read_rows(directory) == [{"step": step, "nll": [1.0, None]} for step in (10, 20)]
    assert directory.read_seconds() == 10.0


def test_seconds_add_up_over_launches_and_folders_may_be_named_after_settings(data_dir, tmp_path):
    """Cut off after its checkpoint at step 32, when an hour had passed."""
    path = tmp_path / "hyperbola-mdn-obs_noise=0.05,alpha=1"
    config = small_config(overrides=("data.obs_noise=0.05", "train.checkpoint_every=16"))
    run.train(config, path, str(data_dir), log=lambda line: None)
    expected = (path / "results.json").read_bytes()
    shutil.rmtree(path / "checkpoints" / "40")
    for name in ("results.json", "arrays.npz"):
        (path / name).unlink()
    (path / "timing.jsonl").write_text('{"step": 32, "seconds": 3600.0}\n{"step": 40, "seconds": 9000.0}\n')
    run.train(config, path, str(data_dir), log=lambda line: None)
    assert (path / "results.json").read_bytes() == expected
    assert 3600 < Workdir(path).read_seconds() < 4200


def test_a_member_that_diverges_is_frozen_named_and_has_no_metrics(data_dir, tmp_path):
    lines = []
    config = small_config(overrides=("hyper.learning_rate=0.001,1e30",))
    results = run.train(config, tmp_path / "run", str(data_dir), log=lines.append)
    assert sum("member 2 (seed 0, learning_rate=1e+30) is frozen: not finite at step" in line for line in lines) == 1
    assert not any("member 0" in line or "member 1 " in line for line in lines)
    assert [failure["member"] for failure in results["failures"]] == [2, 3]
    for values in results["metrics"].values():
        assert values[2:] == [None, None] and None not in values[:2]
    config = small_config(overrides=("hyper.learning_rate=0.001",))
    alone = run.train(config, tmp_path / "sound", str(data_dir), log=lines.append)
    sound = {name: values[:2] for name, values in results["metrics"].items()}
    assert sound == alone["metrics"]


def _command(workdir, data_dir, method):
    overrides = [*SMALL, *(TINY_NETWORK if method == "ebgan_mdn" else ())]
    return [
        sys.executable, "-m", "experiments.train", "--task=hyperbola", f"--method={method}", "--preset=small",
        "--seeds=2", "--steps=96", "--checkpoint_every=24", f"--workdir={workdir}", f"--data_dir={data_dir}",
        *(f"--set={o}" for o in overrides),
    ]  # fmt: skip


@pytest.mark.slow
def test_kill_at_any_moment_and_the_results_are_bitwise_the_same(tmp_path, data_dir):
    """Real processes and SIGKILL: in the middle of saving, after a checkpoint, during evaluation."""
    root = pathlib.Path(__file__).resolve().parents[1]
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    subprocess.run(_command(undisturbed, data_dir, "ebgan_mdn"), cwd=root, env=env, check=True, capture_output=True)

    checkpoints = disturbed / "checkpoints"
    moments = {
        "a first checkpoint is being written": lambda: checkpoints.exists() and any(checkpoints.iterdir()),
        "a later checkpoint is complete": lambda: any(
            entry.name.isdigit() and int(entry.name) >= 48
            for entry in (checkpoints.iterdir() if checkpoints.exists() else ())
        ),
        "training is done and evaluation runs": lambda: (checkpoints / "96").exists(),
    }
    for moment, reached in moments.items():
        process = subprocess.Popen(
            _command(disturbed, data_dir, "ebgan_mdn"),
            cwd=root,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 120
        while not reached():
            assert process.poll() is None and time.monotonic() < deadline, moment
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (disturbed / "results.json").exists(), moment
    subprocess.run(_command(disturbed, data_dir, "ebgan_mdn"), cwd=root, env=env, check=True, capture_output=True)
    assert (disturbed / "results.json").read_bytes() == (undisturbed / "results.json").read_bytes()
    assert (disturbed / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
