"""Affine maps between data units and the units that networks see."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from ebgan_mdn_jax.types import Array, Batch, Spec


class Normalization(NamedTuple):
    """``normalized = (value - shift) / scale`` per dimension, for observations and actions."""

    obs_shift: tuple[float, ...]
    obs_scale: tuple[float, ...]
    action_shift: tuple[float, ...]
    action_scale: tuple[float, ...]

    def obs(self, obs: Array) -> Array:
        """Observations ``[..., Do]`` in network units."""
        return _to_unit(obs, self.obs_shift, self.obs_scale)

    def action(self, action: Array) -> Array:
        """Actions ``[..., Da]`` in network units."""
        return _to_unit(action, self.action_shift, self.action_scale)

    def batch(self, batch: Batch) -> Batch:
        """A batch in network units."""
        return Batch(self.obs(batch.obs), self.action(batch.action))

    def obs_to_data(self, obs: Array) -> Array:
        """Observations ``[..., Do]`` back in data units."""
        return _to_data(obs, self.obs_shift, self.obs_scale)

    def action_to_data(self, action: Array) -> Array:
        """Actions ``[..., Da]`` back in data units."""
        return _to_data(action, self.action_shift, self.action_scale)

    def spec(self, spec: Spec) -> Spec:
        """The same boxes in network units."""

        def bound(values, shift, scale):
            return tuple((v - m) / s for v, m, s in zip(values, shift, scale, strict=True))

        return Spec(
            bound(spec.obs_low, self.obs_shift, self.obs_scale),
            bound(spec.obs_high, self.obs_shift, self.obs_scale),
            bound(spec.action_low, self.action_shift, self.action_scale),
            bound(spec.action_high, self.action_shift, self.action_scale),
            spec.obs_shape,
        )

    @property
    def log_volume(self) -> float:
        """``log p_data = log p_normalized - log_volume``."""
        return sum(math.log(s) for s in self.action_scale)


def identity(spec: Spec) -> Normalization:
    """Leave data as they are."""
    return Normalization(
        (0.0,) * spec.obs_dim, (1.0,) * spec.obs_dim, (0.0,) * spec.action_dim, (1.0,) * spec.action_dim
    )


def unit_box(spec: Spec) -> Normalization:
    """Map the boxes of ``spec`` to ``[-1, 1]``; a dimension without extent is only shifted."""

    def fit(low, high):
        shift = tuple((above + below) / 2 for below, above in zip(low, high, strict=True))
        scale = tuple((above - below) / 2 if above > below else 1.0 for below, above in zip(low, high, strict=True))
        return shift, scale

    return Normalization(*fit(spec.obs_low, spec.obs_high), *fit(spec.action_low, spec.action_high))


def _row(values: tuple[float, ...], like: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(values, like.dtype), like.shape)


def _to_unit(value: Array, shift: tuple[float, ...], scale: tuple[float, ...]) -> Array:
    return (value - _row(shift, value)) / _row(scale, value)


def _to_data(value: Array, shift: tuple[float, ...], scale: tuple[float, ...]) -> Array:
    return value * _row(scale, value) + _row(shift, value)
