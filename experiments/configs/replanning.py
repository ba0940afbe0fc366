"""Chunk length, execution horizon and disturbances: which policies change their minds? (Mazza et al. 2026, arXiv 2605.22493, E4.)

Command:  python -m experiments.sweep --config=replanning
Seeds:    4 (0 to 3), 200 rollouts each
Settings: 8 spokes of 60 steps, observed by position; chunks of H = 1, 5, 15 or 60 positions, of which 1, 5, 15 or all are executed before
          the next is drawn, or all chunks averaged (ACT's ensembling). Disturbances of 0 or 0.005 a step, where demonstrations have a noise
          of 0.006. Networks of 2 x 128, 3,000 steps; mixtures of 16 components, 32 negatives.
Expected: no published number. A mixture that is drawn anew at every step should dither near the start, and averages of its chunks bridge.
Run time: to be measured.
"""

from experiments.configs.base import TaskFigure, run_spec

_MIXTURE = ("method.generator.num_components=16", "method.generator.hidden=(128,128)")
_METHODS = {
    "explicit_bc": ("method.hidden=(128,128)",),
    "mdn": _MIXTURE,
    "ebgan_mdn": (*_MIXTURE, "method.num_negatives=32", "method.energy_hidden=(128,128)"),
    "cvae": ("method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)"),
}
_CHUNKS = (1, 5, 15, 60)


def _ways(chunk: int) -> dict[str, tuple[str, ...]]:
    """Ways to execute chunks of this length, by name."""
    ways = {f"execute={steps}": (f"evaluation.execute={steps}",) for steps in _CHUNKS if steps < chunk}
    ways["all"] = ()
    if chunk > 1:
        ways["ensemble"] = ("evaluation.ensemble=True",)
    ways |= {f"{name},disturbed": (*way, "evaluation.disturbance=0.005") for name, way in ways.items()}
    return ways


RUNS = tuple(
    run_spec(f"replan_{chunk}", method, 4, "train.steps=3000", *settings, *way, variant=name)
    for chunk in _CHUNKS
    for method, settings in _METHODS.items()
    for name, way in _ways(chunk).items()
)

FIGURES = (
    TaskFigure("whole", "chunk length", ("success", "mode_switches"), log=True, variants=("all",)),
    TaskFigure("ensemble", "chunk length", ("success", "mode_switches"), log=True, variants=("ensemble",)),
)
