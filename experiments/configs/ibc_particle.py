"""Implicit against explicit policies on the particle, by dimension (Florence et al. 2021, arXiv 2109.00137, figures 6 and 11), CPU size.

Command:  python -m experiments.sweep --config=ibc_particle_2d, and the same of ibc_particle_1d, ibc_particle_4d, ibc_particle_8d
Seeds:    3 (0 to 2), each judged in 100 episodes
Settings: residual networks of one block of 2 x 256 as in the paper's code, without its dropout, batch 128, 5,000 steps, learning rates
          halved four times. IBC "langevin": 8 negatives that descend the energy in 10 steps from 1 to 0.001 (as long a way as the paper's
          100 from 0.1), noise 0.1 in training and 0.01 at inference (Ta et al. 2022); 128 chains at inference. With "penalty", in 2-D
          alone, the paper's gradient penalty in the maximum norm. "derivative_free": 64 uniform negatives, 1,024 candidates.
          "autoregressive": 8 uniform negatives, as each coordinate has a network of its own, and 128 candidates. All act as they would be
          deployed: energies by their lowest. Nearest neighbour: one, of all demonstrations.
Expected: with 100,000 steps, 2,048-wide networks and 2,000 demonstrations the paper has 95 % for IBC up to 16 dimensions and for MSE up
          to 8, nearest neighbours in one dimension only; small networks after 10,000 steps, by its code's comments: 96 and 5 % in 2-D.
          Nearest neighbours, measured with its code: 86, 7, 0 and 0 %.
Run time: about 100 minutes in 2-D, 40 in 1-D and 4-D and 60 in 8-D on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import RunSpec, TaskFigure, run_spec

_SEEDS = 3
_TRAIN = ("train.batch_size=128", "train.steps=5000")
_IBC = (
    "method.energy_hidden=(256,256)",
    "method.energy_residual=preactivation",
    "method.energy_init=normal_0.05",
    "method.num_negatives=8",
)
MSE = ("method.hidden=(256,256)", "method.residual=preactivation", "method.init=normal_0.05")
CHAINS = (
    "method.langevin.num_steps=10",
    "method.search=langevin",
    "method.num_candidates=128",
    "hyper.step_size=1",
    "hyper.last_step_size=0.001",
    "hyper.delta_clip=0.25",
    "hyper.noise_scale=0.1",
    "hyper.search_noise_scale=0.01",
)
SEARCHES = {
    "derivative_free": (*_IBC, "method.num_negatives=64", "method.num_candidates=1024"),
    "autoregressive": (*_IBC, "method.autoregressive=True", "method.num_candidates=128"),
    "langevin": (*_IBC, *CHAINS, "method.langevin_share=1"),
    "langevin,penalty": (*_IBC, *CHAINS, "method.langevin_share=1", "method.gradient_penalty=inf"),
}
MEMORY = ("train.batch_size=1020", "train.steps=100", "method.capacity=102000", "method.num_neighbours=1")


def _runs(dimensions: int) -> tuple[RunSpec, ...]:
    task = f"particle_{dimensions}d"
    searches = {name: of for name, of in SEARCHES.items() if dimensions == 2 or "penalty" not in name}
    return (
        run_spec(task, "explicit_bc", _SEEDS, *_TRAIN, *MSE),
        run_spec(task, "nearest_neighbour", _SEEDS, *MEMORY),
        *(run_spec(task, "ibc", _SEEDS, *_TRAIN, *settings, variant=search) for search, settings in searches.items()),
    )


DIMENSIONS = {dimensions: _runs(dimensions) for dimensions in (1, 2, 4, 8)}
# Of the last one, with the others beside it.
FIGURES = (
    TaskFigure("dimensions", "dimensions", ("success",), tuple(f"ibc_particle_{dim}d" for dim in (1, 2, 4)), log=True),
)
