"""One configuration of EBGAN-MDN on all tasks, beside an MDN with the same generator: gain of the generator, gain of the inference.

Command:  python -m experiments.sweep --config=tuned
Seeds:    16 (0 to 15), the same for all lines, so that each is compared with `mdn` seed by seed
Settings: `experiments/presets.py`, "tuned": K = 64, 5,000 steps, the same on every task. "plain" is the same trained EBGAN-MDN without its
          energy at inference: the gain of the generator alone. On the arm, "mean" takes means of components drawn by weight, the MDN's
          low-noise sampling; "rerank" and "densest" choose among 32 candidates of one component, "resample" among 32 of the mixture.
          Primary metrics, chosen before any run: w1; on the grid coverage; on the arm success@0.1.
Expected: no published number for these settings. The authors' code on the arm, 3 seeds: MDN 45.9 to 68.3 % and EBGAN-MDN 47.6 to 71.5 %
          success at 0.1, 76.5 to 86.7 and 84.5 to 92.0 % at 0.3.
Run time: about 25 minutes on 2 CPU cores, by two processes of this command.
"""

from experiments.configs.base import RunSpec, run_spec

_PLAIN, _MEAN = "method.reweight=False", "method.sample_by=component_mean"
_WITHIN = (_PLAIN, "method.candidates=component")


def _mdn(task: str, *overrides: str, variant: str = "") -> RunSpec:
    return run_spec(task, "mdn", 16, *overrides, variant=variant, preset="tuned")


def _ebgan_mdn(task: str, *overrides: str, variant: str = "") -> RunSpec:
    return run_spec(task, "ebgan_mdn", 16, *overrides, variant=variant, preset="tuned")


RUNS = (
    _mdn("two_link"),
    _mdn("two_link", _MEAN, variant="mean"),
    _ebgan_mdn("two_link", _PLAIN, variant="plain"),
    _ebgan_mdn("two_link"),
    _ebgan_mdn("two_link", _MEAN, variant="mean"),
    _ebgan_mdn("two_link", _PLAIN, "method.sample_by=resample", variant="resample"),
    _ebgan_mdn("two_link", *_WITHIN, "method.sample_by=rerank", variant="rerank"),
    _ebgan_mdn("two_link", *_WITHIN, "method.sample_by=densest", variant="densest"),
    *(
        run
        for task in ("inverse_sine", "hyperbola", "circle", "lines", "parabola", "gaussian_grid")
        for run in (_mdn(task), _ebgan_mdn(task, _PLAIN, variant="plain"), _ebgan_mdn(task))
    ),
)
