"""What every method is: a NamedTuple of pure functions, and the few lines that all of them share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.types import Array, Horizon, Latents, PRNGKey, PyTree, require


class TrainState(NamedTuple):
    """What is carried from step to step and checkpointed; what is only logged goes into a method's ``Info``."""

    params: PyTree  # all that inference needs
    opt_state: PyTree
    extra: PyTree  # what only training needs, () for most methods
    step: Array  # generator (policy) steps taken
    key: PRNGKey  # fixed base key; each step folds its own index into it


class Transport(NamedTuple):
    """A policy as a map of noise: an action is ``apply`` at a draw of ``N(0, I)`` in ``noise_dim`` (Dz) dimensions; nothing else is drawn.

    What `theory.transport` says of smooth maps holds for it.
    """

    noise_dim: int
    apply: Callable  # (params, obs [B, Do], noise [N, B, Dz]) -> [N, B, Da], whose rows do not interact

    def draw(self, key: PRNGKey, params: PyTree, obs: Array, num_samples: int) -> Array:
        """Actions ``[N, B, Da]`` of as many draws of noise for each row of ``obs [B, Do]``."""
        noise = jax.random.normal(key, (num_samples, obs.shape[0], self.noise_dim), obs.dtype)
        return self.apply(params, obs, noise)


class Method(NamedTuple):
    """A method of imitation learning, made by ``make(config, spec, horizon)`` of its module.

    ``step`` works on ``hyper`` as traced values, so a grid of them is a ``vmap`` and changing one recompiles nothing. With ``axis_name``
    it takes this device's rows of the batch and keeps all devices in step.
    """

    hyper: NamedTuple  # default values
    init: Callable[[PRNGKey], TrainState]
    step: Callable  # (state, batch, hyper, axis_name=None) -> (TrainState, Info)
    sample: Callable  # (key, params, obs [B, Do], num_samples) -> [N, B, Da], drawn as Config.sample_by says
    act: Callable  # (key, params, obs [B, Do]) -> [B, Da], chosen as Config.act_by says: what a deployed policy does
    energy: Callable | None  # (params, obs [B, Do], action [..., B, Da]) -> [..., B]
    log_prob: Callable | None  # (params, obs [B, Do], action [..., B, Da]) -> [..., B]; exact densities only
    mixture: Callable | None  # (params, obs [B, Do]) -> JointMixture, where the policy is one
    losses: tuple[
        str, ...
    ]  # fields of Info that training lowers, the policy's first; a member is frozen when one is not finite
    latents: Latents | None = None  # where the policy has an encoder
    num_evaluations: int = 1  # of a network, one after another, per action; all candidates at once count once
    transport: Transport | None = None  # what ``sample`` draws through, where that is a map of noise alone


def base_keys(key: PRNGKey) -> tuple[PRNGKey, PRNGKey]:
    """Split a member's key into one for initial parameters and the base key of its `TrainState`."""
    key_init, key_state = jax.random.split(key)
    return key_init, key_state


def descend(
    optimizer: optax.GradientTransformation,
    grads: PyTree,
    opt_state: PyTree,
    params: PyTree,
    learning_rate: Array | float,
) -> tuple[PyTree, PyTree]:
    """One update ``params - learning_rate * direction`` with a traced learning rate; returns ``(params, opt_state)``."""
    direction, opt_state = optimizer.update(grads, opt_state, params)
    params = jax.tree.map(lambda p, d: p - jnp.asarray(learning_rate, p.dtype) * d, params, direction)
    return params, opt_state


def moving_average(average: PyTree, weights: PyTree, decay: Array | float, step: Array) -> PyTree:
    """``decay`` of the average so far and the rest of ``weights``, which are all of it at ``decay = 0``.

    At step k the decay is at most ``(1 + k) / (10 + k)``, so that the first weights are soon forgotten.
    """
    kept = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda a, w: kept.astype(w.dtype) * a + (1 - kept).astype(w.dtype) * w, average, weights)


def step_decay(step: Array, horizon: Horizon, factor: Array | float, every: int) -> Array:
    """``factor ** (epoch // every)``, PyTorch's StepLR; ``every=0`` stands for a fifth of the run's epochs."""
    return jnp.asarray(factor) ** (horizon.epoch(step) // (every or -(-horizon.num_epochs // 5)))


def require_decay(every: int) -> None:
    """Raise `InputError` unless `step_decay` can be taken of it."""
    require(every >= 0, f"method.decay_every={every}: needs a number of epochs, or 0 for a fifth of the run")


def in_data_units(method: Method, normalization: Normalization) -> Method:
    """The same method with observations, actions and densities in data units; its networks see normalized ones."""
    n = normalization

    def step(state, batch, hyper, axis_name=None):
        return method.step(state, n.batch(batch), hyper, axis_name)

    def sample(key, params, obs, num_samples):
        return n.action_to_data(method.sample(key, params, n.obs(obs), num_samples))

    def act(key, params, obs):
        return n.action_to_data(method.act(key, params, n.obs(obs)))

    def energy(params, obs, action):
        return method.energy(params, n.obs(obs), n.action(action))

    def log_prob(params, obs, action):
        return method.log_prob(params, n.obs(obs), n.action(action)) - n.log_volume

    def mixture(params, obs):
        inner = method.mixture(params, n.obs(obs))
        scale = jnp.asarray(n.action_scale, inner.means.dtype)

        def widen(spread):  # [..., Da] or a matrix [..., Da, any]
            each = scale if spread.ndim == inner.means.ndim else scale[:, None]
            return spread * jnp.broadcast_to(each, spread.shape)

        return type(inner)(inner.log_weights, n.action_to_data(inner.means), *map(widen, inner[2:]))

    def in_units(latents):
        return Latents(
            lambda params, obs, action: latents.encode(params, n.obs(obs), n.action(action)),
            lambda params, latent, obs: n.action_to_data(latents.decode(params, latent, n.obs(obs))),
            lambda params, obs, action: latents.rate(params, n.obs(obs), n.action(action)),
        )

    def transport(params, obs, noise):
        return n.action_to_data(method.transport.apply(params, n.obs(obs), noise))

    return method._replace(
        step=step,
        sample=sample,
        act=act,
        energy=energy if method.energy else None,
        log_prob=log_prob if method.log_prob else None,
        mixture=mixture if method.mixture else None,
        latents=in_units(method.latents) if method.latents else None,
        transport=method.transport._replace(apply=transport) if method.transport else None,
    )
