"""Claims of folders: real processes race for one, die in it, are paused in it; other machines are played by forged files."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from ebgan_mdn_jax.types import InputError
from experiments import claims
from experiments.workdir import InUse, Workdir, refuse_strangers

ROOT = pathlib.Path(__file__).resolve().parents[1]

# How processes can tell that an owner lives: by its lock; by its number; by the age of its file alone.
MODES = ("locks", "same machine, no locks", "other machines, no locks")

SETTING = """
import errno, fcntl, os, pathlib, sys, time
from experiments import claims
mode, number, folder, witness, seconds = sys.argv[1], *sys.argv[2:5], float(sys.argv[5])
def unsupported(*_):
    raise OSError(errno.ENOTSUP, "Operation not supported")
if mode != "locks":
    fcntl.flock = unsupported
if mode.startswith("other machines"):
    claims._machine = lambda: [f"node{number}"]
assert "jax" not in sys.modules
"""

# Each round that owns the folder makes a file that must not exist, and removes it before it gives the folder back.
RACE = (
    SETTING
    + """
claims._ATTEMPTS = 1
print("ready", flush=True)
while not os.path.exists(witness + ".go"):
    time.sleep(0.001)
deadline, wins, refused = time.monotonic() + seconds, 0, 0
while time.monotonic() < deadline:
    try:
        with claims.claimed(folder) as claim:
            os.close(os.open(witness, os.O_CREAT | os.O_EXCL))
            time.sleep(0.002)
            claim.check()
            os.unlink(witness)
            wins += 1
    except claims.InUse:
        refused += 1
print(wins, refused)
"""
)

OWNER = (
    SETTING
    + """
with claims.claimed(folder) as claim:
    print("owned", flush=True)
    sys.stdin.readline()
    try:
        claim.check()
    except claims.ClaimError as error:
        print(error, flush=True)
"""
)


def start(code, mode, number, folder, seconds=0.0):
    arguments = [mode, str(number), str(folder), str(folder) + "-witness", str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def forge(folder, machine, age, content=None, name="f00"):
    """A claim as process 7 of ``machine`` would have left it ``age`` seconds ago."""
    path = folder / f"{claims.PREFIX}{name}"
    about = {"machine": [machine], "pid": 7, "started": "1", "locked": False}
    path.write_text(json.dumps(about) if content is None else content)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def no_locks(monkeypatch):
    def unsupported(descriptor, kind):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(claims.fcntl, "flock", unsupported)


def held(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(claims.PREFIX))


@pytest.mark.parametrize("mode", MODES)
def test_of_racing_processes_at_most_one_owns_the_folder(tmp_path, mode):
    folder = tmp_path / "run"
    folder.mkdir()
    workers = [start(RACE, mode, number, folder, seconds=0.8) for number in range(8)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    (tmp_path / "run-witness.go").touch()
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [
        0
    ] * 8  # a worker that finds the witness dies of FileExistsError
    wins, refused = (sum(int(output.split()[i]) for output in outputs) for i in range(2))
    assert wins > 5 and refused > 5, (wins, refused)  # the race was one
    assert held(folder) == []


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_killed_owner_is_replaced_at_once(tmp_path, monkeypatch, mode):
    if mode != "locks":
        no_locks(monkeypatch)
    with start(OWNER, mode, 0, tmp_path) as owner:
        assert owner.stdout.readline() == "owned\n"
        with pytest.raises(claims.InUse, match=f"in use by process {owner.pid} on "), claims.claimed(tmp_path):
            pass
        owner.kill()
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
        assert len(held(tmp_path)) == 1
        with claims.claimed(tmp_path) as claim:
            assert held(tmp_path) == [claim.path.name]
    assert held(tmp_path) == []


def test_a_number_that_a_new_process_got_is_not_the_owner(tmp_path, monkeypatch):
    no_locks(monkeypatch)
    path = forge(tmp_path, "", 0.0)
    about = {"machine": claims._machine(), "pid": os.getpid(), "locked": False}
    path.write_text(json.dumps(about | {"started": claims._start_time(os.getpid())}))
    with pytest.raises(claims.InUse), claims.claimed(tmp_path):
        pass
    path.write_text(json.dumps(about | {"started": "1"}))
    with claims.claimed(tmp_path):
        assert not path.exists()


def test_a_lock_that_is_not_held_any_more_tells_more_than_a_running_process(tmp_path):
    path = forge(tmp_path, "", 0.0)
    about = {"machine": claims._machine(), "pid": os.getpid(), "started": claims._start_time(os.getpid())}
    path.write_text(json.dumps(about | {"locked": True}))
    with claims.claimed(tmp_path):
        assert not path.exists()


@pytest.mark.parametrize("content", [None, "", "{}", "[3]", '{"machine": 1, "pid": 2, "started": 3, "locked": 4}'])
def test_a_claim_of_another_machine_counts_for_a_minute(tmp_path, content):
    path = forge(tmp_path, "node9", claims.STALE_SECONDS - 10, content)
    before = path.stat().st_mtime_ns, path.read_bytes()
    who = "process 7 on node9" if content is None else "on an unknown machine"
    with pytest.raises(claims.InUse, match=who), claims.claimed(tmp_path):
        pass
    assert held(tmp_path) == [path.name] and (path.stat().st_mtime_ns, path.read_bytes()) == before
    forge(tmp_path, "node9", claims.STALE_SECONDS + 1, content)
    with claims.claimed(tmp_path) as claim:
        assert held(tmp_path) == [claim.path.name]


def test_one_live_claim_protects_the_dead_ones_beside_it(tmp_path):
    paths = [forge(tmp_path, "node9", age, name=f"f{age}") for age in (0, 1000)]
    with pytest.raises(claims.InUse), claims.claimed(tmp_path):
        pass
    assert all(path.exists() for path in paths)


def test_what_a_process_killed_while_claiming_left_is_cleaned_up(tmp_path):
    (tmp_path / f"{claims.PREFIX}f00.tmp").write_text("{")
    with claims.claimed(tmp_path) as claim:
        assert held(tmp_path) == [claim.path.name]


def test_owners_show_that_they_are_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.02)
    with claims.claimed(tmp_path) as claim:
        os.utime(claim.path, (0, 0))
        deadline = time.monotonic() + 10
        while claim.path.stat().st_mtime < time.time() - 30:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_paused_owner_that_was_replaced_notices_before_it_writes(tmp_path, monkeypatch):
    no_locks(monkeypatch)
    with start(OWNER, MODES[2], 1, tmp_path) as owner:
        assert owner.stdout.readline() == "owned\n"
        owner.send_signal(signal.SIGSTOP)
        (path,) = tmp_path.iterdir()
        then = time.time() - claims.STALE_SECONDS - 1
        os.utime(path, (then, then))
        with claims.claimed(tmp_path) as claim:
            owner.send_signal(signal.SIGCONT)
            output, _ = owner.communicate("write\n", timeout=30)
            assert "taken over by another process" in output and owner.returncode == 0
            claim.check()
            assert held(tmp_path) == [claim.path.name]


def test_a_claimant_that_was_paused_and_judged_dead_does_not_own(tmp_path, monkeypatch):
    def paused(folder):
        names = listdir(folder)
        for name in names:
            (tmp_path / name).unlink()  # as another claimant does
        return names

    listdir = os.listdir
    monkeypatch.setattr(claims.os, "listdir", paused)
    with pytest.raises(claims.ClaimError, match="taken over"), claims.claimed(tmp_path):
        pass


def test_without_times_of_files_nobody_owns(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EPERM, "Operation not permitted")

    with claims.claimed(tmp_path) as claim:
        monkeypatch.setattr(claims.os, "utime", refuse)
        claim.check()  # a hiccup
        monkeypatch.setattr(claims, "_GIVE_UP_SECONDS", 0.0)
        with pytest.raises(claims.ClaimError, match="others may take it"):
            claim.check()
    with (
        pytest.raises(claims.ClaimError, match="cannot be claimed \\(Operation not permitted\\)"),
        claims.claimed(tmp_path),
    ):
        pass
    assert held(tmp_path) == []


def test_a_workdir_that_is_lost_is_not_written(tmp_path):
    directory = Workdir(tmp_path / "run")
    config = {"train": {}}
    with pytest.raises(InputError, match="^workdir .*run was removed, or taken over"), directory.claimed(config):
        directory.append_metrics({"step": 1})
        directory.check_claim()
        with pytest.raises(InUse, match="^workdir .*run is in use by process"), Workdir(directory.path).claimed(config):
            pass
        (directory.path / held(directory.path)[0]).unlink()
        directory.append_metrics({"step": 2})
    assert [json.loads(line) for line in directory.metrics.read_text().splitlines()] == [{"step": 1}]
    directory.append_metrics({"step": 3})  # nobody claims: nothing to lose


def test_claims_and_the_files_of_jobs_are_no_strangers(tmp_path):
    forge(tmp_path, "node9", 0)
    (tmp_path / ".submitit").mkdir()
    refuse_strangers(tmp_path, ())
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="thesis.tex"):
        refuse_strangers(tmp_path, ())
