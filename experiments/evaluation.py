"""Judging a trained run from its checkpoint alone: metrics of every member, their statistics, and what figures are drawn from."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax import plotting
from ebgan_mdn_jax.evaluation import divergences, statistics
from ebgan_mdn_jax.methods.base import Method
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.tasks import find
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.training import checkpoint
from ebgan_mdn_jax.training.devices import Layout, fetch, make_layout, place
from ebgan_mdn_jax.training.members import map_members, resize
from ebgan_mdn_jax.types import Batch, InputError, Latents, PyTree, require
from experiments import processes
from experiments.config import (
    ExperimentConfig,
    apply_overrides,
    differences,
    from_json,
    inference_paths,
    to_json,
    training_part,
)
from experiments.program import Run, abstract_states, build
from experiments.summary import folds
from experiments.tables import direction, kind
from experiments.workdir import Workdir, read_json, strict, write_arrays, write_json

# Seeds of the draws in evaluation and figures: fixed, so that evaluating again gives the same numbers.
_EVALUATION_SEED = 1_000_003
_FIGURE_SEED = 1_000_033
_FIGURE_MEMBERS = 4
_FIGURE_TARGETS = 6  # at which arms are drawn
_FIGURE_NEAREST = 4  # demonstrations shown at each
_MOST_STREAMED_ROWS = 10_000  # training rows that evaluation sees where they do not all fit a device
_MOST_TOGETHER = 64  # members evaluated vectorised: a quadrature takes some 10 MB each


def evaluate(
    workdir: str | os.PathLike | Workdir,
    data_dir: str | None = None,
    overrides: tuple[str, ...] = (),
    log: Callable[[str], None] = print,
    num_devices: int = 0,
) -> dict[str, Any]:
    """Evaluate a run from its newest checkpoint's parameters alone.

    Without ``overrides`` this writes ``results.json`` and ``arrays.npz`` of the run, and the numbers are those of training. Overrides
    may change how actions are chosen (``method.sample_by``, ``method.num_candidates``) and judged (``evaluation.*``); the results are
    then returned and not written.

    Raises:
      InputError: if there is no checkpoint of this run, or an override would change the network.
    """
    directory = workdir if isinstance(workdir, Workdir) else Workdir(workdir)
    config = from_json(read_json(directory.config), str(directory.config))
    with checkpoint.open_manager(directory.checkpoints, read_only=True) as manager:
        step, item = checkpoint.restore_config(manager)
        saved = from_json(item["config"], f"checkpoint {directory.checkpoints}/{step}")
        require(
            not differences(training_part(to_json(saved)), training_part(to_json(config))),
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
        layout = _layout(run.members.size, num_devices)
        params = checkpoint.restore_params(manager, step, abstract_states(run.method, run.members), layout.everywhere)
    results = _results(run, layout, params, item["training"], item["failures"])
    few = fetch(jax.tree.map(lambda leaf: leaf[:_FIGURE_MEMBERS], params))
    if not overrides and processes.is_first():
        directory.check_claim()
        write_arrays(directory.arrays, _figure_arrays(run, few))
        results = strict(results)
        if directory.results.exists():
            try:
                different = differences(results, read_json(directory.results))
            except InputError as error:
                log(f"warning: results.json is written anew: {error}")
                different = []
            if different:
                log(f"warning: results differ from those of the run (another backend or version?): {different[0]}")
        write_json(directory.results, results)
    return results


def _with_inference(config: ExperimentConfig, overrides: tuple[str, ...]) -> ExperimentConfig:
    allowed = inference_paths(config.method_name)
    for override in overrides:
        path = override.partition("=")[0]
        require(
            path in allowed or path.startswith("evaluation."),
            f"--set={override}: evaluation may only change {', '.join([*allowed, 'evaluation.*'])}",
        )
    return apply_overrides(config, overrides)


def _layout(num_members: int, num_devices: int) -> Layout:
    """All devices that get a member, or the first ``num_devices`` of them."""
    available = jax.devices()[: num_devices or None]
    return make_layout(available if jax.process_count() > 1 else available[:num_members])


def _results(
    run: Run, layout: Layout, params: PyTree, training: dict[str, list[float]], failures: list[dict[str, Any]]
) -> dict[str, Any]:
    """Metrics of every member, their statistics per hyperparameter setting, and what a perfect policy and a baseline would score.

    A member that training had to freeze has no metrics (NaN), whatever its last finite parameters would score.
    """
    metrics = _evaluate_members(run, layout, functools.partial(_conditional, run.method), params, run.members.seed)
    if run.task.simulate:
        metrics |= _simulate_members(run, params)
    for values in metrics.values():
        values[[failure["member"] for failure in failures]] = np.nan
    varied = [name for name, values in run.config.hyper.items() if len(values) > 1]
    settings = [
        {name: float(value[i]) for name, value in run.members.hyper._asdict().items()} for i in range(run.members.size)
    ]
    strata = folds(run.config.task_name, run.members.seed)
    groups: dict[tuple, list[int]] = {}
    for index, setting in enumerate(settings):
        groups.setdefault(tuple(setting[name] for name in varied), []).append(index)
    name, baseline = run.task.baseline or (None, None)
    return {
        "task": run.config.task_name,
        "method": run.config.method_name,
        "steps": run.config.train.steps,
        "members": [
            {"seed": int(seed), "hyper": setting} for seed, setting in zip(run.members.seed, settings, strict=True)
        ],
        "metrics": metrics,
        "training": training,
        "failures": failures,
        "ceiling": _untrained(run, layout, run.task.conditional),
        "baseline": None if baseline is None else {"name": name, "metrics": _untrained(run, layout, baseline)},
        "validation": _validation(run.config.task_name, metrics),
        "statistics": [
            {
                "hyper": dict(zip(varied, key, strict=True)),
                "metrics": {
                    name: statistics.summarize(values[indices], strata[indices]) for name, values in metrics.items()
                },
            }
            for key, indices in groups.items()
        ],
    }


def _untrained(run: Run, layout: Layout, policy: Conditional | None) -> dict[str, Any] | None:
    """Statistics of a policy that has no parameters, with the draws and folds of the run's seeds."""
    if policy is None:
        return None
    seeds = np.asarray(run.config.seeds, np.int32)
    layout = make_layout(layout.devices if jax.process_count() > 1 else layout.devices[: len(seeds)])
    metrics = _evaluate_members(run, layout, lambda _: policy, (), seeds)
    of_seed = folds(run.config.task_name, seeds)
    return {name: statistics.summarize(values, of_seed) for name, values in metrics.items()}


def _validation(task_name: str, metrics: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """The best member by the task's primary metric; None where the method has no such metric or no member a finite value."""
    primary = find(task_name).primary
    name = next((metric for metric in metrics if primary in (metric, kind(metric))), None)
    if name is None or not np.any(np.isfinite(metrics[name])):
        return None
    values = direction(name) * metrics[name]
    return {"metric": name, "member": int(np.argmax(np.where(np.isfinite(values), values, -np.inf)))}


def _conditional(method: Method, params: PyTree) -> Conditional:
    """One member's policy as the evaluator sees it."""
    densities = [functools.partial(fn, params) if fn else None for fn in (method.log_prob, method.energy)]
    latents = method.latents and Latents(*(functools.partial(fn, params) for fn in method.latents))
    return Conditional(
        lambda key, obs, num: method.sample(key, params, obs, num),
        *densities,
        lambda key, obs: method.act(key, params, obs),
        latents,
    )


def _all_data(run: Run) -> Data:
    """What members are trained on and judged by, leaves ``[F, ...]``."""
    train = run.dataset.train
    if run.config.train.stream:  # all would not fit the device
        train = jax.tree.map(lambda leaf: leaf[:, :_MOST_STREAMED_ROWS], train)
    return Data(train, run.dataset.heldout, run.dataset.heldout_mask, run.dataset.context)


def _evaluate_members(
    run: Run, layout: Layout, policy: Callable[[PyTree], Conditional], params: PyTree, seeds: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics ``[S]`` in one program over all devices, of the policies that ``params`` (leaves ``[S]``) stand for."""

    def one(params, seed, fold):
        key = jax.random.fold_in(jax.random.key(_EVALUATION_SEED), seed)
        data = jax.tree.map(lambda leaf: jnp.asarray(leaf)[fold], _all_data(run))
        return run.task.evaluate(key, policy(params), data, run.config.evaluation)

    local = -(-len(seeds) // layout.member_devices)
    on_cpu = layout.devices[0].platform == "cpu"
    together = min(run.config.train.members_per_step or (1 if on_cpu else local), local, _MOST_TOGETHER)
    num_padded = -(-local // together) * together * layout.member_devices
    mapped = jax.shard_map(
        map_members(one, together), mesh=layout.mesh, in_specs=P("member"), out_specs=P("member"), check_vma=False
    )
    fold_of = seeds % run.dataset.num_folds
    seeds_and_folds = place(resize((seeds, fold_of), num_padded), layout.members)
    metrics = jax.jit(mapped)(resize(params, num_padded, layout.members), *seeds_and_folds)
    return {name: np.asarray(values[: len(seeds)], np.float64) for name, values in fetch(metrics).items()}


def _simulate_members(run: Run, params: PyTree) -> dict[str, np.ndarray]:
    """Metrics ``[S]`` in the task's simulator, one member after another."""
    act, params, rows = jax.jit(run.method.act), fetch(params), []
    for index, seed in enumerate(run.members.seed):
        key = jax.random.fold_in(jax.random.key(_EVALUATION_SEED), int(seed))
        one = jax.device_put(jax.tree.map(lambda leaf, index=index: leaf[index], params))
        policy = lambda key, obs, one=one: np.asarray(act(key, one, obs))  # noqa: E731
        rows.append(run.task.simulate(key, policy, run.config.evaluation))
    return {name: np.asarray([row[name] for row in rows], np.float64) for name in rows[0]}


def _figure_arrays(run: Run, params: PyTree) -> dict[str, np.ndarray]:
    """What figures are drawn from: demonstrations, samples of the first members, landscape and mixture of the first one, arms."""
    spec, method = run.task.spec, run.method
    demonstrations = jax.tree.map(lambda leaf: leaf[0], run.dataset.train)
    if run.task.num_folds > 1:  # members train on different rows: show all
        heldout = jax.tree.map(lambda leaf: leaf[0][run.dataset.heldout_mask[0]], run.dataset.heldout)
        demonstrations = jax.tree.map(lambda *parts: np.concatenate(parts), demonstrations, heldout)
    obs = jnp.asarray(_figure_inputs(run, demonstrations.obs), jnp.float32)
    per_input = 20 if obs.shape[0] > 1 else 1000
    keys = jax.random.split(jax.random.key(_FIGURE_SEED), min(_FIGURE_MEMBERS, run.members.size))
    samples = jax.jit(jax.vmap(lambda key, one: method.sample(key, one, obs, per_input)))(keys, params)
    arrays = {"train_obs": demonstrations.obs, "train_action": demonstrations.action, "obs": obs, "samples": samples}
    first = jax.tree.map(lambda leaf: leaf[0], params)
    if plotting.geometry(arrays):
        grid, _ = divergences.action_grid(spec, 200 if spec.action_dim == 1 else 100)
        actions = jnp.broadcast_to(grid[:, None], (grid.shape[0], obs.shape[0], spec.action_dim))
        if method.energy:
            arrays |= {"actions": grid, "energy": jax.jit(method.energy)(first, obs, actions)}
        if method.log_prob:
            arrays |= {"actions": grid, "log_prob": jax.jit(method.log_prob)(first, obs, actions)}
    if method.mixture:
        rows = jax.jit(method.mixture)(first, obs)
        arrays |= (rows if isinstance(rows, mixtures.Mixture) else mixtures.full(rows))._asdict()
    if run.task.joints:
        arrays |= _arm_arrays(run.task.joints, demonstrations, np.asarray(obs), np.asarray(samples))
    if run.task.drawn:
        every = _all_data(run)._replace(train=run.dataset.train)
        data = jax.tree.map(lambda leaf: jnp.asarray(leaf[run.folds[0]]), every)
        draw = jax.jit(lambda key, one: run.task.drawn(key, _conditional(method, one), data))
        arrays |= draw(jax.random.key(_FIGURE_SEED), first)
    return {name: np.asarray(value) for name, value in arrays.items()}


def _figure_inputs(run: Run, train_obs: np.ndarray) -> np.ndarray:
    """Where policies are drawn ``[P, Do]``: equally spaced, the only observation there is, or 100 of several dimensions from training."""
    low, high = np.asarray(run.task.spec.obs_low), np.asarray(run.task.spec.obs_high)
    if np.all(high == low):
        return low[None]
    if low.size == 1:
        return np.linspace(low, high, 100)
    return train_obs[np.linspace(0, len(train_obs) - 1, min(100, len(train_obs))).astype(int)]


def _arm_arrays(joints: Callable, demonstrations: Batch, obs: np.ndarray, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Joint positions at a few of the targets ``obs``: of the samples there, and of the demonstrations whose targets are nearest."""
    chosen = np.unique(np.linspace(0, len(obs) - 1, _FIGURE_TARGETS).astype(int))
    distance = np.linalg.norm(obs[chosen, None] - demonstrations.obs[None], axis=-1)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :_FIGURE_NEAREST]
    near = np.moveaxis(demonstrations.action[nearest], 1, 0)
    return {
        "arm_targets": obs[chosen],
        "arm_samples": np.asarray(joints(jnp.asarray(samples[:, :, chosen]))),
        "arm_demonstrations": np.asarray(joints(jnp.asarray(near))),
    }
