"""Networks that see a noisy action and a time: what flow matching and diffusion train, as Flax Linen modules."""

import dataclasses
import functools
from typing import Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from ebgan_mdn_jax.networks import MLP, Dense, Init
from ebgan_mdn_jax.types import Array, Spec, require, require_at_least, require_choices

_HIGHEST = 100.0  # angular frequency of time's features: a wave has 6 % of the way from noise to data


@dataclasses.dataclass(frozen=True)
class DenoiserConfig:
    """What predicts from a noisy action, its time and the observation.

    "mlp" has ``hidden`` layers and ``init`` (`networks.initializers`). "transformer" reads a chunk as ``num_tokens`` tokens, usually its
    steps, and has ``num_layers`` blocks of ``width``, with ``num_heads`` heads. Both see time as sines and cosines at
    ``num_frequencies``.
    """

    kind: Literal["mlp", "transformer"] = "mlp"
    num_frequencies: int = 8
    hidden: tuple[int, ...] = (256, 256, 256)
    init: Init = "torch"
    num_tokens: int = 60
    width: int = 64
    num_layers: int = 2
    num_heads: int = 4

    def __post_init__(self):
        require_choices(self, "denoiser")
        require_at_least(
            1, self, "denoiser", "num_frequencies", "hidden", "num_tokens", "width", "num_layers", "num_heads"
        )
        require(
            self.width % self.num_heads == 0,
            f"denoiser.width={self.width} does not divide into denoiser.num_heads={self.num_heads}: take a multiple",
        )


def time_features(time: Array, num_frequencies: int) -> Array:
    """Sines, then cosines ``[..., 2 F]`` of ``time [...]`` at F angular frequencies from 1 to 100, evenly spaced in their logarithm."""
    phase = time[..., None] * jnp.broadcast_to(
        jnp.geomspace(1.0, _HIGHEST, num_frequencies, dtype=time.dtype), (*time.shape, num_frequencies)
    )
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


class DenoisingMLP(nn.Module):
    """``[..., B, Da]`` of ``action [..., B, Da]`` and ``time [..., B]`` given ``obs [B, Do]``, by an `MLP` of all three.

    Past it goes the action times a learned function of time, one for each dimension: noise of a chunk has more dimensions than a layer
    may be wide.
    """

    hidden: tuple[int, ...]
    num_frequencies: int
    init_name: Init = "torch"

    @nn.compact
    def __call__(self, obs: Array, action: Array, time: Array) -> Array:
        """Predict."""
        chex.assert_equal_shape_prefix([action, time], time.ndim)
        features = time_features(time, self.num_frequencies)
        # Laid out features-major before they are joined, as in `networks.EnergyMLP`.
        parts = [jnp.moveaxis(part, -1, 0) for part in (_of_each(obs, action), features, action)]
        inputs = jnp.concatenate(parts).reshape(-1, time.size)
        gain = Dense(action.shape[-1], self.init_name)(jnp.moveaxis(features, -1, 0).reshape(-1, time.size))
        predicted = MLP(self.hidden, action.shape[-1], self.init_name)(inputs.T)
        return predicted.reshape(action.shape) + gain.T.reshape(action.shape) * action


class DenoisingTransformer(nn.Module):
    """The same, by a pre-norm transformer (Vaswani et al. 2017) without causal mask over the tokens of a chunk.

    Observation and time are embedded by one hidden layer and added to every token, beside a learned embedding of its position.
    """

    num_tokens: int
    width: int
    num_layers: int
    num_heads: int
    num_frequencies: int

    @nn.compact
    def __call__(self, obs: Array, action: Array, time: Array) -> Array:
        """Predict."""
        chex.assert_equal_shape_prefix([action, time], time.ndim)
        dtype = jax.dtypes.canonicalize_dtype(float)
        dense = functools.partial(nn.Dense, param_dtype=dtype)
        norm = functools.partial(nn.LayerNorm, param_dtype=dtype)
        context = jnp.concatenate([_of_each(obs, action), time_features(time, self.num_frequencies)], axis=-1)
        context = dense(self.width)(nn.gelu(dense(self.width)(context.reshape(time.size, -1))))
        position = self.param("position", nn.initializers.normal(0.02), (self.num_tokens, self.width), dtype)
        x = dense(self.width)(action.reshape(time.size, self.num_tokens, -1))
        x = x + position[None] + context[:, None]
        for _ in range(self.num_layers):
            y = norm()(x)
            x = x + nn.MultiHeadDotProductAttention(self.num_heads, param_dtype=dtype)(y, y)
            x = x + dense(self.width)(nn.gelu(dense(4 * self.width)(norm()(x))))
        return dense(action.shape[-1] // self.num_tokens)(norm()(x)).reshape(action.shape)


def _of_each(obs: Array, action: Array) -> Array:
    return jnp.broadcast_to(obs, (*action.shape[:-1], obs.shape[-1]))


def make(config: DenoiserConfig, spec: Spec) -> DenoisingMLP | DenoisingTransformer:
    """The network for a task; its call is ``(obs [B, Do], action [..., B, Da], time [..., B]) -> [..., B, Da]``.

    Raises:
      InputError: if a transformer's tokens do not divide the action.
    """
    if config.kind == "mlp":
        return DenoisingMLP(config.hidden, config.num_frequencies, config.init)
    require(
        spec.action_dim % config.num_tokens == 0,
        f"denoiser.num_tokens={config.num_tokens} does not divide the {spec.action_dim} dimensions of an action: take the steps of a chunk",
    )
    return DenoisingTransformer(
        config.num_tokens, config.width, config.num_layers, config.num_heads, config.num_frequencies
    )
