"""The frozen configuration of a run, its overrides from the command line, and its JSON form."""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from ebgan_mdn_jax.data import formats
from ebgan_mdn_jax.data.episodes import ObsUnits
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import TASKS, find, require_known
from ebgan_mdn_jax.tasks.base import EvaluationConfig
from ebgan_mdn_jax.training.devices import Parallel
from ebgan_mdn_jax.types import InputError, from_fields, require, require_choices, resolve_path
from experiments import presets


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a run trains.

    ``steps`` counts generator (policy) steps. ``members_per_step`` members run vectorised, the rest one after another; 0 chooses by
    backend and memory. ``parallel`` and ``batch_devices`` say how devices share the work: see `ebgan_mdn_jax.training.devices`. A row of
    metrics, the mean over its steps, is logged every ``log_every`` steps (0: every epoch) and at the end. Checkpoints are saved with the
    first row after every ``checkpoint_every`` steps, and at the end. With ``stream`` above 0 the rows stay on the host, and the device has
    the minibatches of so many steps at a time (`ebgan_mdn_jax.training.stream`); that is then ``log_every``, too. What schedules, such as
    ``method.decay_every``, call an epoch are the steps that read all rows, or ``epoch_steps`` where that is above 0.
    """

    steps: int = 5000
    batch_size: int = 32
    members_per_step: int = 0
    parallel: Parallel = "seeds"
    batch_devices: int = 0
    log_every: int = 0
    checkpoint_every: int = 1000
    stream: int = 0
    epoch_steps: int = 0

    def __post_init__(self):
        require_choices(self, "train")
        for name in ("steps", "batch_size", "checkpoint_every"):
            require(1 <= getattr(self, name) < 2**31, f"train.{name}={getattr(self, name)}: needs 1 to 2147483647")
        for name in ("members_per_step", "batch_devices", "log_every", "stream", "epoch_steps"):
            require(getattr(self, name) >= 0, f"train.{name}={getattr(self, name)}: needs 0 (automatic) or more")
        require(
            not (self.stream and self.log_every),
            f"train.stream={self.stream}: metrics are logged as often; leave out train.log_every={self.log_every}",
        )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What a method trains on; held-out rows stay as they are.

    ``num_demonstrations``: training rows of a synthetic task; None takes the task's own number. ``redraw``: every seed has a data set of
    its own, the same for all methods, so that intervals cover what other demonstrations would give; else all seeds share one.
    ``obs_noise`` and ``action_noise``: standard deviation of Gaussian noise added to the training rows, in data units.
    """

    num_demonstrations: int | None = None
    redraw: bool = False
    obs_noise: float = 0.0
    action_noise: float = 0.0

    def __post_init__(self):
        for name in ("obs_noise", "action_noise"):
            require(getattr(self, name) >= 0, f"data.{name}={getattr(self, name)}: needs 0 or a positive deviation")


@dataclasses.dataclass(frozen=True)
class EpisodesConfig:
    """Your own demonstrations: the file, its checksum, and how its episodes become rows; see `ebgan_mdn_jax.data.episodes`.

    ``history`` observations are seen at once, ``chunk`` actions are given at once, ``heldout_share`` of the episodes are kept to judge by;
    ``top_return_share`` of them are taken at all, those with the highest sum of rewards; observations are in ``obs_units``, and the box of
    actions, whose half extents scores are in, is wider than their range by ``action_margin``.
    """

    path: str
    sha256: str
    history: int = 1
    chunk: int = 1
    heldout_share: float = 0.1
    top_return_share: float = 1.0
    obs_units: ObsUnits = "range"
    action_margin: float = 0.0
    obs_noise: float = 0.0
    action_noise: float = 0.0

    def __post_init__(self):
        require_choices(self, "data")
        for name in ("obs_noise", "action_noise"):
            require(getattr(self, name) >= 0, f"data.{name}={getattr(self, name)}: needs 0 or a positive deviation")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides a run's numbers. ``method`` is the Config of the method named, ``hyper`` maps names to values to try.

    ``task_name`` is a file's name where demonstrations are the user's own.
    """

    task_name: str
    method_name: str
    num_seeds: int
    first_seed: int
    train: TrainConfig
    data: DataConfig | EpisodesConfig
    method: Any
    hyper: dict[str, tuple[float, ...]]
    evaluation: EvaluationConfig

    @property
    def seeds(self) -> range:
        """The seeds of the run."""
        return range(self.first_seed, self.first_seed + self.num_seeds)


def make_config(
    task_name: str,
    method_name: str,
    num_seeds: int = 1,
    first_seed: int = 0,
    overrides: Iterable[str] = (),
    preset: presets.Preset = "default",
) -> ExperimentConfig:
    """Defaults of a task and a method, changed by those of the preset and then by ``overrides`` of the form "path=value".

    Paths start with train, data, method, evaluation or hyper; ``hyper`` values may be lists, whose combinations become members. In place
    of a task there may be a path of your own demonstrations, of a kind that `data.formats` reads.

    Raises:
      InputError: if a name, path, type or value is wrong.
    """
    own = formats.has_reader(task_name)
    if not own:
        require_known(task_name)
    require(method_name in METHODS, f"unknown method {method_name!r}: expected one of {', '.join(METHODS)}")
    require(num_seeds >= 1, f"seeds={num_seeds}: needs at least 1")
    require(first_seed >= 0, f"first_seed={first_seed}: needs 0 or more")
    require(first_seed + num_seeds <= 2**31, f"first_seed={first_seed}: seeds end at 2147483647")
    module = METHODS[method_name]
    data = DataConfig()
    if own:
        path = resolve_path(task_name)
        task_name, data = path.name, EpisodesConfig(str(path), formats.checksum(path))
    config = ExperimentConfig(
        task_name,
        method_name,
        num_seeds,
        first_seed,
        TrainConfig(),
        data,
        module.Config(),
        {name: (float(value),) for name, value in module.Hyper()._asdict().items()},
        find(task_name).evaluation,
    )
    return apply_overrides(config, [*presets.preset(preset, task_name, method_name), *overrides])


def apply_overrides(config: ExperimentConfig, overrides: Iterable[str]) -> ExperimentConfig:
    """The config changed by overrides of the form "path=value"; of several for one path the last one counts.

    Raises:
      InputError: if a path, type or value is wrong.
    """
    # All values of one dataclass are set together, so that a check of several fields sees the final ones.
    changes: dict[str, str] = {}
    for override in overrides:
        path, separator, text = override.partition("=")
        require(bool(separator), f"--set={override}: expected path=value, such as --set=train.batch_size=64")
        changes[path] = text
    valid = override_paths(config)
    for path in changes:
        if path not in valid:
            close = difflib.get_close_matches(path, valid, n=1, cutoff=0.85)
            close = close or [known for known in valid if known.endswith(f".{path}")]
            mend = f"did you mean {close[0]}?" if close else f"valid ones are {', '.join(valid)}"
            raise InputError(f"--set={path}=...: no such path; {mend}")
    hyper = dict(config.hyper)
    for path, text in changes.items():
        if path.startswith("hyper."):
            hyper[path.removeprefix("hyper.")] = _parse_hyper(path, text)
    sections = {
        name: _replace(getattr(config, name), name, changes) for name in ("train", "data", "method", "evaluation")
    }
    return dataclasses.replace(config, hyper=hyper, **sections)


def override_paths(config: ExperimentConfig) -> list[str]:
    """All paths that an override may set."""
    sections = ("train", "data", "method", "evaluation")
    paths = [path for section in sections for path in _leaves(getattr(config, section), section)]
    return paths + [f"hyper.{name}" for name in config.hyper]


def to_json(config: ExperimentConfig) -> dict[str, Any]:
    """Plain JSON data, the inverse of `from_json`."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(data: dict[str, Any], source: str) -> ExperimentConfig:
    """Rebuild a config; ``source`` names where it came from in messages.

    Raises:
      InputError: if it is not one that this version of the library writes.
    """
    try:
        module = METHODS[data["method_name"]]
        data_class = DataConfig if data["task_name"] in TASKS else EpisodesConfig
        classes = {"train": TrainConfig, "data": data_class, "method": module.Config, "evaluation": EvaluationConfig}
        sections = {name: from_fields(cls, data[name]) for name, cls in classes.items()}
        hyper = {name: tuple(map(float, data["hyper"][name])) for name in module.Hyper._fields}
        plain = {name: data[name] for name in ("task_name", "method_name", "num_seeds", "first_seed")}
        return ExperimentConfig(**plain, **sections, hyper=hyper)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is not a config of this library or of another version ({type(error).__name__}: {error}); "
            "restore it with the version that wrote it"
        ) from error


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, each as "path is ours here and theirs there"."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        names = sorted(ours.keys() | theirs.keys())
        below = (differences(ours.get(name), theirs.get(name), f"{path}.{name}" if path else name) for name in names)
        return [line for lines in below for line in lines]
    return [] if ours == theirs else [f"{path} is {json.dumps(ours)} here and {json.dumps(theirs)} there"]


def identity(data: dict[str, Any]) -> dict[str, Any]:
    """The part of a config's JSON that decides numbers: how often to save and where a file lies do not."""
    ignored = {"train": "checkpoint_every", "data": "path"}
    return data | {part: {k: v for k, v in data[part].items() if k != name} for part, name in ignored.items()}


def inference_paths(method_name: str) -> list[str]:
    """Paths of a method that leave its training as it is."""
    return [f"method.{name}" for name in getattr(METHODS[method_name].Config, "INFERENCE", ())]


def training_part(data: dict[str, Any]) -> dict[str, Any]:
    """The part of a config's JSON that decides what is trained; the rest only chooses actions and judges them."""
    data = identity(data)
    inference = inference_paths(data["method_name"])
    method = {name: value for name, value in data["method"].items() if f"method.{name}" not in inference}
    return {name: value for name, value in data.items() if name != "evaluation"} | {"method": method}


def split_values(text: str) -> list[str]:
    """Values separated by commas outside parentheses: "(64,64),(128,)" are two."""
    values, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    values = [value.strip() for value in values]
    if values == [""]:
        return []
    require(all(values), f"{text!r}: a value is empty; expected values separated by commas, such as 0,1,10")
    return values


def _leaves(section: Any, prefix: str) -> list[str]:
    paths = []
    for field in dataclasses.fields(section):
        value, path = getattr(section, field.name), f"{prefix}.{field.name}"
        paths += _leaves(value, path) if dataclasses.is_dataclass(value) else [path]
    return paths


def _replace(section: Any, prefix: str, changes: dict[str, str]) -> Any:
    hints, values = typing.get_type_hints(type(section)), {}
    for field in dataclasses.fields(section):
        value, path = getattr(section, field.name), f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            values[field.name] = _replace(value, path, changes)
        elif path in changes:
            values[field.name] = _parse(path, changes[path], hints[field.name])
    return dataclasses.replace(section, **values)


def _parse(path: str, text: str, hint: Any) -> Any:
    """Read ``text`` as the annotated type of a field."""
    wrong = f"--set={path}={text}: expected"
    if typing.get_origin(hint) is Literal:
        options = typing.get_args(hint)
        require(text in options, f"{wrong} one of {', '.join(options)}")
        return text
    if typing.get_origin(hint) is tuple:
        bare = text[1:-1] if text.startswith("(") and text.endswith(")") else text
        parts = bare.removesuffix(",").split(",") if bare else []
        whole = all(part.strip().lstrip("-").isdecimal() for part in parts)
        require(bool(text) and whole, f"{wrong} whole numbers such as (64,64), or () for none")
        return tuple(map(int, parts))
    if typing.get_origin(hint) is types.UnionType:
        return None if text == "None" else _parse(path, text, typing.get_args(hint)[0])
    if hint is bool:
        require(text in ("True", "False", "true", "false"), f"{wrong} True or False")
        return text in ("True", "true")
    try:
        value = hint(text)
    except ValueError:
        raise InputError(f"{wrong} a value of type {hint.__name__}") from None
    require(not isinstance(value, float) or math.isfinite(value), f"{wrong} a finite number")
    return value


def _parse_hyper(path: str, text: str) -> tuple[float, ...]:
    values = tuple(_parse(path, part, float) for part in text.split(","))
    require(all(value >= 0 for value in values), f"--set={path}={text}: expected numbers of 0 or more")
    require(len(set(values)) == len(values), f"--set={path}={text}: a value occurs twice; give each once")
    return values
