"""Chunks with 8 modes that are closer together, for their noise, or of which some are rare: who keeps them? (Mazza et al. 2026; E3)

Command:  python -m experiments.sweep --config=chunk_separation
Seeds:    4 (0 to 3)
Settings: spokes in chunks of 16 positions. "noisy_2" and "noisy_4" have 2 and 4 times the noise of `chunk_modes`: ends of neighbours are
          6 and 3 radii of their tubes apart, where it is 12 there. In "imbalanced" every other spoke is a quarter as frequent as its
          neighbours, in "rare" a twentieth, so that 1,000 demonstrations have 12 of each. Mixtures as `chunk_modes.mixture_of_chunks` says,
          with 2,000 steps, and minibatches of 512 in "rare", which can show all modes; the others as in `chunk_codes` and `chunk_flows`,
          with 4,000 steps.
Expected: no published number. A mixture needs no steep map between modes and should lose nothing with weights; rare modes are few rows.
Run time: about 28 minutes on half of one CPU core.
"""

from experiments.configs import chunk_codes, chunk_flows
from experiments.configs.base import RunSpec
from experiments.configs.chunk_modes import mixture_of_chunks

TASKS = tuple(f"radial_8_short_{kind}" for kind in ("noisy_2", "noisy_4", "imbalanced", "rare"))


def _runs(task: str) -> tuple[RunSpec, ...]:
    settings = ("train.steps=2000", *(("train.batch_size=512",) if task.endswith("rare") else ()))
    return (
        mixture_of_chunks(task, "mdn", 8, *settings),
        mixture_of_chunks(task, "ebgan_mdn", 8, *settings),
        chunk_codes.codes(task, 8, 16, "train.steps=4000"),
        chunk_codes.cvae(task, "flow", "train.steps=4000"),
        chunk_flows.run(task, "flow", "train.steps=4000"),
        chunk_flows.run(task, "diffusion", "train.steps=4000"),
    )


RUNS = tuple(run for task in TASKS for run in _runs(task))
