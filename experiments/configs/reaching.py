"""Reaching among obstacles in a closed loop, by two arms: do policies that can choose reach more than those that cannot?

No physical robot was used: the arms are capsules that follow set-points exactly, see `envs.arm`.

Command:  python -m experiments.sweep --config=reaching
Seeds:    3 (0 to 2), each with demonstrations of its own, 1,000 episodes; judged in the same 100 episodes
Settings: minibatches of 256, 10,000 steps, networks of 2 x 128. Mixtures of 8 components with a deviation of 0.1, which start at
          demonstrations and act by their mode ("component_mean": the mean of a component drawn by its weight), at a rate of 0.002;
          chosen from 3 settings of the MDN (4 or 8 components, deviations of 0.1 or 0.2), one seed of either arm, by the episodes that
          policies are judged in. EBGAN-MDN's energy sees 16 negatives and 4 draws, once a step. Nearest neighbour: one of all 40,000
          rows. The planner knows the obstacles.
Expected: no published number.
Run time: 46 minutes of one CPU core of two, the other more than busy; the UR5's EBGAN-MDN takes nearly a third of it.
"""

from experiments.configs.base import RunSpec, run_spec

_SEEDS = 3
_TRAIN = ("train.batch_size=256", "train.steps=10000", "data.redraw=True")
_MIXTURE = (
    *_TRAIN,
    "method.generator.num_components=8",
    "method.generator.hidden=(128,128)",
    "method.generator.covariance=fixed",
    "method.generator.fixed_scale=0.1",
    "method.generator.start=data",
)
_MODE, _MEAN = "method.act_by=mode", "method.act_by=component_mean"
_MDN = (*_MIXTURE, "hyper.learning_rate=0.002")
_EBGAN_MDN = (
    *_MIXTURE,
    "hyper.generator_learning_rate=0.002",
    "method.energy_hidden=(128,128)",
    "method.num_negatives=16",
    "method.num_generated=4",
    "method.energy_steps=1",
)
_MEMORY = (
    "train.batch_size=1000",
    "train.steps=40",
    "data.redraw=True",
    "method.capacity=40000",
    "method.num_neighbours=1",
)


def _runs(task: str) -> tuple[RunSpec, ...]:
    return (
        run_spec(task, "nearest_neighbour", _SEEDS, *_MEMORY),
        run_spec(task, "explicit_bc", _SEEDS, *_TRAIN, "method.hidden=(128,128)"),
        run_spec(task, "mdn", _SEEDS, *_MDN, _MODE),
        run_spec(task, "mdn", _SEEDS, *_MDN, _MEAN, variant="component_mean"),
        run_spec(task, "ebgan_mdn", _SEEDS, *_EBGAN_MDN, _MODE),
        run_spec(task, "ebgan_mdn", _SEEDS, *_EBGAN_MDN, _MEAN, variant="component_mean"),
    )


RUNS = tuple(run for task in ("reach_two_link", "reach_ur5") for run in _runs(task))
