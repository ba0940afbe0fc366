"""Types shared by every layer.

Shape letters used in all docstrings: ``B`` batch, ``N`` negatives or samples, ``K`` mixture components or modes, ``H`` steps of a chunk,
``S`` members (seeds x hyperparameter settings), ``F`` folds, ``Do``/``Da`` observation and action dimension. Actions are ``[B, Da]``,
samples ``[N, B, Da]``. Energies are minimised: ``p(action | obs)`` is proportional to ``exp(-E)``.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax

Array = jax.Array
PRNGKey = jax.Array
PyTree = Any


class InputError(ValueError):
    """Something the user gave is wrong; the message is one line that says what, what was expected and how to mend it."""


class Batch(NamedTuple):
    """Demonstrations: ``obs [B, Do]`` and the ``action [B, Da]`` taken there."""

    obs: Array
    action: Array


class Latents(NamedTuple):
    """The codes ``[B, Dz]`` of a policy with an encoder. Of a method, all functions take its params first.

    The encoder's law of a code is Gaussian; ``rate`` is its KL to the prior that training weighs it against: the law that codes are drawn
    from when there is no action, but for a flow.
    """

    encode: Callable  # (obs [B, Do], action [B, Da]) -> mean [B, Dz], log_scale [B, Dz]
    decode: Callable  # (latent [..., B, Dz], obs [B, Do]) -> action [..., B, Da], without noise
    rate: Callable  # (obs [B, Do], action [B, Da]) -> [B], nats


class Spec(NamedTuple):
    """What a method must know of a task: dimensions and the boxes that observations and actions live in.

    The action box is where uniform negatives are drawn; actions may leave it. Where observations are images, ``obs_shape`` is their
    ``(height, width, channels)``, and an observation has the pixels in that order.
    """

    obs_low: tuple[float, ...]
    obs_high: tuple[float, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    obs_shape: tuple[int, ...] = ()

    @property
    def obs_dim(self) -> int:
        """``Do``."""
        return len(self.obs_low)

    @property
    def action_dim(self) -> int:
        """``Da``."""
        return len(self.action_low)


class Horizon(NamedTuple):
    """Length of a training run in generator (policy) steps; schedules change once per epoch.

    For them that is what reads all rows, ``steps_per_epoch``, or ``epoch_steps`` if above 0.
    """

    num_steps: int
    steps_per_epoch: int
    epoch_steps: int = 0

    @classmethod
    def of(cls, num_steps: int, num_rows: int, batch_size: int, epoch_steps: int = 0) -> "Horizon":
        """A run on ``num_rows`` demonstrations."""
        return cls(num_steps, steps_per_epoch(num_rows, batch_size), epoch_steps)

    def epoch(self, step: Array) -> Array:
        """Index of the schedules' epoch that ``step`` belongs to, from 0."""
        return step // (self.epoch_steps or self.steps_per_epoch)

    @property
    def num_epochs(self) -> int:
        """The schedules' epochs in the run, the last one possibly cut short."""
        return -(-self.num_steps // (self.epoch_steps or self.steps_per_epoch))


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Steps that read every row; the last batch is filled up."""
    return -(-num_rows // batch_size)


def require(condition: bool, message: str) -> None:
    """Raise `InputError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise InputError(message)


def require_choices(config: Any, prefix: str) -> None:
    """Raise `InputError` if a field of a dataclass annotated as a `Literal` holds none of its values."""
    for name, hint in get_type_hints(type(config)).items():
        options = get_args(hint)
        if get_origin(hint) is Literal:
            value = getattr(config, name)
            require(value in options, f"{prefix}.{name}={value!r}: expected one of {', '.join(map(repr, options))}")


def require_at_least(least: int, config: Any, prefix: str, *names: str) -> None:
    """Raise `InputError` if one of these fields of a dataclass, or a number in it, is smaller than ``least``."""
    for name in names:
        value = getattr(config, name)
        smallest = min(value, default=least) if isinstance(value, tuple) else value
        what = "numbers of at least" if isinstance(value, tuple) else "at least"
        require(smallest >= least, f"{prefix}.{name}={value}: needs {what} {least}")


def from_fields(cls: type, data: dict[str, Any]) -> Any:
    """A dataclass from JSON data with exactly its fields, the inverse of `dataclasses.asdict`; lists become tuples.

    Raises:
      KeyError, TypeError, ValueError: if it has other fields, or a value that the class refuses.
    """
    hints = get_type_hints(cls)
    unknown = set(data) - set(hints)
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]}")
    values = {}
    for name, hint in hints.items():
        value = data[name]
        if dataclasses.is_dataclass(hint):
            value = from_fields(hint, value)
        values[name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def resolve_path(path: str | os.PathLike) -> pathlib.Path:
    """An absolute path, "~" expanded.

    Raises:
      InputError: if there is no such home folder.
    """
    try:
        return pathlib.Path(path).expanduser().resolve()
    except RuntimeError:
        raise InputError(f"{path}: there is no such home folder; give a path without '~'") from None
