"""Chunk length, execution horizon and disturbances: which policies change their minds? (Mazza et al. 2026, arXiv 2605.22493, E4.)

Command:  python -m experiments.sweep --config=replanning
Seeds:    4 (0 to 3), 200 rollouts each
Settings: 8 spokes of 60 steps, observed by position; chunks of H = 1, 5, 15 or 60 positions, of which 1, 5, 15 or all are executed before
          the next is drawn, or all chunks averaged (ACT's ensembling). Disturbances of 0 or 0.005 a step, where demonstrations have a noise
          of 0.006. Networks of 2 x 128, 12,000 steps of 128 rows, rates from 0.002 halved four times; mixtures of 16 components that start
          at demonstrations, "sharper" acts with their weights squared (`mixture.tempered`); flow in 20 steps. EBGAN-MDN, with 32
          negatives, in chunks of 15 alone, as it takes ten times as long.
Expected: no published number. A mixture that is drawn anew at every step should dither near the start, and averages of its chunks bridge.
Run time: 35 minutes of one CPU core, the other busy too; 55 with both more than busy.
"""

from experiments.configs.base import RunSpec, TaskFigure, run_spec

_TRAIN = ("train.steps=12000", "train.batch_size=128", "hyper.learning_rate_decay=0.5")
_MIXTURE = ("method.generator.num_components=16", "method.generator.hidden=(128,128)", "method.generator.start=data")
_RATE = "hyper.learning_rate=0.002"
_METHODS = {
    "explicit_bc": (_RATE, "method.hidden=(128,128)"),
    "mdn": (_RATE, *_MIXTURE),
    "cvae": (_RATE, "method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)"),
    "flow": (_RATE, "method.denoiser.hidden=(128,128)"),
    "ebgan_mdn": (
        "hyper.generator_learning_rate=0.002",
        *_MIXTURE,
        "method.num_negatives=32",
        "method.energy_hidden=(128,128)",
    ),
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


def _runs(chunk: int, method: str, *overrides: str, prefix: str = "") -> tuple[RunSpec, ...]:
    settings = (*_TRAIN, *_METHODS[method], *overrides)
    return tuple(
        run_spec(f"replan_{chunk}", method, 4, *settings, *way, variant=prefix + name)
        for name, way in _ways(chunk).items()
    )


RUNS = tuple(
    run
    for chunk in _CHUNKS
    for method in _METHODS
    if method != "ebgan_mdn" or chunk == 15
    for run in (
        *_runs(chunk, method),
        *(_runs(chunk, method, "method.temperature=0.5", prefix="sharper,") if method == "mdn" else ()),
    )
)

FIGURES = (
    TaskFigure("whole", "chunk length", ("success", "mode_switches"), log=True, variants=("all",)),
    TaskFigure("ensemble", "chunk length", ("success", "mode_switches"), log=True, variants=("ensemble",)),
)
