"""Registry of methods: each is a module with ``Config``, ``Hyper`` and ``make(config, spec, horizon) -> Method``."""

from types import ModuleType

from ebgan_mdn_jax.methods import (
    bayesian_mdn,
    cgan,
    cvae,
    diffusion,
    ebgan,
    ebgan_mdn,
    energy_score,
    explicit_bc,
    flow,
    ibc,
    mdn,
    nearest_neighbour,
    vq,
)

METHODS: dict[str, ModuleType] = {
    "explicit_bc": explicit_bc,
    "nearest_neighbour": nearest_neighbour,
    "mdn": mdn,
    "bayesian_mdn": bayesian_mdn,
    "ibc": ibc,
    "cvae": cvae,
    "vq": vq,
    "flow": flow,
    "diffusion": diffusion,
    "energy_score": energy_score,
    "cgan": cgan,
    "ebgan": ebgan,
    "ebgan_mdn": ebgan_mdn,
}
