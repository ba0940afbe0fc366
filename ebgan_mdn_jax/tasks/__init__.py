"""Registry of tasks."""

from ebgan_mdn_jax.tasks import geyser, multivalued, three_link, two_link, two_link_limits
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
    "two_link_limits": two_link_limits.TWO_LINK_LIMITS,
    "three_link": three_link.THREE_LINK,
}
