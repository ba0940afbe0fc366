"""Checkpoints of all members: Orbax, with the items ``params`` (all that evaluation reads), ``rest`` of the state and ``config`` (JSON).

The item ``checksums`` is of params and config, as Orbax reads a changed byte of an array as another number.
A checkpoint appears under its step number only when it is complete; a process killed while saving leaves the previous one in force.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from ebgan_mdn_jax.training.devices import fetch
from ebgan_mdn_jax.training.members import MemberState
from ebgan_mdn_jax.types import InputError, PyTree, require

_KEPT = 2


@contextlib.contextmanager
def open_manager(directory: pathlib.Path, read_only: bool = False) -> Iterator[ocp.CheckpointManager]:
    """Open the folder of checkpoints; leaving the context waits until what was saved is on disk.

    With ``read_only`` nothing on disk changes, so a run that is still training is not disturbed.
    """
    if read_only:
        require(directory.is_dir(), f"no checkpoint in {directory}: train first")
        options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    else:
        options = ocp.CheckpointManagerOptions(max_to_keep=_KEPT, cleanup_tmp_directories=True)
    handlers = {
        "params": ocp.StandardCheckpointHandler(),
        "rest": ocp.StandardCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
        "checksums": ocp.JsonCheckpointHandler(),
    }
    with ocp.CheckpointManager(directory.resolve(), options=options, item_handlers=handlers) as manager:
        yield manager


def save(manager: ocp.CheckpointManager, step: int, states: MemberState, config: dict[str, Any]) -> None:
    """Start saving all members' states at ``step``; the write goes on in the background."""
    checksums = {"params": _of_arrays(states.train.params), "config": _of_json(config)}
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(states.train.params),
        rest=ocp.args.StandardSave(_with_params(states, ())),
        config=ocp.args.JsonSave(config),
        checksums=ocp.args.JsonSave(checksums),
    )
    manager.save(step, args=items)


def restore_config(manager: ocp.CheckpointManager) -> tuple[int, dict[str, Any]]:
    """Step and ``config`` item of the newest checkpoint.

    Raises:
      InputError: if there is none, or it cannot be read.
    """
    step = manager.latest_step()
    mend = "train first (if results.json is there, delete it, or the run counts as finished)"
    require(step is not None, f"no checkpoint in {manager.directory}: {mend}")
    try:
        config = manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore())).config
    except Exception as error:
        raise _damaged(manager, step, error) from error
    _compare(manager, step, "config", _of_json(config))
    return step, config


def restore_params(manager: ocp.CheckpointManager, step: int, abstract: MemberState, sharding: Any) -> PyTree:
    """Parameters of all members at ``step``, placed by ``sharding``; ``abstract`` is the ``eval_shape`` of the states.

    Raises:
      InputError: if they are damaged, or of another shape.
    """
    target = _target(abstract.train.params, sharding)
    _check_shapes(manager, step, "params", target)
    try:
        params = manager.restore(step, args=ocp.args.Composite(params=ocp.args.StandardRestore(target))).params
    except Exception as error:
        raise _damaged(manager, step, error) from error
    _compare(manager, step, "params", _of_arrays(params))
    return params


def restore_states(manager: ocp.CheckpointManager, step: int, abstract: MemberState, sharding: Any) -> MemberState:
    """Full states of all members at ``step``; arguments and errors as in `restore_params`."""
    params = restore_params(manager, step, abstract, sharding)
    target = _target(_with_params(abstract, ()), sharding)
    try:
        rest = manager.restore(step, args=ocp.args.Composite(rest=ocp.args.StandardRestore(target))).rest
    except Exception as error:
        raise _damaged(manager, step, error) from error
    return _with_params(rest, params)


def _of_arrays(tree: PyTree) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(fetch(tree)):
        digest.update(f"{leaf.dtype}{leaf.shape}".encode() + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _of_json(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _compare(manager: ocp.CheckpointManager, step: int, item: str, found: str) -> None:
    """Raise `InputError` unless an item has the checksum that was saved with it; older checkpoints have none."""
    if not (pathlib.Path(manager.directory) / str(step) / "checksums").exists():
        return
    try:
        saved = manager.restore(step, args=ocp.args.Composite(checksums=ocp.args.JsonRestore())).checksums[item]
        if saved != found:
            raise ValueError(f"{item} has another checksum than when it was saved")
    except Exception as error:
        raise _damaged(manager, step, error) from error


def _with_params(states: MemberState, params: PyTree) -> MemberState:
    return states._replace(train=states.train._replace(params=params))


def _target(abstract: PyTree, sharding: Any) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract)


def _check_shapes(manager: ocp.CheckpointManager, step: int, item: str, target: PyTree) -> None:
    """Compare saved with expected shapes by path, before any array is read."""

    def shapes(tree):
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}

    try:
        saved = shapes(manager.item_metadata(step)[item])
    except Exception as error:
        raise _damaged(manager, step, error) from error
    expected = shapes(target)
    different = sorted(path for path in saved.keys() | expected.keys() if saved.get(path) != expected.get(path))
    if different:
        path = different[0]
        raise InputError(
            f"checkpoint {manager.directory}/{step} is of another method, config or number of members: {path} has shape "
            f"{saved.get(path, 'none')}, expected {expected.get(path, 'none')}; use the settings it was trained with"
        )


def _damaged(manager: ocp.CheckpointManager, step: int, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()
    return InputError(
        f"checkpoint {manager.directory}/{step} cannot be read ({type(error).__name__}: {reason[0] if reason else ''}); "
        "delete that folder to fall back on the one before it"
    )
