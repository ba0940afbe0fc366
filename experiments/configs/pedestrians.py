"""Pedestrians of ETH and UCY, real recordings: where are they in the next 4.8 s? Each scene by policies trained on all others.

Command:  python -m experiments.sweep --config=pedestrians --data_dir=<folder with eth_ucy/>   (without it files are downloaded)
Seeds:    4 (0 to 3), of all windows of a scene with 20 draws each
Settings: minibatches of 256, 2,000 steps, networks of 2 x 128. Mixtures of 40 components over whole chunks, which start at demonstrations;
          "mean" draws the mean of a component. EBGAN-MDN's energy sees 16 negatives and 4 draws, once a step; "plain" does without it at
          inference. Flow and diffusion take 20 steps from noise to action, CVAE and cGAN have a latent of 8 dimensions; nearest neighbour
          draws one of the 20 nearest demonstrations. All see the one pedestrian alone. Mixtures were chosen by `pedestrians_validation`,
          other settings beforehand; only then were policies judged on a test scene, and "plain" was added after a first look at ETH.
          "constant velocity" is not trained: the last step repeated, turned by an angle of 25 degrees deviation.
Expected: Social GAN (arXiv 1803.10892; the best of 20 is that of all pedestrians of a window together), minADE and minFDE in metres:
          ETH 0.81 and 1.52, Hotel 0.72 and 1.61, Univ 0.60 and 1.26, Zara1 0.34 and 0.69, Zara2 0.42 and 0.84; mean 0.58 and 1.18.
Run time: 115 minutes of one CPU core of two, the other more than busy.
"""

from ebgan_mdn_jax.tasks import pedestrians
from ebgan_mdn_jax.types import steps_per_epoch
from experiments.configs.base import RunSpec, run_spec

_SEEDS = 4
_TRAIN = ("train.batch_size=256", "train.steps=2000")
MIXTURE = (
    *_TRAIN,
    "method.generator.num_components=40",
    "method.generator.hidden=(128,128)",
    "method.generator.start=data",
)
_METHODS: dict[str, tuple[str, ...]] = {
    "explicit_bc": ("method.hidden=(128,128)",),
    "cvae": ("method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)", "method.latent_dim=8"),
    "flow": ("method.denoiser.hidden=(128,128)",),
    "diffusion": ("method.denoiser.hidden=(128,128)", "method.num_steps=20"),
    "cgan": (
        "method.generator_hidden=(128,128)",
        "method.discriminator_hidden=(128,128)",
        "method.latent_dim=8",
        "method.discriminator_steps=2",
    ),
}


MEAN, _PLAIN = "method.sample_by=component_mean", "method.reweight=False"


def mdn(task: str, num_seeds: int, *overrides: str, variant: str = "") -> RunSpec:
    """A run of the MDN."""
    return run_spec(task, "mdn", num_seeds, *MIXTURE, "hyper.learning_rate=0.002", *overrides, variant=variant)


def ebgan_mdn(task: str, num_seeds: int) -> tuple[RunSpec, ...]:
    """One trained EBGAN-MDN and its ways to draw."""
    energy = (
        *MIXTURE,
        "hyper.generator_learning_rate=0.002",
        "method.energy_hidden=(128,128)",
        "method.num_negatives=16",
        "method.num_generated=4",
        "method.energy_steps=1",
    )
    ways = {"": (), "plain": (_PLAIN,), "plain,mean": (_PLAIN, MEAN)}
    return tuple(run_spec(task, "ebgan_mdn", num_seeds, *energy, *way, variant=name) for name, way in ways.items())


def _runs(task: str) -> tuple[RunSpec, ...]:
    steps = steps_per_epoch(pedestrians.VARIANTS[task].num_demonstrations, 1000)
    memory = (
        "train.batch_size=1000",
        f"train.steps={steps}",
        f"method.capacity={steps * 1000}",
        "method.num_neighbours=20",
        "method.sample_by=neighbour",
    )
    return (
        run_spec(task, "nearest_neighbour", _SEEDS, *memory),
        *(run_spec(task, method, _SEEDS, *_TRAIN, *settings) for method, settings in _METHODS.items()),
        mdn(task, _SEEDS),
        mdn(task, _SEEDS, MEAN, variant="mean"),
        *ebgan_mdn(task, _SEEDS),
    )


RUNS = tuple(run for task in pedestrians.VARIANTS if task != "pedestrians_validation" for run in _runs(task))
