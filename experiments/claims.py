"""Who owns a folder that several processes, on one machine or on many, may want to work in.

A claim is a file ``.claim-<token>`` that only its maker writes. To claim a folder is to make such a file, list the folder, and own it if
no other claim there is live. A claim is live

* if its maker's lock on it is held: exact, where locks reach (always on one machine, mostly on NFSv4 and Lustre);
* without such a lock, if its maker ran on this machine and still runs;
* or, for makers elsewhere, if the file was touched in the last `STALE_SECONDS`; owners touch theirs every `BEAT_SECONDS`.

Why there are never two owners: a claim appears by a rename, complete and locked, and its maker lists the folder after that. So of two
makers the later one sees the earlier one's claim, and gives up; both may give up, and try again. Dead claims are deleted by their unique
names before the folder is owned, so somebody slow cannot delete a newer claim than those that he judged, and an owner that was paused
(SIGSTOP, a suspended machine) and then replaced finds its own file gone: `Claim.check`, before each write, asks the file system and not
a clock. What remains is a pause just between a check and its write: writes are atomic, and a run repeats the same numbers.

Ages are differences of two times given by the file system, so no machine's clock counts on NFS; where clients give them (Lustre), clocks
must agree to half a minute. Nothing here imports JAX.
"""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import platform
import random
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

PREFIX = ".claim-"
STALE_SECONDS = 60.0
BEAT_SECONDS = 10.0
# An owner that cannot touch its file gives up for itself well before others may take the folder.
_GIVE_UP_SECONDS = 40.0
_ATTEMPTS = 4


class ClaimError(Exception):
    """A folder cannot be claimed, or is not owned any more; the message goes on after "workdir ... "."""


class InUse(ClaimError):
    """Another process owns the folder."""


class Claim:
    """An owned folder. ``path`` is the claim's file."""

    def __init__(self, path: pathlib.Path, descriptor: int):
        self.path = path
        self._descriptor = descriptor  # open, for the lock
        self._lost = False
        self._touched = time.monotonic()

    def check(self) -> None:
        """To be called before each write.

        Raises:
          ClaimError: if the folder may be another's by now.
        """
        self.touch()
        if self._lost:
            raise ClaimError("was removed, or taken over by another process while this one was paused: stopping")
        if time.monotonic() - self._touched > _GIVE_UP_SECONDS:
            raise ClaimError(f"could not be touched for {_GIVE_UP_SECONDS:.0f} s, so that others may take it: stopping")

    def touch(self) -> None:
        """Show that the owner is alive; never makes the file anew."""
        try:
            os.utime(self.path)
        except OSError as error:
            self._lost |= error.errno in (errno.ENOENT, errno.ESTALE)
        else:
            self._touched = time.monotonic()

    def release(self) -> None:
        """Give the folder back."""
        os.close(self._descriptor)  # first, or NFS keeps a deleted open file under another name
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(folder: str | os.PathLike) -> Iterator[Claim]:
    """Own a folder, which must exist, while the context lasts; a process that dies, however, leaves a dead claim.

    Raises:
      InUse: if another process owns it; nothing is left behind.
      ClaimError: if files cannot be made and touched there.
    """
    claim = _claim(pathlib.Path(folder))
    released = threading.Event()

    def beat():
        while not released.wait(BEAT_SECONDS):
            claim.touch()

    threading.Thread(target=beat, name="claim", daemon=True).start()
    try:
        yield claim
    finally:
        released.set()
        claim.release()


def _claim(folder: pathlib.Path) -> Claim:
    for attempt in range(_ATTEMPTS):
        if attempt:  # perhaps all of several claimants gave up, each seeing the others: next time they come one by one
            time.sleep(random.SystemRandom().uniform(0.0, 0.05 * 2**attempt))
        try:
            claim = _make(folder)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and folder.is_dir():  # an owner cleaned up between our two steps
                owner = "another process"
                continue
            raise ClaimError(f"cannot be claimed ({error.strerror}): give another --workdir") from error
        try:
            owner = _own(claim)
        except BaseException as error:
            claim.release()
            if isinstance(error, OSError):
                raise ClaimError(f"cannot be claimed ({error}): give another --workdir") from error
            raise
        if owner is None:
            return claim
        claim.release()
    raise InUse(f"is in use by {owner}: wait, or give another --workdir")


def _make(folder: pathlib.Path) -> Claim:
    """A claim's file: it appears under its name when it is written and locked."""
    path = folder / f"{PREFIX}{secrets.token_hex(8)}"
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        locked = _lock(descriptor, fcntl.LOCK_EX) == "got"
        pid = os.getpid()
        about = {"machine": _machine(), "pid": pid, "started": _start_time(pid), "locked": locked}
        os.write(descriptor, json.dumps(about).encode())
        os.fsync(descriptor)  # other machines see what is on the server
        os.rename(temporary, path)
        os.utime(path)  # if that is impossible, owners elsewhere could not be told from dead ones: refuse
    except BaseException:
        os.close(descriptor)
        for leftover in (temporary, path):
            leftover.unlink(missing_ok=True)
        raise
    return Claim(path, descriptor)


def _own(claim: Claim) -> str | None:
    """Own the claim's folder and return None, or return who else does."""
    now = claim.path.stat().st_mtime
    others = [
        claim.path.with_name(name)
        for name in os.listdir(claim.path.parent)
        if name.startswith(PREFIX) and name != claim.path.name
    ]
    for path in others:
        owner = _live_owner(path, now)
        if owner is not None:
            return owner
    for path in others:
        path.unlink(missing_ok=True)
    claim.check()  # were we paused meanwhile, and judged dead ourselves?
    return None


def _live_owner(path: pathlib.Path, now: float) -> str | None:
    """Who holds a claim; None if nobody does any more, or not yet."""
    if path.suffix == ".tmp":
        return None
    try:
        # NFS asks the server for a file's times when it is opened; before, it may show old ones.
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise
    try:
        about = _parse(os.read(descriptor, 4096))
        lock = _lock(descriptor, fcntl.LOCK_SH)  # shared, so that two who look do not take each other for the owner
        age = now - os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
    if lock == "held":
        live = True
    elif about["machine"] == _machine():
        live = not about["locked"] and _running(about["pid"], about["started"])
    else:
        live = age < STALE_SECONDS
    return f"process {about['pid']} on {about['machine'][0]}" if live else None


def _lock(descriptor: int, kind: int) -> str:
    """Try to lock a file: "got", "held" by somebody, or "none" where the file system has no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return "held" if error.errno in (errno.EAGAIN, errno.EACCES) else "none"
    return "got"


def _parse(content: bytes) -> dict[str, Any]:
    """What `_make` wrote; a file that is not its work counts as one of an unknown machine."""
    try:
        about = json.loads(content)
        return {name: about[name] for name in ("machine", "pid", "started", "locked")} | {
            "machine": [*about["machine"]]
        }
    except (ValueError, TypeError, KeyError):
        return {"machine": ["an unknown machine"], "pid": "?", "started": None, "locked": False}


def _machine() -> list[str]:
    """Host name, boot and process namespace: where all are the same, process numbers mean the same."""
    values = [platform.node()]
    with contextlib.suppress(OSError):
        values.append(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        values.append(os.readlink("/proc/self/ns/pid"))
    return values


def _running(pid: int, started: str | None) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return _start_time(pid) in (started, None)  # a number may have been given to a new process


def _start_time(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where that is not told, "over" if only its entry is left."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "over" if fields[0] in "ZX" else fields[19]
