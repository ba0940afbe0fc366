"""Bounds and exact laws that experiments are plotted against: what keeps several modes apart, and what it costs.

`information` is for policies with a latent (the weight of a KL term decides whether it says anything), `transport` for those that map
Gaussian noise to actions smoothly (probability mass has to cross from mode to mode), `lipschitz` measures how steep such a map is. The two
mechanisms are those of Mazza et al. 2026, "Understanding Multimodal Failure in Action-Chunking Behavioral Cloning" (arXiv 2605.22493);
statements and proofs here are our own, and a docstring says where else they are from. NumPy in float64, but for `lipschitz`, in JAX.
"""

from ebgan_mdn_jax.theory.information import (
    TwoModeLaw,
    beta_crit,
    collapse_betas,
    fano_floor,
    mode_entropy,
    prior_mass_interval,
    rate_cap,
    two_mode_law,
    two_mode_rate_distortion,
)
from ebgan_mdn_jax.theory.lipschitz import certified_lipschitz, langevin_lipschitz, local_lipschitz, secant_lipschitz
from ebgan_mdn_jax.theory.transport import (
    bridge_mass_bound,
    isoperimetric_sum,
    least_lipschitz,
    line_bridge_mass,
    modes_along_path,
    second_group_bound,
    sector_bridge_mass,
)

__all__ = [
    "TwoModeLaw",
    "beta_crit",
    "bridge_mass_bound",
    "certified_lipschitz",
    "collapse_betas",
    "fano_floor",
    "isoperimetric_sum",
    "langevin_lipschitz",
    "least_lipschitz",
    "line_bridge_mass",
    "local_lipschitz",
    "mode_entropy",
    "modes_along_path",
    "prior_mass_interval",
    "rate_cap",
    "secant_lipschitz",
    "second_group_bound",
    "sector_bridge_mass",
    "two_mode_law",
    "two_mode_rate_distortion",
]
