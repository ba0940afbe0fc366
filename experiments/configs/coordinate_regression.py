"""Coordinates from images: implicit against explicit regression (Florence et al. 2021, arXiv 2109.00137, figure 4).

Command:  python -m experiments.sweep --config=coordinate_regression
Seeds:    8 (0 to 7), each with 10 or 30 images of its own
Settings: for both the encoder of encoders.ImageEncoder with 16, 32 and 32 channels and a spatial softmax, then 1 x 256; 1,000 steps of all
          10 images or of 10 out of 30, learning rates halved four times. IBC: 64 uniform negatives, 4,096 candidates, 3 iterations.
          Nearest neighbour: the position of the training image with the fewest different pixels.
Expected: no published number; in the paper's figure IBC's test error is one to two orders below that of mean squared error, which is given
          as a square. Its public stand-in, kevinzakka/ibc, found IBC slightly worse with 30 images than with 10.
Run time: about 45 minutes on one CPU core of two, the other more than busy.
"""

from experiments.configs.base import run_spec

_ENCODER = ("method.encoder.kind=spatial_softmax", "method.encoder.channels=(16,32,32)")
_SHARED = ("data.redraw=True", "train.batch_size=10", "train.steps=1000")
_LINES = {
    "explicit_bc": (*_ENCODER, "method.hidden=(256,)"),
    "ibc": (*_ENCODER, "method.energy_hidden=(256,)", "method.num_candidates=4096"),
    "nearest_neighbour": ("method.num_neighbours=1", "method.capacity=30"),
}

RUNS = tuple(
    run_spec(
        "coordinates",
        method,
        8,
        *_SHARED,
        f"data.num_demonstrations={num}",
        *settings,
        variant=f"num_demonstrations={num}",
    )
    for num in (10, 30)
    for method, settings in _LINES.items()
)
