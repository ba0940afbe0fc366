"""Policies that push blocks in simulation (Florence et al. 2021, arXiv 2109.00137, table 3), CPU size. Needs the extra "pushing".

Command:  python -m experiments.sweep --config=pushing
Seeds:    3 (0 to 2), each judged in 100 episodes
Settings: batch 128, 5,000 steps, learning rates halved four times. Residual networks as in the paper's code: 4 x 128 for regression, one
          block of 2 x 128 for IBC, which has 32 uniform negatives and searches 256 candidates without derivatives. MDN and EBGAN-MDN with
          their defaults, drawing actions. Nearest neighbour: one, of all demonstrations.
Expected: success of the paper's networks after 100,000 steps, in %, single and multi target: IBC 100 and 99, MDN 100 and 99.7, regression
          98.3 and 89.7, nearest neighbour 4 and 0; small networks after 10,000 steps, by its code's comments: IBC 100, regression 85. Of
          two blocks it has no numbers.
Run time: 44 minutes of one CPU core of two, the other busy, with 3 to make demonstrations first.

"pushing_published", for an accelerator, has the best configurations of the paper's code for states (`--preset=paper`), 100,000 steps with
batches of 512, and beside its search without derivatives "langevin", 16 layers of 128 that chains descend twice. It has not been run.
"""

from ebgan_mdn_jax.tasks import pushing
from experiments.configs.base import RunSpec, run_spec
from experiments.presets import IBC_CHAINS

_SEEDS = 3
_TRAIN = ("train.batch_size=128", "train.steps=5000")
_MSE = (*_TRAIN, "method.hidden=(128,128,128,128)", "method.residual=preactivation", "method.init=normal_0.05")
_IBC = (
    *_TRAIN,
    "method.energy_hidden=(128,128)",
    "method.energy_residual=preactivation",
    "method.energy_init=normal_0.05",
    "method.num_negatives=32",
    "method.num_candidates=256",
)


# The second pass has the step sizes of the first.
_LANGEVIN = (
    *IBC_CHAINS,
    f"method.energy_hidden=({','.join(['128'] * 16)})",
    "method.second_pass=True",
    "hyper.second_step_size=0.1",
)


def _memory(task: str) -> RunSpec:
    rows = pushing.VARIANTS[task].num_demonstrations
    settings = (
        f"method.capacity={rows}",
        "method.num_neighbours=1",
        "train.batch_size=1000",
        f"train.steps={rows // 1000}",
    )
    return run_spec(task, "nearest_neighbour", _SEEDS, *settings)


def _runs(task: str) -> tuple[RunSpec, ...]:
    return (
        run_spec(task, "explicit_bc", _SEEDS, *_MSE),
        _memory(task),
        run_spec(task, "mdn", _SEEDS, *_TRAIN),
        run_spec(task, "ibc", _SEEDS, *_IBC),
        run_spec(task, "ebgan_mdn", _SEEDS, *_TRAIN),
    )


def _published(task: str) -> tuple[RunSpec, ...]:
    return (
        run_spec(task, "explicit_bc", _SEEDS, preset="paper"),
        _memory(task),
        run_spec(task, "mdn", _SEEDS, preset="paper"),
        run_spec(task, "ibc", _SEEDS, preset="paper"),
        run_spec(task, "ibc", _SEEDS, *_LANGEVIN, variant="langevin", preset="paper"),
    )


RUNS = tuple(run for task in pushing.VARIANTS for run in _runs(task))
PUBLISHED = tuple(run for task in pushing.VARIANTS for run in _published(task))
