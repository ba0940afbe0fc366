"""Registry of tasks."""

from ebgan_mdn_jax.tasks import geyser, multi_route, multivalued
from ebgan_mdn_jax.tasks.base import Task

TASKS: dict[str, Task] = {
    "hyperbola": multivalued.HYPERBOLA,
    "lines": multivalued.LINES,
    "circle": multivalued.CIRCLE,
    "parabola": multivalued.PARABOLA,
    "inverse_sine": multivalued.INVERSE_SINE,
    "gaussian_grid": multivalued.GAUSSIAN_GRID,
    "geyser": geyser.GEYSER,
    "multi_route": multi_route.MULTI_ROUTE,
    "multi_route_three": multi_route.MULTI_ROUTE_THREE,
}
