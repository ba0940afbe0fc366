"""A run made concrete, and compiled: data, method, members, devices, and the one program that trains them all."""

import functools
import math
import os
import pathlib
import time
from typing import NamedTuple

import jax
import numpy as np

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import formats
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.methods.base import Method, in_data_units
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.tasks import TASKS, Task, recorded
from ebgan_mdn_jax.training import loop, stream
from ebgan_mdn_jax.training.devices import Layout, make_layout
from ebgan_mdn_jax.training.members import Members, MemberState, init_states, make_members, resize
from ebgan_mdn_jax.types import Horizon, require, resolve_path
from experiments import processes
from experiments.config import EpisodesConfig, ExperimentConfig

_SHARE_OF_MEMORY = 0.9  # the rest is for evaluation and the allocator's gaps


class Run(NamedTuple):
    """A config made concrete."""

    config: ExperimentConfig
    task: Task
    dataset: data.Dataset
    method: Method  # in data units
    members: Members
    folds: np.ndarray  # [S], which split of the data each member uses


class Program(NamedTuple):
    """A run compiled for its devices."""

    run: Run
    layout: Layout
    members_per_step: int
    num_padded: int  # members with the copies that fill up devices and steps
    chunk: jax.stages.Compiled
    seconds: float  # that compiling took; little where the persistent cache had it
    bytes_per_device: int

    @property
    def saved_on(self) -> jax.sharding.NamedSharding:
        """Where checkpoints are written from and read to: they hold the members without copies, which may not divide over devices."""
        even = self.num_padded == self.run.members.size
        return self.layout.members if even else self.layout.everywhere


def load_data(config: ExperimentConfig, data_dir: str | None = None, loaded: dict | None = None) -> data.Dataset:
    """The demonstrations of a run, without noise; prepared on first use. What ``loaded`` has is taken from there, the rest added to it."""
    loaded = {} if loaded is None else loaded
    if isinstance(config.data, EpisodesConfig):
        of = data_dir, config.data
        if of not in loaded:
            loaded[of] = _load_episodes(config.data, data_dir)
        return loaded[of]
    seeds = np.asarray(config.seeds)
    draws = tuple(seeds[np.argsort(seeds % seeds.size)].tolist()) if config.data.redraw else None
    of = config.task_name, data_dir, config.data.num_demonstrations, draws
    if of not in loaded:
        loaded[of] = data.load(*of)
    return loaded[of]


def _load_episodes(settings: EpisodesConfig, data_dir: str | None) -> data.Dataset:
    """The user's own demonstrations, from where they were or from ``data_dir``."""
    path = pathlib.Path(settings.path)
    path = resolve_path(data_dir) / path.name if data_dir else path
    return data.from_episodes(
        formats.read(path, settings.sha256),
        settings.history,
        settings.chunk,
        settings.heldout_share,
        name=str(path),
        top_return_share=settings.top_return_share,
        obs_units=settings.obs_units,
        action_margin=settings.action_margin,
    )


def build(
    config: ExperimentConfig,
    data_dir: str | None = None,
    normalization: Normalization | None = None,
    loaded: dict | None = None,
) -> Run:
    """Load the data and build the method; ``normalization`` defaults to the data set's own. ``loaded``: see `load_data`."""

    def prepare() -> None:
        load_data(config, data_dir, loaded)

    if jax.process_count() > 1:
        processes.first_decides(prepare)  # the first process makes what is missing, for all
    dataset = data.add_noise(load_data(config, data_dir, loaded), config.data.obs_noise, config.data.action_noise)
    own = isinstance(config.data, EpisodesConfig)
    task = recorded.make(dataset.spec, dataset.num_rows) if own else TASKS[config.task_name]
    if task.require:
        task.require(config.evaluation)
    normalization = normalization or dataset.normalization
    horizon = Horizon.of(config.train.steps, dataset.num_rows, config.train.batch_size, config.train.epoch_steps)
    module = METHODS[config.method_name]
    method = in_data_units(module.make(config.method, normalization.spec(task.spec), horizon), normalization)
    members = make_members(method, config.seeds, config.hyper)
    return Run(config, task, dataset, method, members, members.seed % dataset.num_folds)


def choose_layout(config: ExperimentConfig, num_members: int, num_devices: int = 0) -> Layout:
    """The devices of a run; 0 takes all that have something to do.

    Raises:
      InputError: if there are fewer devices, or members and minibatches cannot be laid out over so many.
    """
    available = jax.devices()
    settings = config.train
    require(
        num_devices <= len(available),
        f"--num_devices={num_devices}: this machine has {len(available)} {available[0].platform} device(s); use at most that many",
    )
    require(
        not num_devices or jax.process_count() == 1,
        "--num_devices: several processes use all their devices; leave it out",
    )
    count = num_devices or len(available)
    if not num_devices and jax.process_count() == 1:
        if settings.parallel == "seeds":
            count = min(count, num_members)
        elif settings.batch_devices:
            count = settings.batch_devices * min(count // settings.batch_devices, num_members) or count
        else:
            count = max(n for n in range(1, count + 1) if settings.batch_size % n == 0)
    return make_layout(available[:count], settings.parallel, settings.batch_devices)


def choose_members_per_step(run: Run, layout: Layout) -> int:
    """Members that run vectorised on each device: 1 on a CPU, all on an accelerator, unless the config says."""
    local = -(-run.members.size // layout.member_devices)
    automatic = 1 if layout.devices[0].platform == "cpu" else local
    return min(run.config.train.members_per_step or automatic, local)


def compile_program(run: Run, num_devices: int = 0) -> Program:
    """Compile the training of all members; nothing else needs to be compiled while they train.

    Unless the config says how many members run vectorised, their number is halved until the program fits the devices' memory.
    """
    layout = choose_layout(run.config, run.members.size, num_devices)
    chosen, limit = choose_members_per_step(run, layout), device_memory()
    seconds = 0.0
    while True:
        program = compile_on(run, layout, chosen)
        seconds += program.seconds
        fits = limit is None or program.bytes_per_device <= _SHARE_OF_MEMORY * limit
        if fits or chosen == 1 or run.config.train.members_per_step:
            return program._replace(seconds=seconds)
        chosen = -(-chosen // 2)


def compile_on(run: Run, layout: Layout, members_per_step: int) -> Program:
    """Compile for given devices and a given number of vectorised members."""
    if run.config.train.stream:
        stream.require_grain()
    began = time.monotonic()
    num_padded = math.ceil(run.members.size / (layout.member_devices * members_per_step))
    num_padded *= layout.member_devices * members_per_step
    members, folds = resize((run.members, run.folds), num_padded)
    shapes = lambda tree, sharding: jax.tree.map(  # noqa: E731
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )
    settings = run.config.train
    chunk = loop.make_chunk(run.method, settings.batch_size, members_per_step, layout, streamed=settings.stream > 0)
    states = abstract_states(run.method, members)
    arguments = [shapes(leaf, layout.members) for leaf in (states, members.hyper, folds)]
    rows = run.dataset.train
    if settings.stream:
        sizes = num_padded, settings.stream * settings.batch_size
        rows = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*sizes, leaf.shape[-1]), leaf.dtype), rows)
    compiled = chunk.lower(*arguments, shapes(rows, layout.everywhere), np.int32(0)).compile()
    memory = compiled.memory_analysis()
    needed = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Program(run, layout, members_per_step, num_padded, compiled, time.monotonic() - began, needed)


def abstract_states(method: Method, members: Members) -> MemberState:
    """Shapes of the states of ``members``."""
    return jax.eval_shape(functools.partial(init_states, method), members.seed)


def device_memory() -> int | None:
    """Bytes that programs may take on each accelerator; None on a CPU, which has the machine's."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def host_memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
