"""Registry of sweeps, one module per table or figure."""

from experiments.configs import geyser, hyperbola, multivalued, quickstart
from experiments.configs.base import RunSpec

CONFIGS: dict[str, tuple[RunSpec, ...]] = {
    "quickstart": quickstart.RUNS,
    "hyperbola": hyperbola.RUNS,
    "multivalued": multivalued.RUNS,
    "geyser": geyser.RUNS,
}
