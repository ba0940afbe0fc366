"""Ablation: the shape of a component, Laplace ones included.

Command:  python -m experiments.sweep --config=ablation_covariance
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation`; in one dimension "isotropic", "diagonal" and "full" are the same. "fixed" has the deviation of the hyperbola's
          noise, 0.02.
Expected: of Laplace noise the paper says "strong across all metrics", without numbers.
Run time: about 25 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import ablation

_SHAPES = {
    "covariance=isotropic": ("hyperbola", "two_link"),
    "covariance=shared": ("hyperbola", "two_link"),
    "covariance=diagonal": ("two_link",),
    "covariance=full": ("two_link",),
    "family=laplace": ("hyperbola", "two_link"),
}
_FIXED = ("method.generator.covariance=fixed", "method.generator.fixed_scale=0.02")

RUNS = tuple(
    run
    for task in ("hyperbola", "two_link")
    for method in ("mdn", "ebgan_mdn")
    for run in (
        *(
            ablation(task, method, f"method.generator.{shape}", variant=shape)
            for shape, tasks in _SHAPES.items()
            if task in tasks
        ),
        *([ablation(task, method, *_FIXED, variant="covariance=fixed")] if task == "hyperbola" else []),
    )
)
