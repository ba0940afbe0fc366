"""Chunks with 64 modes: what `chunk_modes`, `chunk_flows` and `chunk_codes` ask of 2 to 32, of one line per method. (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_many
Seeds:    4 (0 to 3)
Settings: as there; "longer" has 4,000 steps. Of the mixtures seeds 100 and 101 of an MDN were looked at first.
Expected: no published number. A head of whole chunks keeps at least 95 % of the modes, and at most 1 % more than the demonstrator strays.
Run time: 31 minutes of one CPU core, beside other work, of which EBGAN-MDN takes 16.
"""

from experiments.configs import chunk_codes, chunk_flows
from experiments.configs.chunk_modes import ALL_TASKS, LONGER, RATES, mixture_from_clusters, other

_MODES = 64
_TASK = ALL_TASKS[_MODES]
_OTHERS = "nearest_neighbour", "explicit_bc", "cvae longer", "cgan longer", "ebgan longer", "ibc langevin"

RUNS = (
    *(mixture_from_clusters(_TASK, method, _MODES) for method in RATES),
    *(other(_TASK, line) for line in _OTHERS),
    *(chunk_flows.run(_TASK, method, LONGER, variant="longer") for method in ("flow", "diffusion")),
    chunk_codes.cvae(_TASK, "flow", LONGER, variant="flow,longer"),
    chunk_codes.codes(_TASK, _MODES, 2 * _MODES),
)
