"""All methods on the inverse kinematics of the two-link arm: the paper's comparison with seeds, more baselines and a better EBGAN-MDN.

Command:  python -m experiments.sweep --config=two_link
Seeds:    16 (0 to 15); 1,000 reachable targets, fixed; the primary metric is success@0.1
Settings: analytic labels, raw angles. "paper" is the authors' configuration (`experiments/presets.py`) with N = 64, "tuned" the one that
          `mdn` and `ebgan_mdn` share on all tasks. "plain": without the energy at inference; "separate": an energy trained beside an
          MDN, which sees no draws and has no say in its training. "mean": means of components drawn by weight, the MDN's low-noise
          sampling. "rerank" and "densest" choose among 32 candidates of one component, "resample" among 32 of the mixture.
Expected: the paper reports 89.3 % success at a tolerance that it does not give. Its code with 3 seeds: MDN 76.5 to 86.7 % and EBGAN-MDN
          84.5 to 92.0 % at 0.3, 45.9 to 68.3 and 47.6 to 71.5 % at 0.1.
Run time: about 35 minutes of one CPU core.
"""

from experiments.configs.base import run_spec

_SEPARATE = ("hyper.energy_weight=0", "hyper.alpha=0")
_FEW = ("method.num_negatives=64",)
_MEAN = "method.sample_by=component_mean"


def _ours(*overrides: str, variant: str):
    return run_spec("two_link", "ebgan_mdn", 16, *overrides, variant=variant, preset="tuned")


RUNS = (
    run_spec("two_link", "explicit_bc", 16, preset="paper"),
    run_spec("two_link", "nearest_neighbour", 16, "train.steps=99"),
    run_spec("two_link", "cgan", 16, preset="paper"),
    run_spec("two_link", "cvae", 16, "train.steps=5000", "method.decay_every=0"),
    run_spec("two_link", "ibc", 16, *_FEW, "method.num_iterations=0", "evaluation.num_inputs=200", preset="paper"),
    run_spec("two_link", "ebgan", 16, *_FEW, preset="paper"),
    run_spec(
        "two_link",
        "bayesian_mdn",
        16,
        "method.inference=ensemble",
        "method.generator.num_components=2",
        "hyper.learning_rate=0.001",
        "train.steps=5000",
        "method.decay_every=0",
    ),
    run_spec("two_link", "mdn", 16, variant="paper", preset="paper"),
    run_spec("two_link", "mdn", 16, variant="tuned", preset="tuned"),
    run_spec("two_link", "mdn", 16, _MEAN, variant="tuned,mean", preset="tuned"),
    run_spec("two_link", "ebgan_mdn", 16, variant="paper", preset="paper"),
    _ours("method.reweight=False", variant="tuned,plain"),
    _ours("method.reweight=False", "method.sample_by=resample", variant="tuned,resample"),
    _ours("method.reweight=False", "method.sample_by=rerank", "method.candidates=component", variant="tuned,rerank"),
    _ours("method.reweight=False", "method.sample_by=densest", "method.candidates=component", variant="tuned,densest"),
    _ours(variant="tuned"),
    _ours(_MEAN, variant="tuned,mean"),
    _ours(*_SEPARATE, variant="separate"),
    _ours(*_SEPARATE, _MEAN, variant="separate,mean"),
)
