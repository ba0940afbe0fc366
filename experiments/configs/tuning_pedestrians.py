"""Settings of the MDN for pedestrians, judged on recordings that belong to no test scene.

Command:  python -m experiments.sweep --config=tuning_pedestrians --data_dir=<folder with eth_ucy/> (without it the files are downloaded)
Seeds:    2 (0 and 1)
Settings: `pedestrians.MIXTURE` and one change each: draws that are means of components, 40 components with such draws, and covariances with
          4 factors.
Expected: no published number. Constant velocity: minADE 0.35 m, minFDE 0.74 m.
Run time: to be measured.
"""

from experiments.configs.pedestrians import mdn

_TASK, _SEEDS = "pedestrians_validation", 2
_MEAN = "method.sample_by=component_mean"

RUNS = (
    mdn(_TASK, _SEEDS),
    mdn(_TASK, _SEEDS, _MEAN, variant="mean"),
    mdn(_TASK, _SEEDS, _MEAN, "method.generator.num_components=40", variant="num_components=40,mean"),
    mdn(_TASK, _SEEDS, "method.generator.covariance=low_rank", variant="low_rank"),
    mdn(_TASK, _SEEDS, "method.generator.covariance=low_rank", _MEAN, variant="low_rank,mean"),
)
