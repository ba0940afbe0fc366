"""Ablation: the weight of the energy in the generator's loss, by one draw or by a draw of every component.

Command:  python -m experiments.sweep --config=ablation_energy_weight
Seeds:    16 on hyperbola, 6 on two_link
Settings: `base.ablation`; weights 0 to 10 are members of one program. With 0 the generator is an MDN.
Expected: no published number; the paper has 1. Where the gradients of energy and likelihood point apart (a negative cosine), a larger
          weight should cost quality.
Run time: about 45 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import ScatterFigure, SweepFigure, ablation

RUNS = tuple(
    ablation(
        task, "ebgan_mdn", f"method.energy_term={term}", f"hyper.energy_weight={weights}", variant=f"energy_term={term}"
    )
    for task in ("hyperbola", "two_link")
    for term, weights in (("sampled", "0,0.1,0.3,1,3,10"), ("all_components", "0.1,1,10"))
)

FIGURES = (
    SweepFigure("weight", "energy_weight", ("kl", "tmc", "success@0.1", "training/weight_entropy"), log=True),
    ScatterFigure("cosine_kl", "training/gradient_cosine", "kl", tasks=("hyperbola",)),
    ScatterFigure("cosine_success", "training/gradient_cosine", "success@0.1", tasks=("two_link",)),
)
