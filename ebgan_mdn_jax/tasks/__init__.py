"""Registry of tasks."""

import difflib

from ebgan_mdn_jax.tasks import (
    coordinates,
    discontinuous,
    geyser,
    inverse_sine,
    lasa,
    multi_route,
    multivalued,
    particle,
    pedestrians,
    planar,
    pushing,
    pusht,
    reach,
    recorded,
    replanning,
    three_link,
    two_link,
    two_link_limits,
    universal_robots,
)
from ebgan_mdn_jax.tasks.base import Task
from ebgan_mdn_jax.types import require

TASKS: dict[str, Task] = {
    "hyperbola": multivalued.HYPERBOLA,
    "lines": multivalued.LINES,
    "circle": multivalued.CIRCLE,
    "parabola": multivalued.PARABOLA,
    "inverse_sine": inverse_sine.INVERSE_SINE,
    "split_circle": multivalued.SPLIT_CIRCLE,
    "hysteresis": multivalued.HYSTERESIS,
    "disjoint_sets": multivalued.DISJOINT_SETS,
    "noise_labels": multivalued.NOISE_LABELS,
    "gaussian_grid": multivalued.GAUSSIAN_GRID,
    **discontinuous.VARIANTS,
    "coordinates": coordinates.COORDINATES,
    "geyser": geyser.GEYSER,
    "lasa": lasa.LASA,
    **pedestrians.VARIANTS,
    **two_link.VARIANTS,
    "two_link_limits": two_link_limits.TWO_LINK_LIMITS,
    "three_link": three_link.THREE_LINK,
    "multi_route": multi_route.MULTI_ROUTE,
    "multi_route_three": multi_route.MULTI_ROUTE_THREE,
    **particle.VARIANTS,
    **planar.VARIANTS,
    **pushing.VARIANTS,
    **pusht.VARIANTS,
    **reach.VARIANTS,
    **replanning.VARIANTS,
    "ur5": universal_robots.UR5,
    "ur5_sincos": universal_robots.UR5_SINCOS,
    "ur5_pose": universal_robots.UR5_POSE,
    "ur10": universal_robots.UR10,
    "ur10_pose": universal_robots.UR10_POSE,
}


def find(name: str) -> Task:
    """The task of that name; for other names, which are files', what all demonstrations of your own share."""
    return TASKS.get(name, recorded.RECORDED)


def require_known(name: str) -> None:
    """Raise `InputError`, which names the tasks that are spelt alike or else all, unless there is a task of that name."""
    close = difflib.get_close_matches(name, TASKS, n=5)
    expected = f"did you mean {', '.join(close)}?" if close else f"expected one of {', '.join(TASKS)}"
    require(name in TASKS, f"unknown task {name!r}: {expected}")
