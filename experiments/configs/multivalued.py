"""The other multi-valued functions, same budget as the hyperbola.

Command:  python -m experiments.sweep --config=multivalued
Seeds:    16 (0 to 15)
Settings: as `hyperbola`, with one mixture component for each mode of the task and alpha = 1
Expected: of lines, the authors' code with 3 seeds: TMC (S = 10, tau = 0.05) of MDN 93 to 94 %, of EBGAN-MDN 76, 91 and 14 %. The
          others have no published number.
Run time: about 3 minutes on 2 CPU cores.
"""

from experiments.configs.base import run_spec

_MODES = {"lines": 3, "circle": 2, "parabola": 2, "inverse_sine": 3}

RUNS = tuple(
    run_spec(
        task,
        method,
        16,
        *([f"method.generator.num_components={modes}"] if method != "explicit_bc" else []),
        *(["method.alpha_schedule=constant"] if method == "ebgan_mdn" else []),
    )
    for task, modes in _MODES.items()
    for method in ("explicit_bc", "mdn", "ebgan_mdn")
)
