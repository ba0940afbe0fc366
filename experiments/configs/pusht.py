"""Push-T from states: which policies push the T onto its outline? (Chi et al. 2023, arXiv 2303.04137, table 1.) CPU size.

Command:  python -m experiments.sweep --config=pusht
          python -m experiments.sweep --config=pusht_chunks
Seeds:    3 (0 to 2), each judged in 50 episodes
Settings: chunks of 8 actions, all of them executed; "pusht_chunks": of 1, and of 16 of which 8 are executed. Networks of 3 x 128, 10,000
          steps of 64 rows, defaults else: rates halved four times, 64 components, 64 negatives of the energies, 5 updates of the cGAN's
          discriminator. IBC searches 1,024 candidates. Mixtures draw an action, take the mean of a component drawn by its weight
          ("component_mean"), or of 32 draws that of lowest energy ("rerank"). Nearest neighbour: one, of all demonstrations. Needs the
          extra "pusht"; the demonstrations are downloaded, or read from --data_dir.
Expected: score of the paper's networks from states, best and last checkpoints, in %: LSTM-GMM 67 and 61, IBC 90 and 84, BET 79 and 70,
          Diffusion Policy 95 and 91. They train for some thousand epochs instead of 28, on keypoints instead of the pose. The
          demonstrations, replayed (`experiments.benchmarks.pusht`): 94.6.
Run time: "pusht" takes about 30 minutes of one CPU core, "pusht_chunks" 35.
"""

from experiments.configs.base import RunSpec, TaskFigure, run_spec

_SEEDS = 3
_TRAIN = ("train.batch_size=64", "train.steps=10000")
_HIDDEN = "(128,128,128)"
_METHODS = {
    "explicit_bc": (f"method.hidden={_HIDDEN}",),
    "mdn": (f"method.generator.hidden={_HIDDEN}",),
    "ebgan_mdn": (
        f"method.generator.hidden={_HIDDEN}",
        f"method.energy_hidden={_HIDDEN}",
        "method.num_negatives=64",
    ),
    "ibc": (f"method.energy_hidden={_HIDDEN}", "method.num_negatives=64", "method.num_candidates=1024"),
    "cgan": (
        f"method.generator_hidden={_HIDDEN}",
        f"method.discriminator_hidden={_HIDDEN}",
        "method.discriminator_steps=5",
    ),
    "cvae": (f"method.encoder_hidden={_HIDDEN}", f"method.decoder_hidden={_HIDDEN}"),
    "flow": (f"method.denoiser.hidden={_HIDDEN}",),
    "diffusion": (f"method.denoiser.hidden={_HIDDEN}",),
}
# Ways to choose actions, trained once.
_WAYS = {
    "mdn": {"component_mean": ("method.act_by=component_mean",)},
    "ebgan_mdn": {
        "component_mean": ("method.act_by=component_mean",),
        "rerank": ("method.act_by=rerank", "method.sample_by=rerank"),
    },
}


def _runs(chunk: int, methods: tuple[str, ...]) -> tuple[RunSpec, ...]:
    runs = []
    for method in methods:
        for name, way in {"": (), **_WAYS.get(method, {})}.items():
            settings = (*_TRAIN, *_METHODS[method], *way)
            runs.append(run_spec(f"pusht_{chunk}", method, _SEEDS, *settings, variant=name))
    return tuple(runs)


RUNS = (
    *_runs(8, tuple(_METHODS)),
    run_spec("pusht_8", "nearest_neighbour", _SEEDS, "method.capacity=22912"),
)
CHUNKS = tuple(run for chunk in (1, 16) for run in _runs(chunk, ("explicit_bc", "mdn", "ebgan_mdn", "diffusion")))

CHUNK_FIGURES = (TaskFigure("chunks", "chunk length", ("score",), others=("pusht",), log=True),)
