"""Ablation: choosing actions by the trained energy. One training per task, judged in many ways.

Command:  python -m experiments.sweep --config=ablation_inference
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation`; the lowest energy of 4 to 256 candidates ("rerank"), of one component's ("candidates=component") or followed by 5
          gradient steps ("refine_steps=5"), the densest candidate ("densest"), and one by its importance weight ("resample").
Expected: no published number; the paper throws the energy away. Reranking the whole mixture's draws gives precise actions of one mode, of a
          component's draws it keeps the modes.
Run time: about 30 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import SweepFigure, ablation, swept

_WAYS = {
    "rerank": ("method.sample_by=rerank",),
    "rerank,component": ("method.sample_by=rerank", "method.candidates=component"),
    "rerank,refine_steps=5": ("method.sample_by=rerank", "method.refine_steps=5"),
    "densest": ("method.sample_by=densest",),
    "resample": ("method.sample_by=resample",),
}

RUNS = tuple(
    run
    for task in ("hyperbola", "two_link")
    for run in (
        ablation(task, "ebgan_mdn"),
        *(
            run
            for way, overrides in _WAYS.items()
            for run in swept(task, "ebgan_mdn", "method.num_candidates", (4, 16, 64, 256), *overrides, variant=way)
        ),
    )
)

FIGURES = (
    SweepFigure("hyperbola", "num_candidates", ("tmc", "precision", "w1"), log=True, tasks=("hyperbola",)),
    SweepFigure("two_link", "num_candidates", ("success@0.1", "both_elbows"), log=True, tasks=("two_link",)),
)
