"""Which mixture heads keep the modes of chunks: of whole chunks or of their steps, of positions or of displacements?

Command:  python -m experiments.sweep --config=chunk_heads
Seeds:    4 (0 to 3)
Settings: 8 spokes in chunks of 16, `chunk_modes.mixture_of_chunks`. "steps" has a mixture of 16 components per step of the chunk;
          "network" starts as the network's weights have it. Displacements of independent positions have correlations at which covariances
          differ: "diagonal", "low_rank" with 24 factors for 32 dimensions, "full", and "tied", one full covariance for all components. With
          "clusters" components start at clusters of a minibatch of 8 rows for every mode, at least 128, and the learning rate is 0.0002,
          the largest of three at which seeds 100 to 103 of an MDN all stayed in the tubes; 2,000 steps. "imbalanced": every other spoke
          has a fourth of the weight.
Expected: no published number. Steps of independent positions are correlated one with the next, which a diagonal cannot hold and few factors
          can hold in part; chance mixes a step's modes. A full covariance has 528 parameters for each of 16 components, many for 1,000
          demonstrations; a tied one has them once.
Run time: 22 minutes on two CPU cores; 50 of one core, beside other work.
"""

from experiments.configs.base import RunSpec
from experiments.configs.chunk_modes import RATES, mixture_from_clusters, mixture_of_chunks

_STEPS = "method.generator.independent_steps=16"
_FULL = "method.generator.covariance=full"
_LOW_RANK = ("method.generator.covariance=low_rank", "method.generator.rank=24")
_POSITIONS, _DISPLACEMENTS, _IMBALANCED = (f"radial_8_short{kind}" for kind in ("", "_displacement", "_imbalanced"))
_MODES = 2, 8, 32


def _clusters(method: str, modes: int, covariance: str) -> RunSpec:
    """A run on displacements that starts at clusters."""
    settings = (
        f"method.generator.covariance={covariance}",
        f"train.batch_size={max(128, 8 * modes)}",
        "train.steps=2000",
        f"hyper.{RATES[method]}=0.0002",
    )
    task = f"radial_{modes}_short_displacement"
    return mixture_from_clusters(task, method, modes, *settings, variant=f"{covariance},clusters")


RUNS = (
    mixture_of_chunks(_POSITIONS, "mdn", 8),
    mixture_of_chunks(_POSITIONS, "mdn", 8, "method.generator.start=network", variant="network"),
    mixture_of_chunks(_POSITIONS, "mdn", 8, _STEPS, variant="steps"),
    mixture_of_chunks(_POSITIONS, "ebgan_mdn", 8, _STEPS, "method.reweight=False", variant="steps"),
    mixture_of_chunks(_DISPLACEMENTS, "mdn", 8),
    mixture_of_chunks(_DISPLACEMENTS, "mdn", 8, *_LOW_RANK, variant="low_rank"),
    mixture_of_chunks(_DISPLACEMENTS, "mdn", 8, _FULL, variant="full"),
    mixture_of_chunks(_DISPLACEMENTS, "ebgan_mdn", 8, _FULL, variant="full"),
    _clusters("mdn", 8, "full"),
    *(_clusters(method, modes, "tied") for modes in _MODES for method in ("mdn", "ebgan_mdn")),
    mixture_of_chunks(_IMBALANCED, "mdn", 8),
    mixture_of_chunks(_IMBALANCED, "ebgan_mdn", 8),
)
