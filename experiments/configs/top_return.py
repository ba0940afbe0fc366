"""Demonstrators of mixed quality, all of them or the better half by return: what does the choice change for IBC and for regression?

As IBC trains on D4RL (Florence et al. 2021, arXiv 2109.00137, section 4): on the half of the episodes with the highest return.

Command:  python -m experiments.sweep --config=top_return
Seeds:    3 (0 to 2), each judged in 100 episodes
Settings: those of `ibc_particle`: residual networks of 2 x 256, batch 128, 5,000 steps; IBC has 64 uniform negatives and searches without
          derivatives. "particle_2d_mixed": 2,000 episodes whose demonstrators do something random at up to 40 % of their steps,
          "half": 1,000 others; "particle_2d_mixed_best": the 1,000 with the highest return. Nearest neighbour: one, of all rows.
Expected: no published number for the particle.
Run time: about 75 minutes on one CPU core of two, both more than busy.
"""

from experiments.configs.base import RunSpec, run_spec
from experiments.configs.ibc_particle import MSE, SEARCHES

_SEEDS = 3
_TRAIN = ("train.batch_size=128", "train.steps=5000")


def _runs(task: str, num_rows: int, *overrides: str, variant: str = "") -> tuple[RunSpec, ...]:
    memory = (
        "train.batch_size=1020",
        f"train.steps={num_rows // 1020}",
        f"method.capacity={num_rows}",
        "method.num_neighbours=1",
    )
    return (
        run_spec(task, "explicit_bc", _SEEDS, *_TRAIN, *MSE, *overrides, variant=variant),
        run_spec(task, "nearest_neighbour", _SEEDS, *memory, *overrides, variant=variant),
        run_spec(task, "ibc", _SEEDS, *_TRAIN, *SEARCHES["derivative_free"], *overrides, variant=variant),
    )


RUNS = (
    *_runs("particle_2d_mixed", 102_000),
    *_runs("particle_2d_mixed", 51_000, "data.num_demonstrations=51000", variant="half"),
    *_runs("particle_2d_mixed_best", 51_000),
)
