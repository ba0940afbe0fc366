"""TensorBoard event files: the training curves of every member, in a folder of its own.

    tensorboard --logdir runs/mine/tensorboard

Every launch of a run appends to a file of its own, which starts by telling readers to forget what earlier launches wrote after the step
that this one resumes at.
"""

import importlib.util
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ebgan_mdn_jax.types import require

Write = Callable[[int, Mapping[str, np.ndarray]], None]  # (step, {name: [S]})


def require_tensorboard() -> None:
    """Raise `InputError` unless event files can be written."""
    found = importlib.util.find_spec("tensorboard") is not None
    require(found, "--tensorboard needs tensorboard, which is not installed: pip install 'ebgan_mdn_jax[tensorboard]'")


def writer(directory: str | os.PathLike | None, labels: Sequence[str], first_step: int) -> Write:
    """A function that appends a row of scalars to the event files of all members.

    What it was given is on disk when it returns. Nothing stays open in between, so that there is nothing to close and a thousand members
    take no thousand file handles.

    Args:
      directory: the folder above those of the members; None: the function does nothing.
      labels: ``[S]``, a name per member, all different; its folder, without characters that a path cannot hold.
      first_step: the step that training starts from or resumes at; rows of earlier launches up to it are kept.

    Raises:
      InputError: if two members would share a folder, or without the extra "tensorboard".
    """
    if directory is None:
        return lambda step, infos: None
    require_tensorboard()
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folders = [pathlib.Path(directory) / re.sub(r"[^\w.=,+-]", "_", label) for label in labels]
    require(len(set(folders)) == len(folders), f"{directory}: two members share a label; expected different ones")
    # TensorBoard reads a folder's files in the order of their names.
    files = [folder / f"events.out.tfevents.{len(list(folder.glob('*tfevents*'))):06d}" for folder in folders]

    def append(path: pathlib.Path, *events: Event) -> None:
        with path.open("ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())

    start = {"wall_time": time.time(), "step": first_step + 1}
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        purge = SessionLog(status=SessionLog.START)  # forget this step and later ones
        append(path, Event(**start, file_version="brain.Event:2"), Event(**start, session_log=purge))

    def write(step: int, infos: Mapping[str, np.ndarray]) -> None:
        now = time.time()
        for index, path in enumerate(files):
            values = [Summary.Value(tag=name, simple_value=float(column[index])) for name, column in infos.items()]
            append(path, Event(wall_time=now, step=step, summary=Summary(value=values)))

    return write
