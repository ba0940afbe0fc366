"""Old Faithful, real recordings: duration of an eruption given the wait before it, 5 folds.

Command:  python -m experiments.sweep --config=geyser
Seeds:    20 (0 to 19), 4 on each fold
Settings: 100 epochs of 239 rows; K = 3; the scale floor is 0.05 of the half-range, 9 s, so that durations rounded to whole minutes
          cannot be turned into likelihood by spikes
Expected: no published number. Of the recording itself, short eruptions (below 3 minutes) make up 0 % after waits below 60 minutes, 40 %
          after 70 to 80, 64 % after 80 and more.
Run time: about 1 minute on 2 CPU cores.
"""

from experiments.configs.base import run_spec

_STEPS = "train.steps=800"
_FLOOR = "hyper.scale_floor=0.05"

RUNS = (
    run_spec("geyser", "explicit_bc", 20, _STEPS, preset="small"),
    run_spec("geyser", "mdn", 20, _STEPS, _FLOOR, preset="small"),
    run_spec("geyser", "ebgan_mdn", 20, _STEPS, _FLOOR, preset="small"),
    run_spec("geyser", "ebgan_mdn", 20, _STEPS, _FLOOR, "method.sample_by=rerank", variant="rerank", preset="small"),
    run_spec(
        "geyser", "ebgan_mdn", 20, _STEPS, _FLOOR, "method.sample_by=resample", variant="resample", preset="small"
    ),
)
