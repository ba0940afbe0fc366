"""What methods with an adversary share: a generator without a density, its weight in the energy's loss, many updates of the adversary.

The generator is one network, ``G(z, obs)`` with a latent ``z ~ N(0, I)`` of ``latent_dim`` dimensions. All its randomness is in z:
with ``latent_dim=0`` it has one action per observation, and with any latent it can be sampled but not evaluated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, networks
from ebgan_mdn_jax.methods.base import descend
from ebgan_mdn_jax.types import Array, Horizon, PRNGKey, PyTree, Spec


class Generator(NamedTuple):
    """Pure functions of one generator; ``params`` are network weights."""

    init: Callable  # (key) -> params
    apply: Callable  # (params, obs [B, Do], latent [..., B, latent_dim]) -> [..., B, Da]
    row_sample: Callable  # (params, obs [B, Do], row keys [B]) -> [B, Da]


def make_generator(hidden: tuple[int, ...], latent_dim: int, init_name: networks.Init, spec: Spec) -> Generator:
    """Build the generator for a task."""
    network = networks.MLP(hidden, spec.action_dim, init_name)

    def init(key):
        return network.init(key, jnp.zeros((1, latent_dim + spec.obs_dim)))

    def apply(params, obs, latent):
        obs = jnp.broadcast_to(obs, (*latent.shape[:-1], spec.obs_dim))
        return network.apply(params, jnp.concatenate([latent, obs], axis=-1))

    def row_sample(params, obs, keys):
        latent = jax.vmap(lambda key: jax.random.normal(key, (latent_dim,), obs.dtype))(keys)
        return apply(params, obs, latent)

    return Generator(init, apply, row_sample)


def draw_pair(
    key: PRNGKey, generator: Generator, params: PyTree, obs: Array, axis_name: str | None = None
) -> tuple[Array, Array]:
    """Two independent draws ``[B, Da]`` per local row: one to train the generator on, and another for `losses.energy_score`."""
    keys = (collectives.row_keys(key, obs.shape[0], axis_name) for key in jax.random.split(key))
    first, second = (generator.row_sample(params, obs, rows) for rows in keys)
    return first, second


def alpha_at(epoch: Array, horizon: Horizon, config: Any, hyper: Any) -> Array:
    """Weight of the generator's draw in ``epoch``: ``max(alpha (1 - epoch / epochs), alpha_floor)``, or constant alpha.

    ``config.alpha_schedule`` says which, and ``hyper`` has ``alpha`` and ``alpha_floor``. An alpha that begins below the floor stays there.
    """
    if config.alpha_schedule == "constant":
        return jnp.asarray(hyper.alpha)
    floor = jnp.minimum(hyper.alpha, hyper.alpha_floor)
    return jnp.maximum(hyper.alpha * (1.0 - epoch / horizon.num_epochs), floor)


def descend_repeatedly(
    loss_fn: Callable,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
    keys: PRNGKey,
    learning_rate: Array | float,
    axis_name: str | None = None,
) -> tuple[tuple[PyTree, PyTree], PyTree]:
    """One update of ``params`` for each of ``keys [R]``.

    Args:
      loss_fn: ``(params, key) -> (loss, aux)``, means over rows.
      optimizer: gives the direction of an update.
      params: what is trained.
      opt_state: state of ``optimizer``.
      keys: noise of the updates.
      learning_rate: of all R updates.
      axis_name: axis that the batch is split over, or None.

    Returns:
      ``(params, opt_state), (loss, aux)``, the latter averaged over the R updates.
    """

    def update(carry, key):
        params, opt_state = carry
        logs, grads = collectives.synced_value_and_grad(loss_fn, axis_name)(params, key)
        return descend(optimizer, grads, opt_state, params, learning_rate), logs

    carry, logs = jax.lax.scan(update, (params, opt_state), keys)
    return carry, jax.tree.map(jnp.mean, logs)
