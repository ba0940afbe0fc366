"""Registry of sweeps, one module per table or figure."""

from experiments.configs import gaussian_grid, geyser, hyperbola, multivalued, quickstart
from experiments.configs.base import RunSpec

CONFIGS: dict[str, tuple[RunSpec, ...]] = {
    "quickstart": quickstart.RUNS,
    "hyperbola": hyperbola.RUNS,
    "multivalued": multivalued.RUNS,
    "gaussian_grid": gaussian_grid.RUNS,
    "geyser": geyser.RUNS,
}
