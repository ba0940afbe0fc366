"""Methods with small networks, whose programs compile and run quickly."""

import dataclasses
from typing import Any

from ebgan_mdn_jax.denoisers import DenoiserConfig
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.methods.generator import GeneratorConfig


def small(name: str, **changes: Any):
    """The Config of a method with a small generator, and with ``changes``."""
    config = METHODS[name].Config()
    if hasattr(config, "generator"):
        config = dataclasses.replace(config, generator=GeneratorConfig(3, "isotropic", hidden=(64, 64)))
    if hasattr(config, "denoiser"):
        config = dataclasses.replace(config, denoiser=DenoiserConfig(hidden=(32, 32)), num_steps=5)
    if hasattr(config, "alpha_schedule"):  # so that every hyperparameter has an effect
        config = dataclasses.replace(config, alpha_schedule="linear")
    return dataclasses.replace(config, **changes)
