"""A first look: three methods on two multi-valued functions.

Command:  python -m experiments.sweep --config=quickstart
Seeds:    4 (0 to 3)
Expected: explicit_bc covers no input of the hyperbola (TMC 0); mdn and ebgan_mdn cover nearly all (the exact sampler: 98 to 100), but for
          seeds that smear both branches into one, here seed 1 of mdn; config "hyperbola" says how often that happens.
Run time: about 1 minute on 2 CPU cores, compilation included.
"""

from experiments.configs.base import run_spec

_MODES = {"hyperbola": 2, "inverse_sine": 3}

RUNS = tuple(
    run_spec(
        task,
        method,
        4,
        *([f"method.generator.num_components={modes}"] if method != "explicit_bc" else []),
        preset="small",
    )
    for task, modes in _MODES.items()
    for method in ("explicit_bc", "mdn", "ebgan_mdn")
)
