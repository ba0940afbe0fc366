"""Ablation of the default: an action of the energy's choice among draws of one component, on all nine tasks.

Command:  python -m experiments.sweep --config=ablation_within --first_seed=32
Seeds:    8 (32 to 39, which no default table has), each with demonstrations of its own (`data.redraw`)
Settings: defaults. Each line but the MDN's is the same trained EBGAN-MDN, its components reweighted by the energy. Of 2 or 4 draws of one
          component "rerank" takes the one of lowest energy, of 4 or 16 "resample" takes one by its importance weight exp(-E) r / q. "mean"
          takes a component's mean. The table compares primary metrics with those of the MDN, seed by seed.
Expected: no published number. Where demonstrations have no noise (arms) or noise costs success (routes), less of it helps, and the MDN's
          means have that, too; on functions W1 asks for the right amount of noise, which reranking takes away and resampling should keep.
Run time: to be measured.
"""

from experiments.configs.base import RunSpec, run_spec

_TASKS = (
    *("hyperbola", "lines", "circle", "parabola", "inverse_sine"),
    *("gaussian_grid", "two_link", "ur5", "multi_route"),
)
_MEAN = "method.sample_by=component_mean"


def _lines(task: str) -> tuple[RunSpec, ...]:
    def line(method: str, *overrides: str, variant: str = "") -> RunSpec:
        return run_spec(task, method, 8, "data.redraw=True", *overrides, variant=variant)

    def within(way: str, num_candidates: int) -> RunSpec:
        how = f"method.sample_by={way}", f"method.act_by={way}"
        candidates = "method.candidates=component", f"method.num_candidates={num_candidates}"
        return line("ebgan_mdn", *how, *candidates, variant=f"{way},num_candidates={num_candidates}")

    return (
        line("mdn"),
        line("mdn", _MEAN, variant="mean"),
        line("ebgan_mdn"),
        line("ebgan_mdn", _MEAN, variant="mean"),
        *(within("rerank", candidates) for candidates in (2, 4)),
        *(within("resample", candidates) for candidates in (4, 16)),
    )


RUNS = tuple(run for task in _TASKS for run in _lines(task))
