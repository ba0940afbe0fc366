"""The EBGAN-MDN paper's hyperbola (arXiv 2510.07562, ablation of the generator's place in the energy loss) with intervals.

Command:  python -m experiments.sweep --config=hyperbola
Seeds:    16 (0 to 15); 100 equally spaced inputs
Settings: the authors' code: K = 2, N = 32, R = 5, batch 32, 100 epochs of 500 rows, Adam 1e-3 / 5e-4, StepLR(20, 0.5)
Expected: the paper reports TMC 99.4 % (EBGAN-MDN) and 0 (explicit BC), single numbers. Its code, run with 3 seeds at S = 10, tau = 0.05:
          MDN 96 to 98 %, EBGAN-MDN with alpha = 1 94 to 99 %.
Run time: about 4 minutes on 2 CPU cores.

Variants: "dynamic" and "logit" let alpha fall to 0.1 over training, as a weight of the exponential (ours) or of the logit (the
authors' code); "rerank" and "resample" use the trained energy (alpha = 1) to choose actions.
"""

from experiments.configs.base import run_spec

_MIXTURE = "method.generator.num_components=2"
_CONSTANT = "method.alpha_schedule=constant"

RUNS = (
    run_spec("hyperbola", "explicit_bc", 16, preset="small"),
    run_spec("hyperbola", "mdn", 16, _MIXTURE, preset="small"),
    run_spec("hyperbola", "ebgan_mdn", 16, _MIXTURE, _CONSTANT, preset="small"),
    run_spec("hyperbola", "ebgan_mdn", 16, _MIXTURE, variant="dynamic", preset="small"),
    run_spec("hyperbola", "ebgan_mdn", 16, _MIXTURE, "method.alpha_form=logit", variant="logit", preset="small"),
    run_spec(
        "hyperbola", "ebgan_mdn", 16, _MIXTURE, _CONSTANT, "method.sample_by=rerank", variant="rerank", preset="small"
    ),
    run_spec(
        "hyperbola",
        "ebgan_mdn",
        16,
        _MIXTURE,
        _CONSTANT,
        "method.sample_by=resample",
        variant="resample",
        preset="small",
    ),
)
