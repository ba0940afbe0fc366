"""What a sweep is made of, and the figures that its published results are drawn as."""

import pathlib
from typing import Literal, NamedTuple

from experiments.presets import Preset, preset


class RunSpec(NamedTuple):
    """One run of a sweep; ``name`` is its folder, and starts with task and method."""

    name: str
    task: str
    method: str
    num_seeds: int
    overrides: tuple[str, ...] = ()
    preset: Preset = "default"


class SweepFigure(NamedTuple):
    """``metrics`` against the values of ``setting``: a panel per task and metric, a line per method and remaining setting.

    A run takes its value from its variant, ``variant="num_negatives=64"`` (several: "sample_by=rerank,num_candidates=4"), a member from
    the hyperparameters that vary; with ``levels``, those that have none are drawn as level lines. A metric is named in full
    (``success@0.1``) or by its kind (``tmc``); ``training/...`` and those of `experiments.figures.DERIVED` are metrics too. ``tasks``:
    all, if empty. ``theory``: with the laws (dashed) and bounds (dotted) of a CVAE's codes, `experiments.latent_theory`.
    """

    name: str
    setting: str
    metrics: tuple[str, ...]
    log: bool = False
    tasks: tuple[str, ...] = ()
    levels: bool = True
    theory: bool = False


class CurvesFigure(NamedTuple):
    """Training curves of ``fields`` of a method's Info and how rough they are: a panel of each per task, a line per run and setting."""

    name: str
    fields: tuple[str, ...]
    tasks: tuple[str, ...] = ()


class ScatterFigure(NamedTuple):
    """Metric ``y`` over metric ``x``, a point per member: a panel per task, a colour per method and setting."""

    name: str
    x: str
    y: str
    tasks: tuple[str, ...] = ()


class ArraysFigure(NamedTuple):
    """What ``runs`` of one task draw ("samples"; "arms": as configurations of an arm; "chunks": as ways in the plane).

    Of one run: "landscape", its energy, or "drawings", rollouts of every shape of handwriting.
    """

    name: str
    kind: Literal["samples", "landscape", "arms", "chunks", "drawings"]
    runs: tuple[str, ...]


class TaskFigure(NamedTuple):
    """``metrics`` over the first number in the task's name, which is ``x``: a panel per metric, a line per method and variant.

    Of all tasks of this sweep, and of the published sweeps ``others``; of all ``variants``, if none is named.
    """

    name: str
    x: str
    metrics: tuple[str, ...]
    others: tuple[str, ...] = ()
    log: bool = False
    variants: tuple[str, ...] = ()


FigureSpec = SweepFigure | CurvesFigure | ScatterFigure | ArraysFigure | TaskFigure


def run_spec(
    task: str, method: str, num_seeds: int, *overrides: str, variant: str = "", preset: Preset = "default"
) -> RunSpec:
    """A run named ``task-method`` or ``task-method-variant``; ``overrides`` come after the preset's."""
    name = f"{pathlib.PurePath(task).name}-{method}" + (f"-{variant}" if variant else "")
    return RunSpec(name, task, method, num_seeds, overrides, preset)


# Of the ablations: seeds, and settings of every method on a task. On "hyperbola" and "lines" they are those of the preset "small", as in
# config `hyperbola`; the arm and the routes have 4,000 steps, 5 halvings of the learning rate and the same rate for both networks.
_ABLATION_SEEDS = {"hyperbola": 16, "lines": 16, "two_link": 6, "multi_route": 6}
_ABLATION_COMPONENTS = {"hyperbola": 2, "lines": 3, "two_link": 2, "multi_route": 2}
_ABLATION_DECAY = {"two_link": 8, "multi_route": 3}  # epochs


def ablation(task: str, method: str, *overrides: str, variant: str = "") -> RunSpec:
    """A run with the settings that all ablations share, changed by ``overrides``.

    Energies have a constant alpha, N = 32 and R = 5, of which the cGAN's discriminator takes R too; mixtures have as many components as
    the task has modes.
    """
    settings = []
    if method in ("mdn", "ebgan_mdn"):
        settings.append(f"method.generator.num_components={_ABLATION_COMPONENTS[task]}")
    if method in ("ebgan", "ebgan_mdn"):
        settings.append("method.alpha_schedule=constant")
    if method == "cgan":
        settings += ["method.discriminator_steps=5", "hyper.learning_rate_decay=0.5"]
    if task in _ABLATION_DECAY:
        settings += ["train.steps=4000", f"method.decay_every={_ABLATION_DECAY[task]}"]
        rate = {"mdn": "learning_rate", "ebgan": "generator_learning_rate", "ebgan_mdn": "generator_learning_rate"}
        if method in rate:
            settings.append(f"hyper.{rate[method]}=0.001")
    return run_spec(task, method, _ABLATION_SEEDS[task], *settings, *overrides, variant=variant, preset="small")


def swept(task: str, method: str, path: str, values: tuple, *overrides: str, variant: str = "") -> tuple[RunSpec, ...]:
    """An `ablation` for each value of the setting ``path``, with the variant that a `SweepFigure` reads."""
    start = f"{variant}," if variant else ""
    name = path.rpartition(".")[2]
    return tuple(
        ablation(task, method, *overrides, f"{path}={value}", variant=f"{start}{name}={value}") for value in values
    )


def fewer_inputs(task: str, method: str) -> tuple[str, ...]:
    """IBC, whose search costs 16,384 energies an iteration, is judged at 200 observations on an arm and in 50 rollouts on the routes."""
    num = {"two_link": 200, "ur5": 200, "multi_route": 50}.get(task)
    return (f"evaluation.num_inputs={num}",) if method == "ibc" and num else ()


PAPER_METHODS = ("explicit_bc", "cgan", "ibc", "ebgan", "mdn", "ebgan_mdn", "cvae", "bayesian_mdn", "nearest_neighbour")


def paper_comparison(task: str) -> tuple[RunSpec, ...]:
    """The paper's methods and the baselines that it lacks on one task, 16 seeds each, with ``preset="paper"`` but for two settings.

    A GAN's generator has a latent of two dimensions wherever the authors' notebooks give it none, as without one it has a single action
    for an observation. IBC is judged on less (`fewer_inputs`).
    """
    runs = []
    for method in PAPER_METHODS:
        latent = method in ("cgan", "ebgan") and "method.latent_dim=0" in preset("paper", task, method)
        overrides = ["method.latent_dim=2"] * latent
        runs.append(run_spec(task, method, 16, *overrides, *fewer_inputs(task, method), preset="paper"))
    return tuple(runs)
