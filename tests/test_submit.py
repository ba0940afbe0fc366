"""Jobs: what is given to Slurm, and real jobs of submitit's local executor, undisturbed, requeued and stopped."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from absl import flags as absl_flags

from ebgan_mdn_jax.types import InputError
from experiments import claims, flags, run, submit
from experiments.config import apply_overrides, make_config
from experiments.job import Job

pytest.importorskip("submitit", reason="needs the extra slurm: pip install 'ebgan_mdn_jax[slurm]'")

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = (
    "method.generator.hidden=8", "train.checkpoint_every=100000",
    "evaluation.num_inputs=20", "evaluation.num_quadrature=200", "evaluation.num_draws=50",
)  # fmt: skip
VALID = ("partition", "time", "nodelist", "setup", "nodes", "cpus_per_task", "exclusive")


def tiny(method, steps):
    overrides = [path for path in SMALL if method == "mdn" or "generator" not in path]
    return make_config("hyperbola", method, 2, 0, (f"train.steps={steps}", *overrides), "small")


def job(directory, name, config, data_dir):
    return Job(("python", "-m", "test"), str(directory), ((name, config),), str(data_dir), 0, False)


def test_options_for_slurm():
    assert submit.slurm_options(["partition=gpu,time=60", "nodelist=n1,n2,exclusive=True"], VALID) == {
        "job_name": "ebgan_mdn_jax", "additional_parameters": {"requeue": True},
        "partition": "gpu", "time": 60, "nodelist": "n1,n2", "exclusive": True,
    }  # fmt: skip
    lists = submit.slurm_options(["time=1", "setup=module load a,b=1", "setup=source env", "cpus_per_task=4"], VALID)
    assert lists["setup"] == ["module load a,b=1", "source env"]
    assert lists["srun_args"] == ["--cpus-per-task=4"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ["time=60", "bogus=1"],
            "^--slurm=bogus=...: no such option; expected one of cpus_per_task, exclusive, nodelist",
        ),
        (["gpu,time=60"], "^--slurm=gpu,time=60: expected key=value"),
        (["partition=gpu"], "^--slurm=time=MINUTES is missing"),
        (["time=1-00:00:00"], "^--slurm=time=MINUTES is missing"),
        (["time=60,nodes=2"], "^--slurm=nodes=2: a run is one process"),
    ],
)
def test_wrong_options(entries, message):
    with pytest.raises(InputError, match=message):
        submit.slurm_options(entries, VALID)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="Slurm is not on this machine \\(no sbatch\\): submit from"):
        submit.make_executor("slurm", tmp_path / "jobs", ["time=1"])
    with pytest.raises(InputError, match="--slurm has no meaning with --executor=local"):
        submit.make_executor("local", tmp_path / "jobs", ["time=1"])
    monkeypatch.setattr(submit.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs submitit, which is not installed: pip install"):
        submit.make_executor("local", tmp_path / "jobs")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """A cluster that takes any job and runs none; the function returned sets what its sbatch does."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def behave(script):
        for name in ("sbatch", "srun", "scontrol"):
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)

    behave("echo Submitted batch job 42")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return behave


def test_an_array_is_submitted(tmp_path, sbatch):
    executor = submit.make_executor("slurm", tmp_path / "jobs", ["partition=gpu,time=60", "setup=module load cuda"])
    configs = {"a": tiny("mdn", 10), "b": tiny("explicit_bc", 10)}
    ids = submit.submit(executor, [job(tmp_path, name, config, tmp_path) for name, config in configs.items()])
    assert ids == ["42_0", "42_1"]
    script = (tmp_path / "jobs" / "42_submission.sh").read_text().splitlines()
    for line in ("partition=gpu", "time=60", "array=0-1%2", "signal=USR2@90", "requeue", "open-mode=append"):
        assert f"#SBATCH --{line}" in script
    assert "module load cuda" in script
    from submitit.core.utils import DelayedSubmission

    again = DelayedSubmission.load(tmp_path / "jobs" / f"{ids[1]}_submitted.pkl").function
    assert again.runs == (("b", configs["b"]),)
    assert again.checkpoint().function == again


def test_slurm_says_no(tmp_path, sbatch, capsys):
    sbatch("echo 'sbatch: error: invalid partition: gpu' >&2; echo 'sbatch: error: submission failed' >&2; exit 1")
    executor = submit.make_executor("slurm", tmp_path / "jobs", ["partition=gpu,time=60"])
    with pytest.raises(InputError, match="^Slurm refused the jobs: invalid partition: gpu; submission failed$"):
        submit.submit(executor, [job(tmp_path, "a", tiny("mdn", 10), tmp_path)])
    assert capsys.readouterr().err == ""


SIGNALS = """
import contextlib, json, os, pathlib, signal, sys, time
from experiments import job, preemption
preemption._ONE_REQUEST_SECONDS = 0.0  # a second SIGTERM from anybody would end the process
from experiments.preemption import Preempted, watch_sigterm

def until(condition):
    while not condition():
        time.sleep(0.001)

def requeue(signum, frame):
    raise SystemExit("requeued")

def send(names, seen):
    for name in names.split():
        os.kill(os.getpid(), getattr(signal, name))
        until(seen)

outcomes = {}
for where in ("loop", "elsewhere"):
    for names in ("SIGTERM", "SIGUSR2", "SIGTERM SIGUSR2", "SIGUSR2 SIGUSR2"):
        def train(self):
            if where == "elsewhere":
                send(names, lambda: False)
            with watch_sigterm() as watch:
                send(names, lambda: watch.requested)
                raise Preempted(1, 2)
        job.Job._train = train
        signal.signal(signal.SIGUSR2, requeue)  # as submitit's worker does
        signal.signal(signal.SIGTERM, lambda *_: None)
        with contextlib.suppress(SystemExit):
            try:
                job.Job((), "", (), None, 0, False)()
            except SystemExit as stopped:
                outcomes[f"{where}: {names}"] = stopped.code
print(json.dumps(outcomes))
"""

# The same job under Slurm, where SIGTERM comes while the job is in some state.
STATES = (
    SIGNALS.partition("outcomes = {}")[0]
    + """
def train(self):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)  # Slurm sends it twice
        time.sleep(0.01)
        cleaned.append(True)

job.Job._train = train
os.environ |= {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "42"}
scontrol, outcomes, cleaned = pathlib.Path(sys.argv[1]) / "scontrol", {}, []
for state in ("RUNNING", "CANCELLED", ""):
    scontrol.write_text(f"#!/bin/sh\\necho JobId=$4 JobName=x JobState={state} Reason=None" if state else "#!/bin/sh\\nexit 1")
    scontrol.chmod(0o755)
    signal.signal(signal.SIGUSR2, requeue)
    try:
        job.Job((), "", (), None, 0, False)()
    except SystemExit as stopped:
        outcomes[state] = stopped.code
assert len(cleaned) == 3
print(json.dumps(outcomes))
"""
)


def outcomes(code, *arguments, path=""):
    """In a process of their own: an unanswered SIGTERM would end it."""
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PATH": f"{path}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_sigterm_requeues_what_slurm_preempts_and_not_what_is_cancelled(tmp_path):
    assert outcomes(STATES, str(tmp_path), path=tmp_path) == {"RUNNING": "requeued", "CANCELLED": 143, "": 143}


def test_which_signals_requeue_a_job():
    """In one process: an unanswered SIGTERM would end it."""
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS], cwd=ROOT, env=env, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "loop: SIGTERM": 143, "loop: SIGUSR2": "requeued", "loop: SIGTERM SIGUSR2": "requeued",
        "loop: SIGUSR2 SIGUSR2": "requeued", "elsewhere: SIGTERM": 143, "elsewhere: SIGUSR2": "requeued",
        "elsewhere: SIGTERM SIGUSR2": 143, "elsewhere: SIGUSR2 SIGUSR2": "requeued",
    }  # fmt: skip


def wait_for(reached, folder):
    deadline = time.monotonic() + 120
    while not reached():
        logs = [path.read_text() for path in sorted(folder.glob("*.err"))]
        assert time.monotonic() < deadline and not any("Traceback" in log for log in logs), "\n".join(logs)
        time.sleep(0.01)


def worker_of(folder):
    """The process that owns a run's folder, once it has trained a little."""
    metrics = folder / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 2, folder.parent / submit.FOLDER)
    (path,) = folder.glob(f"{claims.PREFIX}*")
    return json.loads(path.read_text())["pid"]


def same(ours, theirs):
    return all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in ("results.json", "metrics.jsonl"))


@pytest.fixture(scope="module")
def direct(tmp_path_factory, data_dir):
    """The same runs trained here and undisturbed."""
    path = tmp_path_factory.mktemp("direct")
    configs = {"short": tiny("explicit_bc", 40), "long": tiny("mdn", 6000)}
    for name, config in configs.items():
        run.train(config, path / name, str(data_dir), log=lambda line: None)
    return path, configs


@pytest.mark.slow
def test_jobs_give_the_results_of_direct_runs_also_when_their_time_runs_out(direct, tmp_path, data_dir, monkeypatch):
    theirs, configs = direct
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / submit.FOLDER
    executor = submit.make_executor("local", folder)
    jobs = [job(tmp_path, name, config, data_dir) for name, config in configs.items()]
    otherwise = apply_overrides(configs["long"], ("method.sample_by=mode",))
    jobs[1] = jobs[1]._replace(runs=(("long", configs["long"]), ("otherwise", otherwise)))
    ids = submit.submit(executor, jobs)
    first = worker_of(tmp_path / "long")
    os.kill(first, signal.SIGUSR2)  # as Slurm does before the time limit
    wait_for(lambda: all((folder / f"{i}_0_result.pkl").exists() for i in ids), folder)
    log = (folder / f"{ids[1]}_0_log.out").read_text()
    assert "stopped by SIGTERM at step" in (folder / f"{ids[1]}_0_log.err").read_text()
    assert f"resuming {tmp_path / 'long'} at step" in log and "Requeued job" in log
    for name in configs:
        assert same(tmp_path / name, theirs / name)
    assert (tmp_path / "otherwise" / "metrics.jsonl").read_bytes() == (tmp_path / "long" / "metrics.jsonl").read_bytes()
    assert (tmp_path / "otherwise" / "results.json").read_bytes() != (tmp_path / "long" / "results.json").read_bytes()
    assert log.count("step 6000/6000") == 1
    launches = json.loads((tmp_path / "provenance.json").read_text())["launches"]
    assert [launch["command"] for launch in launches] == ["python -m test"]


@pytest.mark.slow
def test_a_stopped_job_has_saved_and_another_one_goes_on(direct, tmp_path, data_dir, monkeypatch):
    theirs, configs = direct
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / submit.FOLDER
    executor = submit.make_executor("local", folder)
    for attempt in range(2):
        (job_id,) = submit.submit(executor, [job(tmp_path, "long", configs["long"], data_dir)])
        if attempt == 0:
            os.kill(worker_of(tmp_path / "long"), signal.SIGTERM)
            log = folder / f"{job_id}_0_log.err"
            wait_for(lambda log=log: "stopped by SIGTERM at step" in log.read_text(), folder)
            (saved,) = [int(path.name) for path in (tmp_path / "long" / "checkpoints").iterdir()]
            assert 0 < saved < 6000
    wait_for(lambda: (folder / f"{job_id}_0_result.pkl").exists(), folder)
    assert same(tmp_path / "long", theirs / "long")


def call(*argv):
    """Run the driver as the command line would; returns the exit code."""
    for name in absl_flags.FLAGS:
        absl_flags.FLAGS[name].unparse()
    absl_flags.FLAGS.unparse_flags()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["submit", *argv])
        flags.run(submit.main, *submit.USED)
    return stopped.value.code or 0


def test_the_driver(tmp_path, data_dir, sbatch, capsys):
    argv = ["--config=quickstart", f"--data_dir={data_dir}", f"--workdir={tmp_path}/sweep"]
    assert call(*argv, "--slurm=time=60,partition=x") == 0
    printed = capsys.readouterr().out
    assert "runs: 0 of 6 finished, 6 submitted; jobs: 6\n" in printed and "hyperbola-mdn: job 42_1, log " in printed
    assert "scancel 42" in printed and f"experiments.report --workdir={tmp_path}/sweep" in printed
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {submit.FOLDER}
    grid = [f"--data_dir={data_dir}", f"--workdir={tmp_path}/grid", "--grid=method.sample_by=sample,rerank"]
    assert call("--method=ebgan_mdn", *grid, "--slurm=time=60") == 0  # trained once
    printed = capsys.readouterr().out
    assert "2 submitted; jobs: 1\n" in printed
    assert "hyperbola-ebgan_mdn-sample_by=sample, hyperbola-ebgan_mdn-sample_by=rerank: job 42, log " in printed
    for wrong, message in (
        ("--slurm=bogus=1", "no such option"),
        ("--executor=local", "no meaning with"),
        ("--coordinator=auto", "no meaning here"),
    ):
        assert call(*argv[:2], f"--workdir={tmp_path}/new", "--slurm=time=1", wrong) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
