"""What the gradient penalty of implicit behavioural cloning does to the landscape (Florence et al. 2021, arXiv 2109.00137, section B.3.1).

Command:  python -m experiments.sweep --config=ibc_penalty
Seeds:    8 (0 to 7), each with 100 demonstrations of its own
Settings: energies of 3 x 64, 3,000 steps, 8 negatives: uniform, or chains of 10 steps from 1 to 0.001 with IBC's noise at 0.1 and moves of
          at most 0.25 half extents. The penalty is IBC's, in the maximum norm with margin 1 and weight 1. "chains" act as IBC does by
          Langevin: 512 chains of the same steps, with noise of 0.01; "uniform" by the lowest of 1,024 candidates after 3 iterations.
Expected: no published number. The penalty should leave fewer minima where no demonstration is, and slopes near 1.
Run time: about 21 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import run_spec

_SHARED = ("data.redraw=True", "train.steps=3000", "method.num_negatives=8")
_UNIFORM = (*_SHARED, "method.num_candidates=1024")
_CHAINS = (
    *_SHARED,
    *("method.langevin_share=1", "method.langevin.num_steps=10", "method.search=langevin", "method.num_candidates=512"),
    *("hyper.step_size=1", "hyper.last_step_size=0.001", "hyper.delta_clip=0.25"),
    *("hyper.noise_scale=0.1", "hyper.search_noise_scale=0.01"),
)
_PENALTY = "method.gradient_penalty=inf"

RUNS = tuple(
    run_spec(task, "ibc", 8, *settings, variant=variant)
    for task in ("step", "jumps_8", "piecewise")
    for variant, settings in {
        "uniform": _UNIFORM,
        "uniform,penalty": (*_UNIFORM, _PENALTY),
        "chains": _CHAINS,
        "chains,penalty": (*_CHAINS, _PENALTY),
    }.items()
)
