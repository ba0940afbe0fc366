"""The EBGAN-MDN paper's comparison on the 49-Gaussian grid: more modes than components, reached through a latent.

Command:  python -m experiments.sweep --config=paper_grid
Seeds:    16 (0 to 15)
Settings: `base.paper_comparison`: the authors' notebook, with the logit form of alpha. One scale per component and dimension: theirs is
          called isotropic, but a slip in its layout gives each component two scales, shared by pairs of components. "isotropic" is what it
          was meant to be.
Expected: share of modes reached by 3,000 draws within 0.075. The authors' single run: MDN 63.3 %, EBGAN-MDN 75.5, EBGAN 16.3; their code,
          3 seeds: MDN 73.5 to 83.7, EBGAN-MDN 69.4 to 75.5.
Run time: about 150 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import paper_comparison, run_spec

RUNS = (
    *paper_comparison("gaussian_grid"),
    run_spec("gaussian_grid", "mdn", 16, "method.generator.covariance=isotropic", variant="isotropic", preset="paper"),
)
