"""The chains that an energy policy is trained on: form and size of their noise, one or many, constant or not (Ta et al. 2022, 2207.05824).

Command:  python -m experiments.sweep --config=ibc_chains
Seeds:    8 (0 to 7), each with 500 demonstrations of its own
Settings: as `ibc_negatives`: energies of 3 x 64, 2,000 steps of InfoNCE, 8 negatives from chains of 10 steps from 1 to 0.001, moves of at
          most 0.25 half extents. "ibc" and "langevin" are forms of the noise, sigma its scale. "one_chain": the negatives are the last 8
          states of one chain of 10; "backpropagate": the gradient goes through the chains; sigma is 1 in both. All draw from exp(-E) over
          1,024 uniform candidates; "downhill" says where the landscape leads, whatever its temperature.
Expected: no published numbers. Ta et al. find IBC's form better in training than the textbook's, sigmas of 0.01 to 0.1 helpful, and many
          short chains better than a long one.
Run time: 17 minutes of one CPU core, beside other work.
"""

from experiments.configs.base import run_spec
from experiments.configs.ibc_negatives import SHARED

_CHAINS = (*SHARED, "method.langevin_share=1")
_LINES = {f"ibc,sigma={sigma:g}": (f"hyper.noise_scale={sigma:g}",) for sigma in (1, 0.1, 0.01)}
_LINES |= {
    f"langevin,sigma={sigma:g}": ("method.langevin.noise=langevin", f"hyper.noise_scale={sigma:g}")
    for sigma in (1, 0.1, 0.01)
}
_LINES |= {
    f"langevin,{option}": ("method.langevin.noise=langevin", f"method.langevin.{option}=True")
    for option in ("one_chain", "backpropagate")
}

RUNS = tuple(
    run_spec(task, "ibc", 8, *_CHAINS, *changes, variant=name)
    for task in ("hyperbola", "inverse_sine")
    for name, changes in _LINES.items()
)
