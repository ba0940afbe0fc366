"""A context that tells the mode less and less: must a policy that can be multimodal lose where it need not be? (Mazza et al. 2026, E5.)

Command:  python -m experiments.sweep --config=fading_context
Seeds:    4 (0 to 3)
Settings: two ways round a circle in chunks of 16 positions; the context names the right one, but with a probability of 0, 10, 25 or 50 %
          the other. Networks of 2 x 128 and 2,000 steps; mixtures of 4 components, 32 negatives, 5 discriminator steps,
          20 and 100 evaluations of flow and diffusion; neighbours hardly blurred. "longer": 8,000 steps, with a fifth of the
          generator's rate in the cGAN, halved four times. IBC searches without derivatives, or, "langevin", with the chains of
          `ibc_particle`, which give it its negatives, too; with "second_pass" they search on for ten steps from 0.03 to 0.0001. The
          last three lines were chosen without ambiguity by seeds 100 and 101 and the measure of tubes: the CVAE's at once, the cGAN's of
          five settings, IBC's of four (8,000 steps, the gradient penalty, one coordinate after another). The neighbours' blur was made
          a twentieth after a published table in which they strayed.
Expected: no published number. Without ambiguity none should lose to regression; with it, regression leaves both ways.
Run time: 28 minutes of one CPU core, beside other work.
"""

from experiments.configs.base import TaskFigure, run_spec
from experiments.configs.ibc_particle import CHAINS

_MIXTURE = ("method.generator.num_components=4", "method.generator.hidden=(128,128)")
_CVAE = ("method.encoder_hidden=(128,128)", "method.decoder_hidden=(128,128)")
_CGAN = ("method.generator_hidden=(128,128)", "method.discriminator_hidden=(128,128)", "method.discriminator_steps=5")
_LANGEVIN = ("method.energy_hidden=(128,128)", "method.num_negatives=8", "method.langevin_share=1", *CHAINS)
_LONGER = "train.steps=8000"
_METHODS = {
    "explicit_bc": ("method.hidden=(128,128)",),
    "nearest_neighbour": ("hyper.bandwidth=0.001",),
    "mdn": _MIXTURE,
    "ebgan_mdn": (*_MIXTURE, "method.num_negatives=32", "method.energy_hidden=(128,128)"),
    "cvae": _CVAE,
    "cgan": _CGAN,
    "flow": ("method.denoiser.hidden=(128,128)",),
    "diffusion": ("method.denoiser.hidden=(128,128)",),
    "ibc": ("method.energy_hidden=(128,128)", "method.num_negatives=32"),
    "ibc langevin": _LANGEVIN,
    "cvae longer": (*_CVAE, _LONGER),
    "cgan longer": (*_CGAN, _LONGER, "hyper.generator_learning_rate=0.0002", "hyper.learning_rate_decay=0.5"),
    "ibc langevin,second_pass": (
        *_LANGEVIN,
        "method.second_pass=True",
        "hyper.second_step_size=0.03",
        "hyper.second_last_step_size=0.0001",
    ),
}

RUNS = tuple(
    run_spec(
        f"planar_fading_{percent}",
        method.partition(" ")[0],
        4,
        *(() if method == "nearest_neighbour" else ("train.steps=2000",)),
        *settings,
        variant=method.partition(" ")[2],
    )
    for percent in (0, 10, 25, 50)
    for method, settings in _METHODS.items()
)

FIGURES = (TaskFigure("fading", "context that is wrong, %", ("on_support", "share_error", "success")),)
