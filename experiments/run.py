"""One run, from a config to ``results.json``: train with checkpoints, then evaluate from the checkpoint alone.

The drivers are thin shells around `train` and `evaluation.evaluate`; nothing here reads a flag.
"""

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from ebgan_mdn_jax import __version__
from ebgan_mdn_jax.tasks import find
from ebgan_mdn_jax.training import checkpoint, stream
from ebgan_mdn_jax.training.devices import fetch, place
from ebgan_mdn_jax.training.members import causes, init_states, resize
from ebgan_mdn_jax.types import PyTree, steps_per_epoch
from experiments import events, processes
from experiments.config import ExperimentConfig, to_json
from experiments.evaluation import evaluate
from experiments.preemption import Preempted, watch_sigterm
from experiments.program import Program, Run, abstract_states, build, compile_on, compile_program
from experiments.summary import member_name
from experiments.workdir import Workdir, read_json


class Interval(NamedTuple):
    """What is looked at after a stretch of steps; arrays that may still be computed."""

    step: int
    info: PyTree  # means over the steps, leaves [S]
    failed_at: jax.Array
    cause: jax.Array


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    num_devices: int = 0,
    log: Callable[[str], None] = print,
    program: Program | None = None,
    trained_in: str | os.PathLike | None = None,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train all members, or go on where an earlier call was cut off, and evaluate; returns what ``results.json`` holds.

    Args:
      config: of the run.
      workdir: its folder.
      data_dir: see `ebgan_mdn_jax.data.load`.
      num_devices: see `program.choose_layout`.
      log: takes lines for people.
      program: the run compiled before, as a sweep's plan does.
      trained_in: folder of a finished run that differs only in how actions are chosen and judged; its checkpoint is used instead.
      tensorboard: write event files too.

    Raises:
      InputError: before anything is written, if the config, the data or the folder is not usable.
      Preempted: after SIGTERM, when the state is saved.
    """
    directory = Workdir(workdir)
    if processes.first_decides(lambda: directory.finished(to_json(config))):
        log(f"{directory.path} is finished")
        return read_json(directory.results)
    if trained_in is None:
        program = program or compile_program(build(config, data_dir), num_devices)
    num_folds = find(config.task_name).num_folds
    if config.num_seeds % num_folds:
        log(f"note: {config.num_seeds} seeds do not divide over {num_folds} folds, so folds weigh unequally")
    with contextlib.ExitStack() as stack:
        processes.first_decides(lambda: stack.enter_context(directory.claimed(to_json(config))))
        if not processes.first_decides(directory.results.exists):  # another worker may have finished it in the meantime
            if trained_in is None:
                _train(program, directory, log, tensorboard)
            else:
                processes.first_decides(lambda: directory.adopt(Workdir(trained_in)))
            evaluate(directory, data_dir, log=log, num_devices=num_devices)
        processes.first_decides(lambda: None)  # the others wait until the results are written
    return read_json(directory.results)


def _train(program, directory, log, tensorboard):
    """Start or resume, and train to the end."""
    run = program.run
    with watch_sigterm() as watch, checkpoint.open_manager(directory.checkpoints) as manager:
        if manager.latest_step() is None:
            step = 0
            states = init_states(run.method, resize(run.members, program.num_padded).seed, program.layout.members)
        else:
            step, item = checkpoint.restore_config(manager)
            if item["members_per_step"] != program.members_per_step:  # another one would round differently
                program = compile_on(run, program.layout, item["members_per_step"])
                log(f"members_per_step={item['members_per_step']} as before, so that sums are rounded as before")
            states = checkpoint.restore_states(
                manager, step, abstract_states(run.method, run.members), program.saved_on
            )
            states = resize(states, program.num_padded, program.layout.members)
            log(f"resuming {directory.path} at step {step}")
        if processes.is_first():
            directory.keep_rows_until(step)
        events_in = directory.tensorboard if tensorboard and processes.is_first() else None
        write_events = events.writer(events_in, member_names(run), step)
        _train_from(step, states, program, directory, manager, watch, write_events, log)


def _train_from(step, states, program, directory, manager, watch, write_events, log):
    """Advance from ``step`` to the end: a row of metrics per interval, a checkpoint every so often and at the end."""
    run, layout, settings = program.run, program.layout, program.run.config.train
    count = run.members.size
    hyper, folds = place(resize((run.members.hyper, run.folds), program.num_padded), layout.members)
    log_every = settings.stream or settings.log_every or steps_per_epoch(run.dataset.num_rows, settings.batch_size)
    if settings.stream:
        keys = jax.random.wrap_key_data(fetch(jax.random.key_data(states.train.key)))
        read = stream.blocks(
            run.dataset.train, keys, fetch(folds), settings.batch_size, step, settings.steps, settings.stream
        )
        blocks = (place(block, layout.everywhere) for block in read)
        folds = place(np.arange(program.num_padded, dtype=np.int32), layout.members)
    else:
        blocks = itertools.repeat(place(run.dataset.train, layout.everywhere))
    progress = _Progress(step, settings.steps, count, log)
    failed = np.zeros(count, bool)
    waiting = None
    began = time.monotonic() - (directory.read_seconds() or 0.0)

    def look(interval):
        """Wait for an interval, log it; returns its infos and what has failed so far."""
        info, failed_at, cause = jax.tree.map(lambda leaf: leaf[:count], fetch(tuple(interval[1:])))
        info = {name: value.astype(np.float64) for name, value in info._asdict().items()}
        failures = _failures(run, failed_at, cause)
        if processes.is_first():
            directory.append_metrics({"step": interval.step, **info})
            write_events(interval.step, info)
        for failure in failures:
            if not failed[failure["member"]]:
                log(_describe(run, failure))
                failed[failure["member"]] = True
        progress.update(interval.step)
        return info, failures

    def save(interval):
        """Look at the last interval and save the states after it."""
        info, failures = look(interval)
        item = {
            "config": to_json(run.config),
            "normalization": run.dataset.normalization._asdict(),
            "spec": run.task.spec._asdict(),
            "num_rows": run.dataset.num_rows,
            "version": __version__,
            "members_per_step": program.members_per_step,
            "training": {name: value.tolist() for name, value in info.items()},
            "failures": failures,
        }
        if processes.is_first():
            directory.append_seconds(interval.step, time.monotonic() - began)
        directory.check_claim()
        checkpoint.save(manager, interval.step, resize(states, count, layout.everywhere), item)

    while step < settings.steps:
        if processes.any_process(watch.requested):
            if waiting is not None:
                save(waiting)
            raise Preempted(step, settings.steps)
        following = min(step + log_every, settings.steps)
        due = following // settings.checkpoint_every > step // settings.checkpoint_every
        states, info = program.chunk(states, hyper, folds, next(blocks), np.int32(following - step))
        step = following
        # The next interval is dispatched before the last one is looked at, so that the devices of one process do not wait for the host.
        ready, waiting = waiting, Interval(step, info, jnp.copy(states.failed_at), jnp.copy(states.cause))
        if ready is not None:
            look(ready)
        if due or step == settings.steps:
            save(waiting)
            waiting = None
    progress.close()
    if processes.any_process(
        watch.requested
    ):  # in the last interval: all processes leave evaluation to the next launch
        raise Preempted(step, settings.steps)


def _failures(run, failed_at, cause):
    return [
        {
            "member": int(index),
            "seed": int(run.members.seed[index]),
            "step": int(failed_at[index]),
            "cause": causes(run.method)[cause[index]],
        }
        for index in np.flatnonzero(failed_at >= 0)
    ]


def _describe(run, failure):
    return (
        f"warning: member {failure['member']} ({member_names(run)[failure['member']]}) is frozen: not finite at step "
        f"{failure['step']} ({failure['cause']}); the others go on"
    )


def member_names(run: Run) -> list[str]:
    """Each member's seed, and the hyperparameters that vary."""
    varied = [name for name, values in run.config.hyper.items() if len(values) > 1]
    hyper = run.members.hyper
    return [
        member_name(seed, {name: float(getattr(hyper, name)[index]) for name in varied})
        for index, seed in enumerate(run.members.seed)
    ]


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
