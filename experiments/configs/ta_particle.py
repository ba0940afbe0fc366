"""Negatives by IBC's chains against those of the marginal action sampler, on the particle (Ta et al. 2022, arXiv 2207.05824, figure 2).

Command:  python -m experiments.sweep --config=ta_particle
Seeds:    3 (0 to 2), each judged in 100 episodes
Settings: the four trials of their appendix D, CPU size: 300 episodes in 2-D, energies of 2 x 256, no gradient penalty, 8 negatives, 5,000
          steps with batches of 128 (theirs: 512). "ibc": negatives descend the energy by IBC's chains. "marginal": they are draws of a
          marginal action sampler, which sees no observation, and actions are searched by IBC's chains, or with "langevin" by the
          textbook's. "max_entropy" is their loss with the square of positive energies on top, in place of InfoNCE. All chains have 10 steps
          from 1 to 0.001 and moves of at most 0.25 half extents, IBC's noise is 0.1 in training and 0.01 in the search, the textbook's 1,
          and 128 of them search. "explicit_bc" is a regression of the same size.
Expected: in their figure IBC's chains and marginal draws are on par, the textbook's noise and maximum entropy no better. No numbers.
Run time: 23 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import run_spec
from experiments.configs.ibc_particle import CHAINS

_SHARED = ("data.num_demonstrations=15300", "train.batch_size=128", "train.steps=5000")
_ENERGY = ("method.energy_hidden=(256,256)", "method.energy_init=normal_0.05", "method.num_negatives=8")
_MARGINAL = ("method.marginal_share=1",)
_TEXTBOOK = (*_MARGINAL, "method.langevin.noise=langevin", "hyper.search_noise_scale=1")
_LINES = {
    "ibc": ("method.langevin_share=1",),
    "ibc,marginal": _MARGINAL,
    "langevin,marginal": _TEXTBOOK,
    "langevin,marginal,max_entropy": (*_TEXTBOOK, "method.loss=max_entropy", "hyper.positive_weight=0.1"),
}

RUNS = (
    run_spec("particle_2d", "explicit_bc", 3, *_SHARED, "method.hidden=(256,256)", "method.init=normal_0.05"),
    *(
        run_spec("particle_2d", "ibc", 3, *_SHARED, *_ENERGY, *CHAINS, *changes, variant=name)
        for name, changes in _LINES.items()
    ),
)
