"""What an energy policy is trained against: where negatives come from, and which loss (Ta et al. 2022, arXiv 2207.05824).

Command:  python -m experiments.sweep --config=ibc_negatives
Seeds:    8 (0 to 7), each with 500 demonstrations of its own
Settings: energies of 3 x 64, 2,000 steps, 8 negatives for a row. Chains as Ta et al. have them: 10 steps from 1 to 0.001, moves of at most
          0.25 half extents; IBC's form of the noise at 0.1, Langevin's own at 1. "marginal" has negatives of the marginal action sampler,
          trained by maximum entropy, or by contrastive divergence ("marginal,cd"); "joint" is an energy of observation and action with a
          replay buffer of 10,000 pairs. Contrastive divergence ("cd") and maximum entropy have the square of the demonstrated actions'
          energy on top, weighted by 0.1, without which they are not bounded. All draw from exp(-E) over 1,024 uniform candidates: of
          "marginal" and "marginal,cd" this is p(a|o) / p(a).
Expected: no published numbers. Ta et al. find marginal negatives on par with IBC's, no gain by maximum entropy or contrastive divergence,
          textbook noise worse in training than IBC's, and joint energies to generalise very poorly.
Run time: about 17 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import run_spec

_TASKS = ("hyperbola", "inverse_sine")
SHARED = (
    *("data.redraw=True", "train.steps=2000", "method.num_negatives=8", "method.langevin.num_steps=10"),
    *("hyper.step_size=1", "hyper.last_step_size=0.001", "hyper.delta_clip=0.25"),
    *("method.num_candidates=1024", "method.num_iterations=0"),
)
_IBC_CHAINS = ("method.langevin_share=1", "hyper.noise_scale=0.1")
_CHAINS = ("method.langevin_share=1", "method.langevin.noise=langevin")
_MARGINAL = ("method.marginal_share=1", "method.langevin.noise=langevin")
_DIVERGENCE = ("method.loss=contrastive_divergence", "hyper.positive_weight=0.1")
_ENTROPY = ("method.loss=max_entropy", "hyper.positive_weight=0.1")
_LINES = {
    "uniform": (),
    "uniform,nll": ("method.loss=importance_nll",),
    "ibc_chains": _IBC_CHAINS,
    "chains": _CHAINS,
    "chains,cd": (*_CHAINS, *_DIVERGENCE),
    "chains,max_entropy": (*_CHAINS, *_ENTROPY),
    "marginal": _MARGINAL,
    "marginal,cd": (*_MARGINAL, "method.marginal_loss=contrastive_divergence"),
    "marginal,max_entropy": (*_MARGINAL, *_ENTROPY),
    "joint": ("method.langevin.noise=langevin", "method.replay_buffer=10000", *_DIVERGENCE),
}

RUNS = tuple(
    run_spec(task, "ibc", 8, *SHARED, *changes, variant=name) for task in _TASKS for name, changes in _LINES.items()
)
