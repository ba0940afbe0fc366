"""Registry of tasks."""

from ebgan_mdn_jax.tasks import geyser, multivalued, two_link
from ebgan_mdn_jax.tasks.base import Task

TASKS: dict[str, Task] = {
    "hyperbola": multivalued.HYPERBOLA,
    "lines": multivalued.LINES,
    "circle": multivalued.CIRCLE,
    "parabola": multivalued.PARABOLA,
    "inverse_sine": multivalued.INVERSE_SINE,
    "gaussian_grid": multivalued.GAUSSIAN_GRID,
    "geyser": geyser.GEYSER,
    **two_link.VARIANTS,
}
