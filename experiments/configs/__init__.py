"""Registry of sweeps, one module per table or figure."""

from experiments.configs import (
    ablation_alpha,
    ablation_components,
    ablation_covariance,
    ablation_critic,
    ablation_demonstrations,
    ablation_energy_steps,
    ablation_energy_weight,
    ablation_entropy,
    ablation_generated,
    ablation_generator,
    ablation_inference,
    ablation_latent,
    ablation_negative_kinds,
    ablation_negatives,
    ablation_noise,
    gaussian_grid,
    geyser,
    hyperbola,
    multivalued,
    quickstart,
    separate,
    tuned,
    tuned_routes,
)
from experiments.configs.base import FigureSpec, RunSpec

CONFIGS: dict[str, tuple[RunSpec, ...]] = {
    "quickstart": quickstart.RUNS,
    "hyperbola": hyperbola.RUNS,
    "multivalued": multivalued.RUNS,
    "gaussian_grid": gaussian_grid.RUNS,
    "geyser": geyser.RUNS,
    "tuned": tuned.RUNS,
    "tuned_routes": tuned_routes.RUNS,
    "separate": separate.RUNS,
    "ablation_generator": ablation_generator.RUNS,
    "ablation_critic": ablation_critic.RUNS,
    "ablation_negatives": ablation_negatives.RUNS,
    "ablation_negative_kinds": ablation_negative_kinds.RUNS,
    "ablation_generated": ablation_generated.RUNS,
    "ablation_energy_steps": ablation_energy_steps.RUNS,
    "ablation_alpha": ablation_alpha.RUNS,
    "ablation_energy_weight": ablation_energy_weight.RUNS,
    "ablation_entropy": ablation_entropy.RUNS,
    "ablation_components": ablation_components.RUNS,
    "ablation_covariance": ablation_covariance.RUNS,
    "ablation_latent": ablation_latent.RUNS,
    "ablation_noise": ablation_noise.RUNS,
    "ablation_demonstrations": ablation_demonstrations.RUNS,
    "ablation_inference": ablation_inference.RUNS,
}

# What publishing a sweep draws, where that is anything.
FIGURES: dict[str, tuple[FigureSpec, ...]] = {
    "ablation_critic": ablation_critic.FIGURES,
    "ablation_negatives": ablation_negatives.FIGURES,
    "ablation_negative_kinds": ablation_negative_kinds.FIGURES,
    "ablation_generated": ablation_generated.FIGURES,
    "ablation_energy_steps": ablation_energy_steps.FIGURES,
    "ablation_alpha": ablation_alpha.FIGURES,
    "ablation_energy_weight": ablation_energy_weight.FIGURES,
    "ablation_entropy": ablation_entropy.FIGURES,
    "ablation_components": ablation_components.FIGURES,
    "ablation_latent": ablation_latent.FIGURES,
    "ablation_noise": ablation_noise.FIGURES,
    "ablation_demonstrations": ablation_demonstrations.FIGURES,
    "ablation_inference": ablation_inference.FIGURES,
}

# The line that a published sweep compares all others with, on each task's primary metric.
BASELINES: dict[str, str] = {"tuned": "mdn", "tuned_routes": "mdn", "separate": "ebgan_mdn"}
