"""Registry of methods: each is a module with ``Config``, ``Hyper`` and ``make(config, spec, horizon) -> Method``."""

from types import ModuleType

from ebgan_mdn_jax.methods import cgan, cvae, ebgan, ebgan_mdn, explicit_bc, mdn

METHODS: dict[str, ModuleType] = {
    "explicit_bc": explicit_bc,
    "mdn": mdn,
    "cvae": cvae,
    "cgan": cgan,
    "ebgan": ebgan,
    "ebgan_mdn": ebgan_mdn,
}
