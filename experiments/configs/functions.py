"""All methods on the five multi-valued functions: the paper's comparison with seeds, more baselines and a better EBGAN-MDN.

Command:  python -m experiments.sweep --config=functions
Seeds:    16 (0 to 15); the primary metric is w1
Settings: "paper" is the authors' configuration (`experiments/presets.py`), "tuned" the one that `mdn` and `ebgan_mdn` share on all tasks.
          "plain" is the tuned EBGAN-MDN without its energy at inference: the gain of the generator alone, from the same training.
          "separate" has an energy trained beside an MDN, which sees no draws and has no say in its training. IBC draws from one
          population by exp(-E), without the rounds of search, each of which sharpens it. The Bayesian MDN is an ensemble of 8 networks.
Expected: the paper reports TMC 99.4 % (EBGAN-MDN), 65 (cGAN) and 0 (explicit BC) on the hyperbola, single numbers.
Run time: about 35 minutes of one CPU core.
"""

from experiments.configs.base import run_spec

_COMPONENTS = {"hyperbola": 2, "lines": 3, "circle": 2, "parabola": 2, "inverse_sine": 3}
_SEPARATE = ("hyper.energy_weight=0", "hyper.alpha=0")

RUNS = tuple(
    run
    for task, components in _COMPONENTS.items()
    for run in (
        run_spec(task, "explicit_bc", 16, preset="paper"),
        run_spec(task, "nearest_neighbour", 16, "train.steps=16"),
        run_spec(task, "cgan", 16, "method.latent_dim=2", preset="paper"),
        run_spec(task, "cvae", 16, "train.steps=5000", "method.decay_every=0"),
        run_spec(task, "ibc", 16, "method.num_iterations=0", preset="paper"),
        run_spec(task, "ebgan", 16, preset="paper"),
        run_spec(
            task,
            "bayesian_mdn",
            16,
            "method.inference=ensemble",
            f"method.generator.num_components={components}",
        ),
        run_spec(task, "mdn", 16, variant="paper", preset="paper"),
        run_spec(task, "mdn", 16, variant="tuned", preset="tuned"),
        run_spec(task, "ebgan_mdn", 16, variant="paper", preset="paper"),
        run_spec(task, "ebgan_mdn", 16, "method.reweight=False", variant="tuned,plain", preset="tuned"),
        run_spec(task, "ebgan_mdn", 16, variant="tuned", preset="tuned"),
        run_spec(task, "ebgan_mdn", 16, *_SEPARATE, variant="separate", preset="tuned"),
    )
)
