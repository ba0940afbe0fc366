"""The same tuning budget for every method: 8 settings, 2 seeds, 5,000 steps, on one task of each family.

Command:  python -m experiments.sweep --config=tuning_functions   (or tuning_grid, tuning_arm, tuning_routes)
Seeds:    2 (0 and 1); which setting is best is for the primary metric of the task to say
Settings: `_SETTINGS`; learning rates halve four times. Tasks: circle, the 49-Gaussian grid, the two-link arm, the routes. IBC
          is judged on less (`base.fewer_inputs`).
Expected: no published number.
Run time: to be measured.
"""

import math

from ebgan_mdn_jax.tasks import TASKS
from experiments.configs.base import RunSpec, fewer_inputs, run_spec

_WIDE = "(128,128,128)"  # generators and decoders, as the default of the mixtures
_SEVERAL = "method.generator.num_components=8", "method.generator.num_components=64"
_RATES = "hyper.learning_rate=0.0005,0.001,0.002,0.005"

# Of every method: what all its settings share, and what each of its runs adds. A list of values is a hyperparameter that varies over the
# members of a run.
_SETTINGS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "explicit_bc": ((_RATES,), (("method.hidden=(64,64,64,64)",), ("method.hidden=(256,256)",))),
    "nearest_neighbour": (
        ("hyper.bandwidth=0.005,0.02",),
        tuple((f"method.num_neighbours={k}",) for k in (1, 3, 10, 30)),
    ),
    "mdn": ((_RATES,), tuple((several,) for several in _SEVERAL)),
    "bayesian_mdn": (
        ("hyper.learning_rate=0.0005,0.002",),
        tuple((f"method.posterior={way}", several) for way in ("ensemble", "sgld") for several in _SEVERAL),
    ),
    "ibc": ((_RATES,), (("method.num_iterations=0",), ("method.num_iterations=1",))),
    "cvae": (
        (f"method.decoder_hidden={_WIDE}", "hyper.beta=0.1,1", "hyper.learning_rate=0.001,0.005"),
        (("method.latent_dim=2",), ("method.latent_dim=8",)),
    ),
    "vq": ((f"method.hidden={_WIDE}", _RATES), (("method.num_codes=16",), ("method.num_codes=64",))),
    "flow": ((_RATES,), tuple((f"method.predict={what}",) for what in ("action", "velocity"))),
    "diffusion": ((_RATES,), tuple((f"method.predict={what}",) for what in ("action", "noise"))),
    "energy_score": (
        (f"method.hidden={_WIDE}", _RATES),
        (("method.latent_dim=2",), ("method.latent_dim=8",)),
    ),
    "cgan": (
        (
            f"method.generator_hidden={_WIDE}",
            "hyper.generator_learning_rate=0.0005",
            "hyper.discriminator_learning_rate=0.0002,0.001",
        ),
        tuple(
            (f"method.penalty={p}", f"method.discriminator_steps={steps}")
            for p in ("none", "real")
            for steps in (5, 20)
        ),
    ),
    "ebgan": (
        (
            f"method.generator_hidden={_WIDE}",
            "hyper.generator_learning_rate=0.0001,0.0005",
            "hyper.energy_learning_rate=0.0005,0.001",
        ),
        (("method.latent_dim=2",), ("method.latent_dim=8",)),
    ),
    "ebgan_mdn": (
        ("hyper.energy_weight=0.03,0.3", "hyper.entropy_weight=0,1"),
        (("method.reweight=False",), ("method.reweight=True",)),
    ),
}


def _tuning(task: str) -> tuple[RunSpec, ...]:
    runs = []
    for method, (shared, variants) in _SETTINGS.items():
        if method == "nearest_neighbour":
            budget = (f"train.steps={math.ceil(TASKS[task].num_demonstrations / 32)}",)
        else:
            budget = ("train.steps=5000", "hyper.learning_rate_decay=0.5")
        for overrides in variants:
            variant = ",".join(override.removeprefix("method.").removeprefix("generator.") for override in overrides)
            runs.append(
                run_spec(
                    task,
                    method,
                    2,
                    *budget,
                    *fewer_inputs(task, method),
                    *shared,
                    *overrides,
                    variant=variant.replace(" ", ""),
                )
            )
    return tuple(runs)


FUNCTIONS, GRID, ARM, ROUTES = map(_tuning, ("circle", "gaussian_grid", "two_link", "multi_route"))
