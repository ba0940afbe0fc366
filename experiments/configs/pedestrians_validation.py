"""Settings of the MDN for pedestrians, judged on recordings that belong to no test scene.

Command:  python -m experiments.sweep --config=pedestrians_validation --data_dir=<folder with eth_ucy/>   (without it files are downloaded)
Seeds:    2 (0 and 1)
Settings: those of `pedestrians`; of the MDN also half as many components, and covariances with 4 factors; draws, and means of components.
Expected: no published number.
Run time: to be measured.
"""

from experiments.configs.pedestrians import MEAN, ebgan_mdn, mdn

_TASK, _SEEDS = "pedestrians_validation", 2
_HALF, _FACTORS = "method.generator.num_components=20", "method.generator.covariance=low_rank"

RUNS = (
    *(
        mdn(_TASK, _SEEDS, *change, *draw, variant=",".join(filter(None, (name, how))))
        for name, change in (("", ()), ("num_components=20", (_HALF,)), ("low_rank", (_HALF, _FACTORS)))
        for how, draw in (("", ()), ("mean", (MEAN,)))
    ),
    *ebgan_mdn(_TASK, _SEEDS),
)
