"""Encoders of images, as Flax Linen modules: what comes before the networks of `networks` where observations are pixels."""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, Spec, require, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """What an image goes through first: see `ImageEncoder`, whose ``pooling`` is ``kind``; "none" takes observations as they are."""

    kind: Literal["none", "average", "spatial_softmax"] = "none"
    channels: tuple[int, ...] = (32, 64, 128, 256)
    coordinates: bool = False

    def __post_init__(self):
        require_choices(self, "encoder")
        require_at_least(1, self, "encoder", "channels")
        require(self.channels != (), "encoder.channels=(): needs at least one layer, such as (16,32,32)")


class Convolution(nn.Module):
    """3 x 3 convolution of ``[B, H, W, C]`` to ``[B, H, W, features]``, with a border of zeros.

    As one product with the 9 shifted images: in the body of a loop, where training runs, XLA's own convolution on a CPU takes some ten
    times as long as outside of it (jax-ml/jax issue 12868).
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Apply the layer."""
        height, width, channels = x.shape[1:]
        dtype = jax.dtypes.canonicalize_dtype(float)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, channels, self.features), dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), dtype)
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = jnp.concatenate(shifted, axis=-1) @ kernel.reshape(9 * channels, self.features)
        return x + jnp.broadcast_to(bias, x.shape)


class ImageEncoder(nn.Module):
    """Features of images given as rows of pixels, ``[..., H W C]`` to ``[..., E]``.

    Each of ``channels`` is a 3 x 3 convolution, ReLU and a 2 x 2 maximum (IBC's conv-maxpool encoder). Of the last maps "average" takes
    the mean over pixels (E = channels), "spatial_softmax" the mean position under a softmax over pixels (Finn et al. 2016; E = twice the
    channels, in [-1, 1], with a learned temperature). With ``coordinates`` a pixel's own position is two channels more at the entry
    (CoordConv, Liu et al. 2018). Kernels are "lecun" (`networks.initializers`).
    """

    shape: tuple[int, int, int]
    pooling: Literal["average", "spatial_softmax"]
    channels: tuple[int, ...]
    coordinates: bool = False

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        """Encode."""
        lead, dtype = obs.shape[:-1], jax.dtypes.canonicalize_dtype(float)
        x = obs.reshape(-1, *self.shape)
        if self.coordinates:
            x = jnp.concatenate([x, jnp.broadcast_to(_positions(*self.shape[:2], dtype), (*x.shape[:-1], 2))], axis=-1)
        for features in self.channels:
            x = Convolution(features)(x)
            x = nn.relu(_halve(x))
        if self.pooling == "average":
            return jnp.mean(x, axis=(1, 2)).reshape(*lead, -1)
        log_temperature = self.param("log_temperature", nn.initializers.zeros, (), dtype)
        weight = jax.nn.softmax(x.reshape(x.shape[0], -1, x.shape[-1]) * jnp.exp(-log_temperature), axis=1)
        positions = _positions(*x.shape[1:3], dtype).reshape(-1, 2)
        return jnp.einsum("bpc,pd->bcd", weight, positions).reshape(*lead, -1)


def _halve(x: Array) -> Array:
    """The maximum of each 2 x 2 pixels of ``[B, H, W, C]``; an odd last row or column is left out."""
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2].reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.max(x, axis=(2, 4))


def _positions(height: int, width: int, dtype) -> Array:
    """Row and column ``[height, width, 2]`` of every pixel, from -1 to 1; 0 where there is but one."""

    def ticks(num):
        return jnp.linspace(-1.0, 1.0, num, dtype=dtype) if num > 1 else jnp.zeros(1, dtype)

    return jnp.stack(jnp.meshgrid(ticks(height), ticks(width), indexing="ij"), axis=-1)


def make(config: EncoderConfig, spec: Spec) -> ImageEncoder | None:
    """The encoder of a task's observations, or None.

    Raises:
      InputError: if they are no images, or smaller than the encoder halves them.
    """
    if config.kind == "none":
        return None
    require(
        len(spec.obs_shape) == 3 and math.prod(spec.obs_shape) == spec.obs_dim,
        f"encoder.kind={config.kind}: observations of this task are no images; set it to none",
    )
    halvings = len(config.channels)
    require(
        min(spec.obs_shape[:2]) >= 2**halvings,
        f"encoder.channels={config.channels} halve an image of {spec.obs_shape[0]} x {spec.obs_shape[1]} pixels {halvings} times; "
        "take fewer",
    )
    return ImageEncoder(spec.obs_shape, config.kind, config.channels, config.coordinates)
