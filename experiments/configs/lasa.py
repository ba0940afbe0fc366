"""LASA handwriting, real recordings: 30 shapes drawn in a closed loop by one policy, from where a held-out drawing began.

Command:  python -m experiments.sweep --config=lasa
Seeds:    7 (0 to 6), one for each drawing that is held out; 10 rollouts of every shape
Settings: chunks of 8 positions, all executed; minibatches of 256, 8,000 steps at a rate of 0.002, networks of 2 x 128. Mixtures of 3
          components with a deviation of 0.1, which act by their mode: with deviations of their own they learn the 6 drawings by heart
          ("learned"). EBGAN-MDN's energy sees 16 negatives and 4 draws, once a step; "plain" does without it at inference. Nearest
          neighbour: one of all 18,000 demonstrations.
          Settings of regression and mixtures, and the length of chunks, were chosen on the first held-out drawings (seed 0).
Expected: no published number.
Run time: 36 minutes of one CPU core of two, the other more than busy; half of it the EBGAN-MDN.
"""

from experiments.configs.base import ArraysFigure, run_spec

_SEEDS = 7
_TRAIN = ("train.batch_size=256", "train.steps=8000")
_RATE = "hyper.learning_rate=0.002"
_MIXTURE = (
    *_TRAIN,
    "method.generator.num_components=3",
    "method.generator.hidden=(128,128)",
    "method.act_by=mode",
)
_FIXED = ("method.generator.covariance=fixed", "method.generator.fixed_scale=0.1")
_ENERGY = (
    "hyper.generator_learning_rate=0.002",
    "method.energy_hidden=(128,128)",
    "method.num_negatives=16",
    "method.num_generated=4",
    "method.energy_steps=1",
)
_CVAE = ("method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)", "method.act_by=zero")
_DIFFUSION = ("method.denoiser.hidden=(128,128)", "method.num_steps=20")
_MEMORY = ("train.batch_size=1000", "train.steps=18", "method.capacity=18000", "method.num_neighbours=1")

RUNS = (
    run_spec("lasa", "nearest_neighbour", _SEEDS, *_MEMORY),
    run_spec("lasa", "explicit_bc", _SEEDS, *_TRAIN, _RATE, "method.hidden=(128,128)"),
    run_spec("lasa", "cvae", _SEEDS, *_TRAIN, _RATE, *_CVAE),
    run_spec("lasa", "diffusion", _SEEDS, *_TRAIN, _RATE, *_DIFFUSION),
    run_spec("lasa", "mdn", _SEEDS, *_MIXTURE, _RATE, *_FIXED),
    run_spec("lasa", "mdn", _SEEDS, *_MIXTURE, _RATE, variant="learned"),
    run_spec("lasa", "ebgan_mdn", _SEEDS, *_MIXTURE, *_FIXED, *_ENERGY),
    run_spec("lasa", "ebgan_mdn", _SEEDS, *_MIXTURE, *_FIXED, *_ENERGY, "method.reweight=False", variant="plain"),
)

FIGURES = (
    ArraysFigure("drawings_neighbour", "drawings", ("lasa-nearest_neighbour",)),
    ArraysFigure("drawings_regression", "drawings", ("lasa-explicit_bc",)),
)
