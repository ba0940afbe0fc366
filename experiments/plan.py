"""What a sweep will run: configs from flags, grids expanded, and each run compiled before any starts.

Values of ``hyper.*`` become members of one program. Every other setting changes the program, so each of its values is a run of its own:
masking smaller ones into one program makes all members pay for the largest, which costs more than compiling
(`experiments.benchmarks.masking`). Runs that differ only in how actions are chosen or judged are trained once.
"""

import itertools
import json
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from ebgan_mdn_jax.types import InputError, require, resolve_path
from experiments import flags
from experiments.config import ExperimentConfig, make_config, split_values, to_json, training_part
from experiments.configs import CONFIGS
from experiments.configs.base import RunSpec, run_spec
from experiments.events import require_tensorboard
from experiments.program import Program, build, compile_program, device_memory, host_memory
from experiments.report import OUTPUTS
from experiments.workdir import refuse_strangers

SELECTION = (flags.CONFIG, flags.GRID, flags.TASK, flags.DATA, flags.METHOD, *flags.TRAINING)


def configs_from_flags() -> dict[str, ExperimentConfig]:
    """Name and config of every run that ``--config``, or ``--task`` and ``--method``, and ``--grid`` ask for.

    Raises:
      InputError: if they do not make sense together.
    """
    name = flags.CONFIG.value
    require(
        name is not None or flags.GRID.value or any(flag.present for flag in (flags.TASK, flags.DATA, flags.METHOD)),
        f"--config is missing: expected one of {', '.join(CONFIGS)}, or a grid such as --grid=hyper.energy_weight=0,1",
    )
    if name is not None:
        for flag in (flags.TASK, flags.DATA, flags.METHOD, flags.PRESET):
            require(not flag.present, f"--{flag.name} has no meaning beside --config, which names tasks and methods")
        specs = CONFIGS[name]
    else:
        for flag in (flags.TASK, flags.METHOD, flags.PRESET):
            beside = any(entry.startswith(f"{flag.name}=") for entry in flags.GRID.value)
            require(not (flag.present and beside), f"--{flag.name} has no meaning beside --grid={flag.name}=...")
        specs = (run_spec(flags.task(), flags.METHOD.value, flags.SEEDS.value, preset=flags.PRESET.value),)
    num_seeds = flags.SEEDS.value if flags.SEEDS.present else None
    return expand(specs, flags.GRID.value, flags.overrides(), num_seeds, flags.FIRST_SEED.value)


def expand(
    specs: Iterable[RunSpec],
    grid: Iterable[str] = (),
    overrides: Iterable[str] = (),
    num_seeds: int | None = None,
    first_seed: int = 0,
) -> dict[str, ExperimentConfig]:
    """Every run of ``specs`` at every combination of the grid's settings.

    Args:
      specs: the runs of a sweep.
      grid: "path=value,value,...", each path once; "task", "method" and "preset" are paths too.
      overrides: "path=value", for every run.
      num_seeds: instead of that of the specs.
      first_seed: of every run.

    Returns:
      Configs by run name: the spec's name and the settings that tell its runs apart.
    """
    settings, overrides = {}, list(overrides)
    for entry in grid:
        path, separator, text = entry.partition("=")
        values = split_values(text)
        require(bool(separator and values), f"--grid={entry}: expected path=value,value,...")
        require(path not in settings, f"--grid={entry}: {path} is given twice; list all values once")
        require(len(set(values)) == len(values), f"--grid={entry}: a value occurs twice; give each once")
        settings[path] = values
    for override in overrides:
        path = override.partition("=")[0]
        require(
            path not in settings, f"--grid={path}=...: {override} is given for every run too; leave one of them out"
        )
    hyper = [f"{path}={','.join(values)}" for path, values in settings.items() if path.startswith("hyper.")]
    axes = {path: values for path, values in settings.items() if not path.startswith("hyper.")}
    configs = {}
    for spec in specs:
        for values in itertools.product(*axes.values()):
            setting = dict(zip(axes, values, strict=True))
            name, config = _expand_one(spec, setting, [*hyper, *overrides], settings, num_seeds, first_seed)
            require(
                name not in configs,
                f"--grid: two runs are called {name}; leave out the path that names the same runs again",
            )
            configs[name] = config
    return configs


def _expand_one(spec, setting, overrides, grid, num_seeds, first_seed):
    setting = dict(setting)
    task, method = setting.pop("task", spec.task), setting.pop("method", spec.method)
    preset = setting.get("preset", spec.preset)
    variant = spec.name.removeprefix(f"{pathlib.PurePath(spec.task).name}-{spec.method}").lstrip("-")
    variant = [variant] if variant else []
    variant += [f"{path.rpartition('.')[2]}={_plain(value)}" for path, value in setting.items()]
    named = run_spec(task, method, num_seeds or spec.num_seeds, variant=",".join(variant))
    overrides = [
        *spec.overrides,
        *(f"{path}={value}" for path, value in setting.items() if path != "preset"),
        *overrides,
    ]
    try:
        return named.name, make_config(task, method, named.num_seeds, first_seed, overrides, preset)
    except InputError as error:
        message = str(error)
        for path in grid:
            message = message.replace(f"--set={path}=", f"--grid={path}=")
        raise InputError(f"run {named.name}: {message}") from error


def _plain(value: str) -> str:
    """A value as part of a folder's name."""
    return "x".join(part.strip() for part in value.strip("()").split(",") if part.strip())


class Plan(NamedTuple):
    """What is left to do, by run name."""

    programs: dict[str, Program]  # to train
    borrowed: dict[str, str]  # to judge only: the run that trains the same


def compile_plan(
    configs: Mapping[str, ExperimentConfig],
    finished: Callable[[str], bool],
    data_dir: str | None,
    num_devices: int,
    log: Callable[[str], None] = print,
) -> Plan:
    """Compile every run that is not finished, and tell what there is to do: members, programs, compilations, memory."""
    left = [name for name in configs if not finished(name)]
    source = trained_as(configs, left)
    borrowed = {name: source[name] for name in left if source[name] != name}
    trains = set(source.values())
    members = sum(count_members(configs[name]) for name in trains)
    total = f"{_plural(members, 'member')} in {_plural(len(trains), 'program')}"
    done = f"; {len(configs) - len(left)} finished" if len(left) < len(configs) else ""
    log(f"plan: {_plural(len(configs), 'run')}, {total}{done}")
    programs, loaded = {}, {}
    for name in left:
        if name in borrowed:
            log(f"  {name}: trained as {borrowed[name]}")
            continue
        config = configs[name]
        program = programs[name] = compile_program(build(config, data_dir, loaded=loaded), num_devices)
        together = f", {program.members_per_step} at a time" if program.members_per_step > 1 else ""
        log(
            f"  {name}: {_members(config)}, {config.train.steps} steps{together}; {_layout(program)}, "
            f"{_size(program.bytes_per_device)}, compiled in {program.seconds:.1f} s"
        )
    if programs:
        most = max(program.bytes_per_device for program in programs.values())
        limit = device_memory()
        of = f"{_size(limit)} of the device" if limit else f"{_size(host_memory())} of the machine"
        seconds = sum(program.seconds for program in programs.values())
        log(
            f"{total}, {_plural(len(programs), 'compilation')} ({seconds:.1f} s), estimated memory per device at most "
            f"{_size(most)} of {of}"
        )
    return Plan(programs, borrowed)


def trained_as(configs: Mapping[str, ExperimentConfig], unfinished: Collection[str]) -> dict[str, str]:
    """For every run, the one that trains the same for all: those that only choose or judge actions otherwise take its checkpoint.

    It is a finished one, if there is any, else the first.
    """
    same = {name: json.dumps(training_part(to_json(config))) for name, config in configs.items()}
    source: dict[str, str] = {}
    for name in sorted(configs, key=lambda name: name in unfinished):  # a stable sort: finished runs first
        source.setdefault(same[name], name)
    return {name: source[same[name]] for name in configs}


def folder_from_flags(configs: Collection[str]) -> pathlib.Path:
    """The folder for the runs named ``configs``, which need not exist yet.

    Raises:
      InputError: if it holds anything else, or ``--tensorboard`` is asked for and not installed.
    """
    if flags.TENSORBOARD.value:
        require_tensorboard()
    name = flags.CONFIG.value or f"{pathlib.PurePath(flags.task()).name}-{flags.METHOD.value}-sweep"
    directory = resolve_path(flags.WORKDIR.value or f"runs/{name}")
    refuse_strangers(directory, (*configs, *OUTPUTS, "provenance.json"))
    return directory


def count_members(config: ExperimentConfig) -> int:
    """Seeds times settings."""
    count = config.num_seeds
    for values in config.hyper.values():
        count *= len(values)
    return count


def _members(config: ExperimentConfig) -> str:
    settings = count_members(config) // config.num_seeds
    seeds = _plural(config.num_seeds, "seed")
    return f"{_plural(count_members(config), 'member')} ({seeds} x {settings} settings)" if settings > 1 else seeds


def _layout(program: Program) -> str:
    layout = program.layout
    text = _plural(len(layout.devices), f"{layout.devices[0].platform} device")
    if layout.batch_devices > 1:
        text += f" ({layout.member_devices} x {layout.batch_devices} sharing minibatches)"
    return text


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"
