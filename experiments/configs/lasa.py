"""LASA handwriting, real recordings: 30 shapes drawn in a closed loop by one policy, from where a held-out drawing began.

Command:  python -m experiments.sweep --config=lasa
Seeds:    7 (0 to 6), one for each drawing that is held out; 10 rollouts of every shape
Settings: chunks of 8 positions, all executed; minibatches of 256, 4,000 steps, networks of 2 x 128. Mixtures of 8 components, which act by
          the mean of a component drawn by its weight; EBGAN-MDN's energy sees 16 negatives and 4 draws, once a step. Nearest neighbour: one
          of all 18,000 demonstrations.
Expected: no published number. The mean of the other six drawings of a shape is 4.7 mm off at equal times (2.9 without the mixed shapes).
Run time: to be measured.
"""

from experiments.configs.base import ArraysFigure, run_spec

_SEEDS = 7
_TRAIN = ("train.batch_size=256", "train.steps=4000")
_MIXTURE = (
    *_TRAIN,
    "method.generator.num_components=8",
    "method.generator.hidden=(128,128)",
    "method.act_by=component_mean",
)
_ENERGY = (
    "method.energy_hidden=(128,128)",
    "method.num_negatives=16",
    "method.num_generated=4",
    "method.energy_steps=1",
)
_MEMORY = ("train.batch_size=1000", "train.steps=18", "method.capacity=18000", "method.num_neighbours=1")

RUNS = (
    run_spec("lasa", "nearest_neighbour", _SEEDS, *_MEMORY),
    run_spec("lasa", "explicit_bc", _SEEDS, *_TRAIN, "method.hidden=(128,128)"),
    run_spec("lasa", "cvae", _SEEDS, *_TRAIN, "method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)"),
    run_spec("lasa", "diffusion", _SEEDS, *_TRAIN, "method.denoiser.hidden=(128,128)", "method.num_steps=20"),
    run_spec("lasa", "mdn", _SEEDS, *_MIXTURE),
    run_spec("lasa", "ebgan_mdn", _SEEDS, *_MIXTURE, *_ENERGY),
)

FIGURES = (ArraysFigure("drawings", "drawings", ("lasa-explicit_bc",)),)
