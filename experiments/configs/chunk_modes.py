"""Chunks with 2 to 32 modes: does a head of whole chunks keep all of them, and who else does? (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_modes
Seeds:    4 (0 to 3)
Settings: spokes in chunks of 16 positions, or displacements; networks of 2 x 128. Mixtures have twice as many components as the task has
          modes, which start at rows of the first minibatch with a deviation of 0.1 (`generator.GeneratorConfig.start`); "start=network"
          is without that. "steps" has a mixture per step. A minibatch holds at least 8 rows for every mode, so that the start can find it.
          Energies see 16 negatives, once per step. Nearest neighbours are all rows, as there is one observation, hardly blurred.
Expected: no published number. A head of whole chunks keeps at least 95 % of the modes, and at most 1 % more than the demonstrator strays;
          heads of steps and diagonal heads of displacements fail.
Run time: to be measured.
"""

from experiments.configs.base import TaskFigure, run_spec

SEEDS = 4
_FEWER_CANDIDATES = "method.num_candidates=256"
_OTHERS = {
    "nearest_neighbour": ("method.num_neighbours=1000", "hyper.bandwidth=0.001"),
    "explicit_bc": ("method.hidden=(128,128)",),
    "cvae": ("method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)"),
    "cgan": (
        "method.generator_hidden=(128,128)",
        "method.discriminator_hidden=(128,128)",
        "method.discriminator_steps=2",
    ),
    "ebgan": (
        "method.generator_hidden=(128,128)",
        "method.energy_hidden=(128,128)",
        "method.num_negatives=16",
        "method.energy_steps=2",
    ),
    "ibc": ("method.energy_hidden=(128,128)", "method.num_negatives=32", _FEWER_CANDIDATES),
}
_ENERGY = ("method.energy_hidden=(128,128)", "method.num_negatives=16", "method.energy_steps=1")
_RATE = {"mdn": "learning_rate", "ebgan_mdn": "generator_learning_rate"}


def _training(modes: int) -> tuple[str, ...]:
    return ("train.steps=1000", f"train.batch_size={max(64, 8 * modes)}")


def _mixture(task: str, method: str, modes: int, *overrides: str, variant: str = ""):
    settings = (
        f"method.generator.num_components={2 * modes}",
        "method.generator.hidden=(128,128)",
        "method.generator.start=data",
        "method.generator.start_scale=0.1",
        f"hyper.{_RATE[method]}=0.001",
        "hyper.learning_rate_decay=0.25",
        *(_ENERGY if method == "ebgan_mdn" else ()),
    )
    return run_spec(task, method, SEEDS, *_training(modes), *settings, *overrides, variant=variant)


_STEPS = ("method.generator.independent_steps=16",)
_LOW_RANK = ("method.generator.covariance=low_rank", "method.generator.rank=24")

RUNS = (
    *(_mixture(f"radial_{modes}_short", method, modes) for modes in (2, 8, 32) for method in _RATE),
    *(_mixture(f"radial_{modes}_short", "mdn", modes, *_STEPS, variant="steps") for modes in (2, 8, 32)),
    _mixture("radial_8_short", "ebgan_mdn", 8, *_STEPS, "method.reweight=False", variant="steps"),
    *(_mixture("radial_8_short", method, 8, "method.generator.start=network", variant="network") for method in _RATE),
    *(
        run_spec(
            f"radial_{modes}_short",
            method,
            SEEDS,
            *(("train.steps=16",) if method == "nearest_neighbour" else ("train.steps=1000", "train.batch_size=64")),
            *settings,
        )
        for modes in (2, 8, 32)
        for method, settings in _OTHERS.items()
    ),
    *(_mixture("radial_8_short_imbalanced", method, 8) for method in _RATE),
    _mixture("radial_8_short_displacement", "mdn", 8, variant="diagonal"),
    _mixture("radial_8_short_displacement", "mdn", 8, *_LOW_RANK, variant="low_rank"),
    *(
        _mixture("radial_8_short_displacement", method, 8, "method.generator.covariance=full", variant="full")
        for method in _RATE
    ),
)

FIGURES = (
    TaskFigure(
        "modes",
        "modes",
        ("share_coverage@tau=0.5", "on_support", "success"),
        log=True,
        tasks=tuple(f"radial_{modes}_short" for modes in (2, 8, 32)),
    ),
)
