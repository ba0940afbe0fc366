"""The particle as published, by dimension (Florence et al. 2021, arXiv 2109.00137, figures 6 and 11): for an accelerator.

Command:  python -m experiments.sweep --config=ibc_particle_published
Seeds:    3 (0 to 2), each judged in 100 episodes
Settings: the best configurations of IBC's code (`--preset=paper`): 2 x 2,048 residual, 100,000 steps with batches of 512. Searches by
          Langevin chains, and in place of them without derivatives, of all coordinates at once or one after another, with 256 uniform
          negatives and 16,384 candidates. "small" is the code's small configuration, "spectral" that of the paper's appendix D.3: 16
          layers of 128, normalised, 64 negatives, 50 chain steps, 50,000 steps with batches of 128. Nearest neighbour: one, of all rows.
Expected: implicit policies 95 % up to 16 dimensions and not 0 at 32, derivative-free search of all coordinates up to 5, regression 95 % up
          to 8, nearest neighbours in 1. The small configuration after 10,000 steps in 2-D, by the code's comments: 96 %.
Run time: not run; a step at this width is about 2e13 FLOP, so it takes an accelerator hours per line.
"""

from experiments.configs.base import RunSpec, run_spec
from experiments.configs.ibc_particle import MEMORY

_SEEDS = 3
_UNIFORM = (
    *("method.langevin_share=0", "method.gradient_penalty=none", "method.num_negatives=256"),
    *("method.search=derivative_free", "method.num_candidates=16384"),
)
_SEARCHES = {
    "langevin": (),
    "derivative_free": _UNIFORM,
    "autoregressive": (*_UNIFORM, "method.autoregressive=True"),
}
_SPECTRAL = (
    *("train.batch_size=128", "train.steps=50000"),
    *(f"method.energy_hidden=({','.join(['128'] * 16)})", "method.energy_spectral=True"),
    *("method.num_negatives=64", "method.langevin.num_steps=50"),
)


def _runs(dimensions: int) -> tuple[RunSpec, ...]:
    task = f"particle_{dimensions}d"
    return (
        run_spec(task, "explicit_bc", _SEEDS, preset="paper"),
        run_spec(task, "nearest_neighbour", _SEEDS, *MEMORY),
        *(
            run_spec(task, "ibc", _SEEDS, *changes, variant=search, preset="paper")
            for search, changes in _SEARCHES.items()
        ),
    )


RUNS = (
    *(run for dimensions in (1, 2, 3, 4, 5, 6, 8, 16, 32) for run in _runs(dimensions)),
    run_spec("particle_2d", "ibc", _SEEDS, "method.energy_hidden=(256,256)", variant="small", preset="paper"),
    run_spec("particle_2d", "ibc", _SEEDS, *_SPECTRAL, variant="spectral", preset="paper"),
)
