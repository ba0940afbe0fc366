"""What theory allows the codes of a CVAE at one observation: lines in figures of a sweep over beta."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import optimize

from ebgan_mdn_jax import plotting, theory
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.theory.information import Loss
from ebgan_mdn_jax.types import require

LOSSES: dict[str, Loss] = {"l1": "absolute", "squared": "squared"}
LEAST = {"rate": 1e-4, "information": 1e-4}  # nats, of a logarithmic axis


class Line(NamedTuple):
    """A task, the loss of training, and by beta and metric the values of all seeds."""

    task: str
    loss: str
    values: Mapping[float, Mapping[str, np.ndarray]]


def line_of(members: Sequence[Any]) -> Line:
    """Of `figures.Member`s of one task whose settings are beta and a word that names the loss."""
    (loss,) = {word for member in members for word in member.settings if word in LOSSES}
    values: dict[float, dict[str, list[float]]] = {}
    for member in members:
        for name, value in member.metrics.items():
            values.setdefault(float(member.settings["beta"]), {}).setdefault(name, []).append(value)
    arrays = {beta: {name: np.array(v) for name, v in metrics.items()} for beta, metrics in values.items()}
    return Line(members[0].task, loss, arrays)


def modes(task: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free actions ``[K, Da]`` of a task with one observation, with its action box as [-1, 1], and their equal weights."""
    spec = TASKS[task].spec
    actions, _ = TASKS[task].modes(jnp.asarray([spec.obs_low]))
    low, high = np.asarray(spec.action_low), np.asarray(spec.action_high)
    inside = (2 * np.asarray(actions[:, 0], float) - low - high) / (high - low)
    return inside, np.full(len(inside), 1 / len(inside))


def gain(line: Line) -> float:
    """``C = D_0 - D_min``: the least loss of an action that ignores the code, less the one with beta = 0; at least 0."""
    require(0.0 in line.values, f"{line.task}, {line.loss}: no runs with beta = 0, whose loss is the least")
    least, spread = (line.values[0.0][f"{name}@{line.loss}"].mean() for name in ("reconstruction", "spread"))
    return max(0.0, float(spread - least))


def least_error(beta: float, gain: float, weights: np.ndarray) -> float:
    """The least chance of decoding the wrong mode that the cap on the rate leaves: where Fano's floor meets it."""
    cap, worst = theory.rate_cap(gain, beta), 1 - 1 / len(weights)
    if cap >= theory.mode_entropy(weights):
        return 0.0
    return optimize.brentq(lambda error: theory.fano_floor(weights, error) - cap, 0.0, worst)


def bound(metric: str, line: Line) -> plotting.Band | None:
    """What a metric may not exceed ("rate") or fall short of ("information": Fano's floor at the measured error; "decoding_error")."""
    betas = np.array([beta for beta in sorted(line.values) if beta > 0])
    _, weights = modes(line.task)
    if metric == "rate":
        values = [theory.rate_cap(gain(line), beta) for beta in betas]
    elif metric == "information":
        errors = [line.values[beta]["decoding_error"].mean() / 100 for beta in betas]
        values = [theory.fano_floor(weights, error) for error in errors]
    elif metric == "decoding_error":
        values = [100 * least_error(beta, gain(line), weights) for beta in betas]
    else:
        return None
    return plotting.Band(betas, *[np.array(values)] * 3)


def law(metric: str, line: Line, betas: np.ndarray | None = None) -> plotting.Band | None:
    """The exact law of two noise-free modes, where there are two, at ``betas``; by default over the line's, from 0.001 on."""
    actions, weights = modes(line.task)
    field = {"rate": "rate", "information": "information", "decoding_error": "error"}.get(metric)
    if len(weights) != 2 or field is None:
        return None
    apart = np.abs(actions[0] - actions[1]) / 2
    half_gap = np.mean(apart) if line.loss == "l1" else np.sqrt(np.mean(apart**2))
    if betas is None:
        betas = np.geomspace(max(1e-3, min(beta for beta in line.values if beta > 0)), max(line.values), 60)
    laws = [getattr(theory.two_mode_law(half_gap, beta, LOSSES[line.loss]), field) for beta in betas]
    return plotting.Band(betas, *[np.array(laws) * (100 if field == "error" else 1)] * 3)
