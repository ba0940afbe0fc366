"""Chunks with 2 to 32 modes, or 64: does a head of whole chunks keep all of them, and who else does? (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_modes
          python -m experiments.sweep --config=chunk_modes_full
Seeds:    4 (0 to 3); "full", for an accelerator, has 16, and 2, 4, 8, 16, 32 and 64 modes
Settings: spokes in chunks of 16 positions; networks of 2 x 128, minibatches of 64, 1,000 steps, "longer" has 4,000. Mixtures start at
          clusters of a minibatch of 8 rows for every mode, `mixture_from_clusters`, with a learning rate of 0.0005, the best of three for
          an MDN in `experiments.lipschitz` and the only one tried here (seeds 100 to 103 of both). "mean" draws means of components. The
          CVAE learns the deviations of its decoder. An EBGAN sees 16 negatives, IBC 32 or, "langevin", 8 that the chains of
          `ibc_particle` give it, which also search; the cGAN's discriminator and the EBGAN's energy have 2 updates a step. Nearest
          neighbours are all rows, hardly blurred, as there is one observation: it draws demonstrations.
Expected: no published number. A head of whole chunks keeps at least 95 % of the modes, and at most 1 % more than the demonstrator strays.
Run time: 14 minutes of one CPU core, beside other work; "full" has not been run.
"""

from experiments.configs.base import ArraysFigure, RunSpec, TaskFigure, run_spec
from experiments.configs.ibc_particle import CHAINS

SEEDS, FULL_SEEDS = 4, 16
RATES = {"mdn": "learning_rate", "ebgan_mdn": "generator_learning_rate"}
_OTHERS = {
    "nearest_neighbour": ("train.steps=16", "method.num_neighbours=1000", "hyper.bandwidth=0.001"),
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
    "ibc": ("method.energy_hidden=(128,128)", "method.num_negatives=32", "method.num_candidates=256"),
    "ibc langevin": ("method.energy_hidden=(128,128)", "method.num_negatives=8", "method.langevin_share=1", *CHAINS),
}


_LINES = (*_OTHERS, *(f"{method} longer" for method in ("cvae", "cgan", "ebgan")))
LONGER = "train.steps=4000"


def mixture_of_chunks(task: str, method: str, modes: int, *overrides: str, variant: str = "") -> RunSpec:
    """A run of an "mdn" or "ebgan_mdn" with twice as many components as ``modes``.

    They start at rows of the first minibatch with a deviation of 0.1; it holds 8 rows for every mode or more, so that it can show all.
    EBGAN-MDN's energy sees 8 negatives and 8 draws, once a step.
    """
    settings = [
        "train.steps=1000",
        f"train.batch_size={max(64, 8 * modes)}",
        f"method.generator.num_components={2 * modes}",
        "method.generator.hidden=(128,128)",
        "method.generator.start=data",
        "method.generator.start_scale=0.1",
        f"hyper.{RATES[method]}=0.002",
    ]
    if method == "ebgan_mdn":
        settings += [
            "method.energy_hidden=(128,128)",
            "method.num_negatives=8",
            "method.num_generated=8",
            "method.energy_steps=1",
        ]
    return run_spec(task, method, SEEDS, *settings, *overrides, variant=variant)


def mixture_from_clusters(task: str, method: str, modes: int, *overrides: str, variant: str = "") -> RunSpec:
    """A `mixture_of_chunks` that starts at clusters instead (`methods.clusters.tied_gaussians`), with a smaller rate."""
    start = ("method.generator.start=clusters", f"hyper.{RATES[method]}=0.0005")
    return mixture_of_chunks(task, method, modes, *start, *overrides, variant=variant)


def other(task: str, line: str) -> RunSpec:
    """A run of another method, by the name of its ``line``."""
    method, _, variant = line.partition(" ")
    settings = (*_OTHERS[method], LONGER) if variant == "longer" else _OTHERS[line]
    return run_spec(task, method, SEEDS, "train.steps=1000", "train.batch_size=64", *settings, variant=variant)


TASKS = {modes: f"radial_{modes}_short" for modes in (2, 8, 32)}
ALL_TASKS = {modes: f"radial_{modes}_short" for modes in (2, 4, 8, 16, 32, 64)}


def _runs(tasks: dict[int, str]) -> tuple[RunSpec, ...]:
    return (
        *(
            mixture_from_clusters(task, method, modes, *how, variant=name)
            for modes, task in tasks.items()
            for method in RATES
            for name, how in (("", ()), ("mean", ("method.sample_by=component_mean",)))
        ),
        *(other(task, line) for line in _LINES for task in tasks.values()),
    )


RUNS = _runs(TASKS)
FULL = tuple(run._replace(num_seeds=FULL_SEEDS) for run in _runs(ALL_TASKS))

FIGURES = (
    TaskFigure("modes", "modes", ("share_coverage@tau=0.5", "on_support", "success"), log=True),
    ArraysFigure("chunks", "chunks", tuple(f"radial_8_short-{line.replace(' ', '-')}" for line in (*RATES, *_OTHERS))),
)
