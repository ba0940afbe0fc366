"""What every task is: where demonstrations come from, and the truth that samples are judged by."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, Batch, Latents, PyTree, Spec, require


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How samples are judged.

    ``num_inputs`` observations; ``num_samples`` (S) draws at each for mode coverage within ``tolerance`` (tau); ``num_draws`` draws at
    each for precision, distances and W1; ``num_quadrature`` grid points per action dimension for the exact divergence. In rollouts of
    chunks (`envs.chunks`), of which there are ``num_samples``, ``execute`` steps of each are taken, 0 for all, or those of an ``ensemble``
    of the last ones, and ``disturbance`` is the standard deviation of what displaces the agent after each, in its units.
    """

    num_inputs: int = 100
    num_samples: int = 10
    tolerance: float = 0.05
    num_draws: int = 200
    num_quadrature: int = 2000
    execute: int = 0
    ensemble: bool = False
    disturbance: float = 0.0

    def __post_init__(self):
        for name in ("num_inputs", "num_samples", "tolerance", "num_draws", "num_quadrature"):
            require(getattr(self, name) > 0, f"evaluation.{name}={getattr(self, name)}: needs a positive number")
        for name in ("execute", "disturbance"):
            require(getattr(self, name) >= 0, f"evaluation.{name}={getattr(self, name)}: needs 0 or a positive number")


class Conditional(NamedTuple):
    """A conditional distribution to be judged: a trained policy with its parameters, or the truth itself."""

    sample: Callable  # (key, obs [B, Do], num_samples) -> [N, B, Da]
    log_prob: Callable | None  # (obs [B, Do], action [..., B, Da]) -> [..., B]
    energy: Callable | None = None  # likewise
    act: Callable | None = None  # (key, obs [B, Do]) -> [B, Da]: what it does when deployed, for tasks judged by that
    latents: Latents | None = None  # its codes, if it has an encoder


class Data(NamedTuple):
    """What a policy was trained on, and rows that it has not seen: those of ``heldout`` where ``mask [rows]`` holds.

    ``context``: what else a task's evaluation needs to know of these rows.
    """

    train: Batch
    heldout: Batch
    mask: Array
    context: PyTree = ()


class Task(NamedTuple):
    """A task in data units; functions are pure and jittable. Fields are None where the truth is unknown."""

    spec: Spec
    num_demonstrations: int
    evaluation: EvaluationConfig
    evaluate: Callable  # (key, Conditional, Data, EvaluationConfig) -> {metric: scalar}
    demonstrations: Callable | None  # (key, num) -> Batch; None: real recordings, see data/
    conditional: Conditional | None  # the exact conditional distribution
    modes: Callable | None  # (obs [B, Do]) -> actions [M, B, Da], mask [M, B]
    normalize: bool = False  # networks see the boxes of ``spec`` as [-1, 1]
    num_heldout: int = 500  # rows of a synthetic task
    num_folds: int = 1  # data come as this many train/held-out splits; seed i uses split i % num_folds
    primary: str = "w1"  # the metric that methods are compared by, chosen before any was run: its name, up to "@S=..."
    simulate: Callable | None = (
        None  # (key, act, EvaluationConfig) -> {metric: number}: closed loop in a simulator, on the host
    )
    require: Callable | None = (
        None  # (EvaluationConfig): raises InputError, before training, where it cannot be judged so
    )
    baseline: tuple[str, Conditional] | None = (
        None  # by name, something without training that policies are to be compared with
    )
    joints: Callable | None = None  # (action [..., Da]) -> [..., n + 1, 2]: what a figure draws of an arm with n links
    drawn: Callable | None = (
        None  # (key, Conditional, Data) -> {name: array}: what a figure draws of a policy's rollouts
    )


def heldout_nll(policy: Conditional, data: Data) -> dict[str, Array]:
    """The metric of that name: mean negative log-likelihood of the held-out rows, nats per row; none without a density."""
    if policy.log_prob is None:
        return {}
    nll = -policy.log_prob(data.heldout.obs, data.heldout.action)
    return {"heldout_nll": jnp.sum(jnp.where(data.mask, nll, 0.0)) / jnp.sum(data.mask)}
