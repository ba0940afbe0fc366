"""Chunks with 2 to 32 modes: do flow matching, diffusion and a one-shot generator keep all of them? (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_flows
          python -m experiments.sweep --config=chunk_flows_full
Seeds:    4 (0 to 3); "full", for an accelerator, has 16, and 2, 4, 8, 16, 32 and 64 modes
Settings: as the other methods of `chunk_modes`: networks of 2 x 128, minibatches of 64, 1,000 steps; "longer" has 4,000. Flow takes 20
          steps from noise to action, or by "num_steps" 1 or 100, of the longer one; diffusion 100. The one-shot generator is trained by
          the energy score.
Expected: no published number for these settings. The authors report bridges between modes that grow with their number, to 51 % at 16.
Run time: about 20 minutes on one CPU core of two, the other more than busy; "full" has not been run.
"""

from experiments.configs.base import RunSpec, TaskFigure, run_spec
from experiments.configs.chunk_modes import ALL_TASKS, FULL_SEEDS, LONGER, SEEDS, TASKS

_NETWORK = {
    "flow": "method.denoiser.hidden=(128,128)",
    "diffusion": "method.denoiser.hidden=(128,128)",
    "energy_score": "method.hidden=(128,128)",
}


def run(task: str, method: str, *overrides: str, variant: str = "") -> RunSpec:
    """A policy that carries noise to chunks."""
    settings = ("train.steps=1000", "train.batch_size=64", _NETWORK[method])
    return run_spec(task, method, SEEDS, *settings, *overrides, variant=variant)


def _lines(task: str) -> tuple[RunSpec, ...]:
    return (
        *(
            run(task, method, *of, variant=name)
            for method in _NETWORK
            for name, of in (("", ()), ("longer", (LONGER,)))
        ),
        *(run(task, "flow", LONGER, f"method.num_steps={n}", variant=f"longer,num_steps={n}") for n in (1, 100)),
    )


RUNS = tuple(line for task in TASKS.values() for line in _lines(task))
FULL = tuple(line._replace(num_seeds=FULL_SEEDS) for task in ALL_TASKS.values() for line in _lines(task))

FIGURES = (TaskFigure("modes", "modes", ("share_coverage@tau=0.5", "on_support", "bridge"), log=True),)
