"""What a sweep is made of."""

from typing import NamedTuple

from experiments.presets import Preset


class RunSpec(NamedTuple):
    """One run of a sweep; ``name`` is its folder, and starts with task and method."""

    name: str
    task: str
    method: str
    num_seeds: int
    overrides: tuple[str, ...] = ()
    preset: Preset = "default"


def run_spec(
    task: str, method: str, num_seeds: int, *overrides: str, variant: str = "", preset: Preset = "default"
) -> RunSpec:
    """A run named ``task-method`` or ``task-method-variant``; ``overrides`` come after the preset's."""
    name = f"{task}-{method}-{variant}" if variant else f"{task}-{method}"
    return RunSpec(name, task, method, num_seeds, overrides, preset)
