"""Policies to take away: one member of a trained run, restored from its checkpoint alone, with NumPy arrays in and out.

    policy = Policy.load("runs/mine")
    action = policy.act(jax.random.key(0), obs)  # [Da] of obs [Do], or [B, Da] of [B, Do], in data units

A checkpoint holds all that is needed to rebuild the method: its name and config, the task's boxes, the normalization, and the version of
the library. The first call for every batch size compiles.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ebgan_mdn_jax import __version__
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.methods.base import Method, in_data_units
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.training import checkpoint
from ebgan_mdn_jax.training.members import init_states, make_members
from ebgan_mdn_jax.types import Horizon, InputError, PyTree, Spec, from_fields, require, resolve_path


class Trained(NamedTuple):
    """One member of a run: pure functions of JAX arrays, and what they are applied to."""

    method: Method  # in data units
    params: PyTree
    spec: Spec  # in data units
    method_name: str
    seed: int


class Policy(NamedTuple):
    """What a trained policy does, in data units; arrays are NumPy's, keys are those of `jax.random.key`.

    Where demonstrations were cut into windows, an observation is the history and an action the chunk, flat and oldest first: see
    `ebgan_mdn_jax.data.episodes`. Functions raise `InputError` at arrays of other shapes or that are not finite.
    """

    act: Callable[[jax.Array, np.ndarray], np.ndarray]  # (key, obs [Do] or [B, Do]) -> [Da] or [B, Da]
    sample: Callable[[jax.Array, np.ndarray, int], np.ndarray]  # (key, obs, num_samples) -> [N, Da] or [N, B, Da]
    energy: (
        Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    )  # (obs, action [..., Da] or [..., B, Da]) -> [...] or [..., B]
    trained: Trained

    @classmethod
    def load(cls, directory: str | os.PathLike, member: int | str = 0) -> "Policy":
        """The policy of one member of a run; arguments and errors as in `restore`."""
        return from_trained(restore(directory, member))


def from_trained(trained: Trained) -> Policy:
    """The functions of `Policy` for what `restore` gives."""
    method, params, spec = trained.method, trained.params, trained.spec
    act, sample = jax.jit(method.act), jax.jit(method.sample, static_argnums=3)
    energy = jax.jit(method.energy) if method.energy else None

    def act_fn(key, obs):
        rows, single = _rows("obs", obs, spec.obs_dim)
        action = np.asarray(act(key, params, rows))
        return action[0] if single else action

    def sample_fn(key, obs, num_samples):
        rows, single = _rows("obs", obs, spec.obs_dim)
        actions = np.asarray(sample(key, params, rows, num_samples))
        return actions[:, 0] if single else actions

    def energy_fn(obs, action):
        rows, single = _rows("obs", obs, spec.obs_dim)
        action = _finite("action", action)
        action = action[..., None, :] if single else action
        require(
            action.shape[-2:] == (len(rows), spec.action_dim),
            f"action ends in shape {action.shape[-2:]}, expected {(len(rows), spec.action_dim)}: a row for every observation",
        )
        values = np.asarray(energy(params, rows, action))
        return values[..., 0] if single else values

    return Policy(act_fn, sample_fn, energy_fn if energy else None, trained)


def restore(directory: str | os.PathLike, member: int | str = 0) -> Trained:
    """Rebuild one member of a run from its newest checkpoint.

    Args:
      directory: of the run, whose ``config.json`` then says how actions are chosen; or of its checkpoints alone.
      member: its index, seeds fastest, or "best": the one that did best on the held-out rows, as ``results.json`` says. (What it scored
        there is better than what it will score.)

    Raises:
      InputError: if there is no checkpoint, it is damaged, or of another version or program; if there is no such member, or it diverged.
    """
    directory = resolve_path(directory)
    inside = (directory / "checkpoints").is_dir()
    with checkpoint.open_manager(directory / "checkpoints" if inside else directory, read_only=True) as manager:
        step, item = checkpoint.restore_config(manager)
        source = f"checkpoint {manager.directory}/{step}"
        _check_version(item, source)
        config = item["config"]
        if inside and (directory / "config.json").is_file():
            config, source = _read(directory / "config.json"), str(directory / "config.json")
        try:
            method, spec, seeds = _rebuild(config, item)
            failed = {failure["member"]: failure["step"] for failure in item["failures"]}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{source} is not one of this library ({type(error).__name__}: {error}); use the version that wrote it"
            ) from error
        abstract = jax.eval_shape(functools.partial(init_states, method), seeds)
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        params = checkpoint.restore_params(manager, step, abstract, device)
    index = _best(directory) if member == "best" else member
    require(
        isinstance(index, int | np.integer) and 0 <= index < len(seeds),
        f"member={member!r}: {directory} has members 0 to {len(seeds) - 1}; give one of them or 'best'",
    )
    require(index not in failed, f"member={index} became non-finite at step {failed.get(index)}: take another one")
    params = jax.tree.map(lambda leaf: leaf[index], params)
    return Trained(method, params, spec, config["method_name"], int(seeds[index]))


def _check_version(item: Any, source: str) -> None:
    needed = ("config", "normalization", "spec", "num_rows", "failures", "version")
    missing = [name for name in needed if not isinstance(item, dict) or name not in item]
    require(
        not missing,
        f"{source} is of an older version of this library or of another program: it has no {' and no '.join(missing)}; train again",
    )
    require(
        item["version"] == __version__,
        f"{source} is of version {item['version']} of this library, this is {__version__}; use that one, or train again",
    )


def _rebuild(config: dict[str, Any], item: dict[str, Any]) -> tuple[Method, Spec, np.ndarray]:
    """The method in data units, the boxes there, and every member's seed."""
    module, train = METHODS[config["method_name"]], config["train"]
    spec = Spec(**{name: tuple(values) for name, values in item["spec"].items()})
    normalization = Normalization(**{name: tuple(values) for name, values in item["normalization"].items()})
    horizon = Horizon.of(train["steps"], item["num_rows"], train["batch_size"], train["epoch_steps"])
    method = module.make(from_fields(module.Config, config["method"]), normalization.spec(spec), horizon)
    seeds = range(config["first_seed"], config["first_seed"] + config["num_seeds"])
    return in_data_units(method, normalization), spec, make_members(method, seeds, config["hyper"]).seed


def _best(directory: pathlib.Path) -> int:
    validation = _read(directory / "results.json").get("validation")
    require(
        validation is not None,
        f"{directory / 'results.json'} names no best member: evaluate the run again, or give a member's index",
    )
    return validation["member"]


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): give the folder of a finished run") from error
    require(isinstance(content, dict), f"{path} is not a file of this library: give the folder of a finished run")
    return content


def _rows(name: str, values: np.ndarray, dim: int) -> tuple[np.ndarray, bool]:
    """``[B, dim]``, and whether there was no batch."""
    values = _finite(name, values)
    require(
        values.ndim in (1, 2) and values.shape[-1] == dim,
        f"{name} has shape {values.shape}, expected [{dim}] or [B, {dim}]",
    )
    return (values[None], True) if values.ndim == 1 else (values, False)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    require(values.dtype.kind in "fiub", f"{name} is of {values.dtype}, expected real numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    require(bool(np.all(np.isfinite(values))), f"{name} is not finite")
    return values
