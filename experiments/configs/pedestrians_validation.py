"""Settings of the MDN for pedestrians, judged on recordings that belong to no test scene.

Command:  python -m experiments.sweep --config=pedestrians_validation --data_dir=<folder with eth_ucy/>   (without it files are downloaded)
Seeds:    2 (0 and 1)
Settings: the MDN of `pedestrians`; half as many components; covariances with 4 factors; each with draws and with means of components.
Expected: no published number. Constant velocity: minADE 0.35 m, minFDE 0.74 m.
Run time: to be measured.
"""

from experiments.configs.pedestrians import MEAN, mdn

_HALF, _FACTORS = "method.generator.num_components=20", "method.generator.covariance=low_rank"

RUNS = tuple(
    mdn("pedestrians_validation", 2, *change, *draw, variant=",".join(filter(None, (name, how))))
    for name, change in (("", ()), ("num_components=20", (_HALF,)), ("low_rank", (_HALF, _FACTORS)))
    for how, draw in (("", ()), ("mean", (MEAN,)))
)
