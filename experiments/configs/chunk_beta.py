"""A CVAE's latent against beta: how much it says of the mode, how much theory allows, what draws make of it (Mazza et al. 2026, E1).

Command:  python -m experiments.sweep --config=chunk_beta
Seeds:    4 (0 to 3)
Settings: chunks of 60 positions on two loops ("circle", latent of 2) and eight spokes ("radial_8", latent of 4). Networks of 2 x 128, 2,000
          steps with batches of 128. The loss is the mean absolute error over a chunk's elements, as in action chunking with transformers
          (Zhao et al. 2023), or the mean squared error, plus beta times the KL summed over the latent's dimensions; theirs is 10. Draws
          decode z from the prior. All betas are members of one program.
Expected: no published number. Theory: information at most C / beta, with C the gain of a latent; so above beta_crit(0.1) no minimiser
          decodes modes with an error under 10 %. Small betas cost the match of codes and prior, so draws leave the support.
Run time: 21 minutes on two busy CPU cores.
"""

from experiments.configs.base import RunSpec, SweepFigure, run_spec

_BETAS = "0,0.0001,0.001,0.003,0.01,0.03,0.06,0.1,0.2,0.4,0.8,2,10"


def sweep(task: str, latent_dim: int, loss: str, betas: str, *overrides: str, variant: str) -> RunSpec:
    """All ``betas`` of a loss on a task."""
    return run_spec(
        task,
        "cvae",
        4,
        "train.steps=2000",
        "train.batch_size=128",
        "method.encoder_hidden=(128,128)",
        "method.decoder_hidden=(128,128)",
        f"method.latent_dim={latent_dim}",
        f"method.reconstruction={loss}",
        "hyper.learning_rate=0.002",
        f"hyper.beta={betas}",
        *overrides,
        variant=variant,
    )


RUNS = tuple(
    sweep(task, latent_dim, loss, _BETAS, variant=loss)
    for task, latent_dim in (("planar_circle", 2), ("radial_8", 4))
    for loss in ("l1", "squared")
)

FIGURES = (
    SweepFigure("codes", "beta", ("rate", "information", "decoding_error"), log=True, theory=True),
    SweepFigure("draws", "beta", ("share_coverage@tau=0.5", "on_support", "bridge", "reconstructed"), log=True),
)
