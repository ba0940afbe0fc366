"""One run, from a config to ``results.json``: build, train with checkpoints, evaluate from the checkpoint alone.

The drivers are thin shells around `train` and `evaluate`; nothing here reads a flag.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jax.sharding import NamedSharding, PartitionSpec

from ebgan_mdn_jax import __version__, data
from ebgan_mdn_jax.evaluation import divergences, statistics
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.methods.base import Method, in_data_units
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.tasks import TASKS, Task
from ebgan_mdn_jax.tasks.base import Conditional
from ebgan_mdn_jax.training import checkpoint, loop
from ebgan_mdn_jax.training.members import Members, init_states, make_members, map_members
from ebgan_mdn_jax.types import Horizon, PyTree, require
from experiments.config import ExperimentConfig, apply_overrides, differences, from_json, identity, to_json
from experiments.preemption import Preempted, watch_sigterm
from experiments.workdir import Workdir, read_json, strict, write_arrays, write_json

# Seeds of the draws in evaluation and figures: fixed, so that evaluating again gives the same numbers.
_EVALUATION_SEED = 1_000_003
_FIGURE_SEED = 1_000_033
_FIGURE_MEMBERS = 4
_MOST_TOGETHER = 64  # members evaluated vectorised: a quadrature takes some 10 MB each


class Run(NamedTuple):
    """A config made concrete."""

    config: ExperimentConfig
    task: Task
    dataset: data.Dataset
    method: Method  # in data units
    members: Members
    folds: np.ndarray  # [S], which split of the data each member uses


def build(config: ExperimentConfig, data_dir: str | None = None, normalization: Normalization | None = None) -> Run:
    """Load the data and build the method; ``normalization`` defaults to the data set's own."""
    task = TASKS[config.task_name]
    dataset = data.load(config.task_name, data_dir, config.data.num_demonstrations)
    normalization = normalization or dataset.normalization
    horizon = Horizon(config.train.steps, -(-dataset.num_rows // config.train.batch_size))
    module = METHODS[config.method_name]
    method = in_data_units(module.make(config.method, normalization.spec(task.spec), horizon), normalization)
    members = make_members(method, config.seeds, config.hyper)
    return Run(config, task, dataset, method, members, members.seed % dataset.num_folds)


def choose_devices(config: ExperimentConfig, num_members: int, num_devices: int = 0) -> list[jax.Device]:
    """The devices of a run; 0 takes all that members (or, for pmap, batch rows) divide over evenly."""
    available = jax.devices()
    size, what = (
        (num_members, "members") if config.train.parallel == "seeds" else (config.train.batch_size, "batch rows")
    )
    require(
        num_devices <= len(available),
        f"--num_devices={num_devices}: this machine has {len(available)} {available[0].platform} device(s); use at most that many",
    )
    chosen = num_devices or max(count for count in range(1, len(available) + 1) if size % count == 0)
    require(size % chosen == 0, f"--num_devices={chosen}: {size} {what} do not divide over it; use a divisor of {size}")
    return available[:chosen]


def choose_members_per_step(config: ExperimentConfig, num_members: int, devices: list[jax.Device]) -> int:
    """Members that run vectorised on each device: 1 on a CPU, all on an accelerator, unless the config says."""
    local = num_members // len(devices) if config.train.parallel == "seeds" else num_members
    automatic = 1 if devices[0].platform == "cpu" else local
    return min(config.train.members_per_step or automatic, local)


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    num_devices: int = 0,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train all members, or go on where an earlier call was cut off, and evaluate; returns what ``results.json`` holds.

    Raises:
      InputError: before anything is written, if the config, the data or the folder is not usable.
    """
    directory = Workdir(workdir)
    if directory.finished(to_json(config)):
        log(f"{directory.path} is finished")
        return read_json(directory.results)
    run = build(config, data_dir)
    devices = choose_devices(config, len(run.members), num_devices)
    if len(devices) < len(jax.devices()) and not num_devices:
        log(
            f"using {len(devices)} of {len(jax.devices())} devices, the most that the members or batch rows divide over"
        )
    if config.num_seeds % run.dataset.num_folds:
        log(
            f"note: {config.num_seeds} seeds do not divide over {run.dataset.num_folds} folds, so folds weigh unequally"
        )
    with directory.claimed(to_json(config)):
        _train(run, devices, directory, log)
        return evaluate(workdir, data_dir, log=log)


def _train(run, devices, directory, log):
    """Start or resume, and train to the end."""
    sharding = loop.state_sharding(devices, run.config.train.parallel)
    abstract = jax.eval_shape(functools.partial(init_states, run.method), run.members.seed)
    with watch_sigterm() as watch, checkpoint.open_manager(directory.checkpoints) as manager:
        if manager.latest_step() is None:
            step, states = 0, init_states(run.method, run.members.seed, sharding)
            members_per_step = choose_members_per_step(run.config, len(run.members), devices)
        else:
            step, item = checkpoint.restore_config(manager)
            states = checkpoint.restore_states(manager, step, abstract, sharding)
            members_per_step = item["members_per_step"]  # another one would round differently
            log(f"resuming {directory.path} at step {step}")
        directory.keep_metrics_until(step)
        _train_from(step, states, run, devices, members_per_step, directory, manager, watch, log)


def _train_from(step, states, run, devices, members_per_step, directory, manager, watch, log):
    """Advance from ``step`` to the end: a row of metrics per interval, a checkpoint every so often and at the end."""
    settings = run.config.train
    chunk = loop.make_chunk(run.method, settings.batch_size, members_per_step, devices, settings.parallel)
    everywhere = NamedSharding(loop.state_sharding(devices, settings.parallel).mesh, PartitionSpec())
    arrays = jax.device_put(run.dataset.train, everywhere)
    log_every = settings.log_every or -(-run.dataset.num_rows // settings.batch_size)
    reported = np.zeros(len(run.members), bool)
    progress = _Progress(step, settings.steps, len(run.members), log)
    while step < settings.steps:
        stop = watch.requested
        following = min(step + log_every, settings.steps)
        save = (
            following // settings.checkpoint_every > step // settings.checkpoint_every
            or following == settings.steps
            or stop
        )
        states, info = chunk(states, run.members.hyper, run.folds, arrays, np.int32(following - step))
        step = following
        info = {name: np.asarray(value, np.float64) for name, value in info._asdict().items()}
        directory.append_metrics({"step": step, **info})
        broken = ~np.all([np.isfinite(value) for value in info.values()], axis=0)
        for index in np.flatnonzero(broken & ~reported):
            log(f"warning: member {index} (seed {run.members.seed[index]}) is no longer finite, seen at step {step}")
        reported |= broken
        progress.update(step)
        if save:
            item = {
                "config": to_json(run.config),
                "normalization": run.dataset.normalization._asdict(),
                "version": __version__,
                "members_per_step": members_per_step,
                "training": {name: value.tolist() for name, value in info.items()},
            }
            checkpoint.save(manager, step, states, item)
        if stop:
            raise Preempted(step, settings.steps)
    progress.close()


def evaluate(
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    overrides: tuple[str, ...] = (),
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluate a run from its newest checkpoint's parameters alone.

    Without ``overrides`` this writes ``results.json`` and ``arrays.npz`` of the run, and the numbers are those of training. Overrides
    may change how actions are chosen (``method.sample_by``, ``method.num_candidates``) and judged (``evaluation.*``); the results are
    then returned and not written.

    Raises:
      InputError: if there is no checkpoint of this run, or an override would change the network.
    """
    directory = Workdir(workdir)
    config = from_json(read_json(directory.config), str(directory.config))
    with checkpoint.open_manager(directory.checkpoints, read_only=True) as manager:
        step, item = checkpoint.restore_config(manager)
        saved = from_json(item["config"], f"checkpoint {directory.checkpoints}/{step}")
        require(
            not differences(identity(to_json(saved)), identity(to_json(config))),
            f"{directory.path}: checkpoint and config.json are of different runs; train in a new one",
        )
        require(
            step == config.train.steps,
            f"{directory.path} is trained to step {step} of {config.train.steps}: finish it with experiments.train",
        )
        if overrides:
            config = _with_inference(config, overrides)
        normalization = Normalization(**{name: tuple(values) for name, values in item["normalization"].items()})
        run = build(config, data_dir, normalization)
        abstract = jax.eval_shape(functools.partial(init_states, run.method), run.members.seed)
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        params = checkpoint.restore_params(manager, step, abstract, device)
    results = _results(run, params, item["training"])
    if not overrides:
        write_arrays(directory.arrays, _figure_arrays(run, params))
        results = strict(results)
        if directory.results.exists():
            different = differences(results, read_json(directory.results))
            if different:
                log(f"warning: results differ from those of the run (another backend or version?): {different[0]}")
        write_json(directory.results, results)
    return results


def _with_inference(config: ExperimentConfig, overrides: tuple[str, ...]) -> ExperimentConfig:
    allowed = ("method.sample_by", "method.act_by", "method.num_candidates", "evaluation.")
    for override in overrides:
        require(override.startswith(allowed), f"--set={override}: evaluation may only change {', '.join(allowed)}*")
    return apply_overrides(config, overrides)


def _results(run: Run, params: PyTree, training: dict[str, list[float]]) -> dict[str, Any]:
    """Metrics of every member, their statistics per hyperparameter setting, and the ceiling that a perfect policy would score."""
    metrics = _evaluate_members(run, functools.partial(_conditional, run.method), params, run.members.seed)
    varied = [name for name, values in run.config.hyper.items() if len(values) > 1]
    settings = [
        {name: float(value[i]) for name, value in run.members.hyper._asdict().items()} for i in range(len(run.members))
    ]
    groups: dict[tuple, list[int]] = {}
    for index, setting in enumerate(settings):
        groups.setdefault(tuple(setting[name] for name in varied), []).append(index)
    ceiling = None
    if run.task.conditional is not None:
        seeds = np.asarray(run.config.seeds, np.int32)
        ceiling = _evaluate_members(run, lambda _: run.task.conditional, (), seeds)
        ceiling = {name: statistics.summarize(values) for name, values in ceiling.items()}
    return {
        "task": run.config.task_name,
        "method": run.config.method_name,
        "steps": run.config.train.steps,
        "members": [
            {"seed": int(seed), "hyper": setting} for seed, setting in zip(run.members.seed, settings, strict=True)
        ],
        "metrics": metrics,
        "training": training,
        "ceiling": ceiling,
        "statistics": [
            {
                "hyper": dict(zip(varied, key, strict=True)),
                "metrics": {name: statistics.summarize(values[indices]) for name, values in metrics.items()},
            }
            for key, indices in groups.items()
        ],
    }


def _conditional(method: Method, params: PyTree) -> Conditional:
    """One member's policy as the evaluator sees it."""
    log_prob = functools.partial(method.log_prob, params) if method.log_prob else None
    return Conditional(lambda key, obs, num: method.sample(key, params, obs, num), log_prob)


def _evaluate_members(
    run: Run, policy: Callable[[PyTree], Conditional], params: PyTree, seeds: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics ``[S]`` in one program, of the policies that ``params`` (leaves ``[S]``) stand for."""

    def one(params, seed, fold):
        key = jax.random.fold_in(jax.random.key(_EVALUATION_SEED), seed)
        heldout, mask = jax.tree.map(
            lambda leaf: jnp.asarray(leaf)[fold], (run.dataset.heldout, run.dataset.heldout_mask)
        )
        return run.task.evaluate(key, policy(params), heldout, mask, run.config.evaluation)

    together = min(choose_members_per_step(run.config, len(seeds), jax.devices()[:1]), _MOST_TOGETHER)
    metrics = jax.jit(map_members(one, together))(params, seeds, seeds % run.dataset.num_folds)
    return {name: np.asarray(values, np.float64) for name, values in metrics.items()}


def _figure_arrays(run: Run, params: PyTree) -> dict[str, np.ndarray]:
    """What figures are drawn from: demonstrations, samples of the first members, landscape and mixture of the first one."""
    spec, method = run.task.spec, run.method
    low, high = np.asarray(spec.obs_low), np.asarray(spec.obs_high)
    obs = jnp.asarray(np.linspace(low, high, 100 if np.any(high > low) else 1), jnp.float32)
    per_input = 20 if obs.shape[0] > 1 else 1000
    few = jax.tree.map(lambda leaf: leaf[:_FIGURE_MEMBERS], params)
    keys = jax.random.split(jax.random.key(_FIGURE_SEED), min(_FIGURE_MEMBERS, len(run.members)))
    samples = jax.jit(jax.vmap(lambda key, one: method.sample(key, one, obs, per_input)))(keys, few)
    demonstrations = jax.tree.map(lambda leaf: leaf[0], run.dataset.train)
    if run.dataset.num_folds > 1:  # members train on different rows: show all
        heldout = jax.tree.map(lambda leaf: leaf[0][run.dataset.heldout_mask[0]], run.dataset.heldout)
        demonstrations = jax.tree.map(lambda *parts: np.concatenate(parts), demonstrations, heldout)
    arrays = {"train_obs": demonstrations.obs, "train_action": demonstrations.action, "obs": obs, "samples": samples}
    first = jax.tree.map(lambda leaf: leaf[0], params)
    grid, _ = divergences.action_grid(spec, 200 if spec.action_dim == 1 else 100)
    actions = jnp.broadcast_to(grid[:, None], (grid.shape[0], obs.shape[0], spec.action_dim))
    if method.energy:
        arrays |= {"actions": grid, "energy": jax.jit(method.energy)(first, obs, actions)}
    if method.log_prob:
        arrays |= {"actions": grid, "log_prob": jax.jit(method.log_prob)(first, obs, actions)}
    if method.mixture:
        arrays |= jax.jit(method.mixture)(first, obs)._asdict()
    return {name: np.asarray(value) for name, value in arrays.items()}


class _Progress:
    """Steps done: a bar with rate and time left on a terminal, else a plain line every ten seconds and at the end."""

    def __init__(self, start: int, total: int, num_members: int, log: Callable[[str], None]):
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm.tqdm(total=total, initial=start, unit="step", desc=f"{num_members} members")
        self._start, self._done, self._total, self._members, self._log = start, start, total, num_members, log
        self._began = self._last = time.monotonic()

    def update(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(step - self._done)
        self._done = step
        now = time.monotonic()
        if self._bar is None and (now - self._last > 10 or step == self._total):
            rate = (step - self._start) / max(now - self._began, 1e-9)
            left = (self._total - step) / max(rate, 1e-9)
            self._log(f"step {step}/{self._total}, {self._members} members, {rate:.0f} steps/s, {left:.0f} s left")
            self._last = now

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
