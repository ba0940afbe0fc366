"""Can a policy repeat the one episode that it was trained on? The check that Ta et al. begin with (2022, arXiv 2207.05824).

Command:  python -m experiments.sweep --config=ibc_overfit
Seeds:    4 (0 to 3), each with an episode of its own, in 2-D and 16-D
Settings: the regression of `ibc_particle` and two of its energies, by 1,000 steps with batches of 51, the whole episode; 20
          episodes are new.
Expected: train_success 100 for all, but for the derivative-free search in 16-D; success, in episodes that none has seen, near 0. No
          published numbers.
Run time: about 15 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs import ibc_particle
from experiments.configs.base import run_spec

_ONE = (
    "data.redraw=True",
    "data.num_demonstrations=51",
    "train.batch_size=51",
    "train.steps=1000",
    "evaluation.num_inputs=20",
)

RUNS = tuple(
    run_spec(task, method, 4, *_ONE, *settings, variant=variant)
    for task in ("particle_2d", "particle_16d")
    for method, variant, settings in (
        ("explicit_bc", "", ibc_particle.MSE),
        ("ibc", "langevin", ibc_particle.SEARCHES["langevin,penalty"]),
        ("ibc", "derivative_free", ibc_particle.SEARCHES["derivative_free"]),
    )
)
