"""Chunks with 2 to 32 modes: do discrete codes keep them, and does a CVAE with another prior or regulariser? (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_codes
          python -m experiments.sweep --config=chunk_codes_full
Seeds:    4 (0 to 3); "full", for an accelerator, has 16, and 2, 4, 8, 16, 32 and 64 modes
Settings: as `chunk_modes`: networks of 2 x 128, 1,000 steps; "longer" has 4,000. The vector-quantised policy has twice as many codes as
          modes and, as the mixtures there, a minibatch that can show them all; "levels" has two levels, of the square root of that many,
          so that as many sums are possible. CVAEs have minibatches of 64, a latent of 4 and the absolute error, with the KL to a standard
          ("kl") or "learned" prior, to that with codes drawn by a "flow", or the MMD or Sinkhorn divergence to the standard one.
          Betas are the best of three (Sinkhorn and flow: five) for draws on support in one trial each, of one seed, on eight spokes; the
          flow's for 4,000 steps, as after 1,000 it has not learned where codes lie.
Expected: no published number for these settings. Nothing smooth parts the codes, so they should keep modes as mixtures do; but not levels
          drawn independently, which need not fit. A learned prior can say nothing that a standard one cannot; training may differ. A flow
          should draw codes where they lie, and so keep modes at betas where draws of a standard prior fall between.
Run time: 15 minutes of one CPU core; "full" has not been run.
"""

import math

from experiments.configs.base import RunSpec, TaskFigure, run_spec
from experiments.configs.chunk_modes import ALL_TASKS, FULL_SEEDS, LONGER, SEEDS, TASKS

_LENGTHS = {"": (), "longer": (LONGER,)}
_KINDS = {
    "kl": ("hyper.beta=0.03",),
    "learned": ("hyper.beta=0.03", "method.prior=learned"),
    "flow": ("hyper.beta=0.003", "method.prior=flow"),
    "mmd": ("hyper.beta=0.1", "method.regulariser=mmd"),
    "sinkhorn": ("hyper.beta=1", "method.regulariser=sinkhorn"),
}
_CVAE = (
    "method.encoder_hidden=(128,128)",
    "method.decoder_hidden=(128,128)",
    "method.latent_dim=4",
    "method.reconstruction=l1",
    "hyper.learning_rate=0.002",
)


def _run(task: str, method: str, batch_size: int, *overrides: str, variant: str) -> RunSpec:
    return run_spec(
        task, method, SEEDS, "train.steps=1000", f"train.batch_size={batch_size}", *overrides, variant=variant
    )


def codes(task: str, modes: int, num_codes: int, *overrides: str, variant: str = "") -> RunSpec:
    """A vector-quantised policy."""
    settings = ("method.hidden=(128,128)", f"method.num_codes={num_codes}")
    return _run(task, "vq", max(64, 8 * modes), *settings, *overrides, variant=variant)


def cvae(task: str, kind: str, *overrides: str, variant: str = "") -> RunSpec:
    """A CVAE with that prior or regulariser."""
    return _run(task, "cvae", 64, *_CVAE, *_KINDS[kind], *overrides, variant=variant)


def _variant(*names: str) -> str:
    return ",".join(filter(None, names))


def _lines(task: str, modes: int) -> tuple[RunSpec, ...]:
    return (
        *(codes(task, modes, 2 * modes, *steps, variant=name) for name, steps in _LENGTHS.items()),
        codes(task, modes, math.isqrt(2 * modes), "method.num_levels=2", variant="levels"),
        *(
            cvae(task, kind, *steps, variant=_variant(kind, name))
            for kind in _KINDS
            for name, steps in _LENGTHS.items()
        ),
    )


RUNS = tuple(line for modes, task in TASKS.items() for line in _lines(task, modes))
FULL = tuple(line._replace(num_seeds=FULL_SEEDS) for modes, task in ALL_TASKS.items() for line in _lines(task, modes))

FIGURES = (TaskFigure("modes", "modes", ("share_coverage@tau=0.5", "on_support", "bridge"), log=True),)
