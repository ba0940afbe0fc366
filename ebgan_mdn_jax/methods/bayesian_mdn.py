r"""Bayesian mixture density network: the predictive mixture of M weight samples, the union of their components.

.. math:: q(a|o) = \frac1M \sum_{m=1}^M q_{\phi_m}(a|o) \qquad
  U(\phi) = -\sum_{i=1}^n \log q_\phi(a_i|o_i) + \frac\lambda2 \|\phi\|^2

"ensemble" (Lakshminarayanan et al. 2017, arXiv 1612.01474) minimises U/n in M networks of their own initialisation. They share minibatches;
in place of an order of its own, every network weights each row anew in every step by an Exp(1) variable. It is no bootstrap: over an
epoch all rows count alike. T and d play no part.

"sgld" (Welling & Teh 2011) samples ``exp(-U/T)`` with one chain. The first ``burn_in`` of the steps descend U/n with the optimiser and
estimate the mean square v of its gradient. Then v is frozen, so that the preconditioner :math:`G = 1/(\sqrt v + d)` is constant and needs
no drift correction (Li et al. 2016, arXiv 1512.07666, who let v go on and drop that term), and

.. math:: \phi \leftarrow \phi - \varepsilon\, G\, \nabla\hat U/n + \sqrt{2 \varepsilon T G / n}\;\xi

which is the Langevin step of length :math:`\varepsilon/n`, with :math:`\hat U` the minibatch's estimate of U. Its step sizes
:math:`\varepsilon` are the learning rates of the run. The rest of the steps is cut into M equal intervals; the chain's state at the end of
each is a weight sample. n is taken as ``steps_per_epoch`` minibatches. Short chains stay near the mode they started from, and the noise
of minibatches comes on top of the Langevin noise.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.types import Array, Horizon, PRNGKey, PyTree, Spec, require, require_at_least, require_choices

_FORGETTING = 0.99  # of the mean square of the gradient


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure: the generator, M as ``num_networks``, the share of the steps that "sgld" burns in."""

    generator: generators.GeneratorConfig = generators.GeneratorConfig()
    posterior: Literal["ensemble", "sgld"] = "sgld"
    num_networks: int = 8
    burn_in: float = 0.5
    decay_every: int = 0
    sample_by: generators.Draw = "sample"
    act_by: generators.Draw = "sample"

    INFERENCE = ("sample_by", "act_by")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "num_networks")
        require(
            self.generator.independent_steps == 1 and self.generator.start == "network",
            "method.generator: several networks need independent_steps=1 and start=network",
        )
        require(0 < self.burn_in < 1, f"method.burn_in={self.burn_in}: needs a share between 0 and 1")


class Hyper(NamedTuple):
    """Traced scalars: learning rate or step size and its decay, ``lambda``, T, d, least deviation of a component in network units.

    The damping d bounds the noise of weights with next to no gradient, such as those of dead units; at 0.001 chains of 1,600 steps on
    the hyperbola overflow.
    """

    learning_rate: float = 5e-4
    learning_rate_decay: float = 0.5
    prior_precision: float = 1.0
    temperature: float = 1.0
    damping: float = 0.1
    scale_floor: float = 1e-3


class Params(NamedTuple):
    """Weights of M generators, leaves ``[M, ...]``, and the floor they were trained with.

    With "sgld" the chain is in the last place, and in every place whose interval has not ended.
    """

    generators: PyTree
    scale_floor: Array


class OptState(NamedTuple):
    """The optimiser's state and the decayed mean square of the gradient, of M networks ``[M, ...]`` or one chain."""

    optimizer: PyTree
    square: PyTree


class Info(NamedTuple):
    """Logged means over rows and the networks in training: negative log-likelihood (nats, network units), entropy of the weights."""

    nll: Array
    weight_entropy: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``log_prob`` is the density of what `sample` draws, so None with a latent or another ``sample_by``."""
    generator = generators.make(config.generator, spec)
    ensemble = config.posterior == "ensemble"
    each = jax.vmap if ensemble else lambda function: function
    num_burn_in = max(round(config.burn_in * horizon.num_steps), 1)

    def init(key):
        key_init, key_state = base_keys(key)
        weights = each(generator.init)(jax.random.split(key_init, config.num_networks) if ensemble else key_init)
        zeros = jax.tree.map(jnp.zeros_like, weights)
        opt_state = OptState(each(optimizer.init)(weights), zeros)
        if not ensemble:
            weights = jax.tree.map(lambda x: jnp.broadcast_to(x, (config.num_networks, *x.shape)), weights)
        params = Params(weights, jnp.asarray(Hyper().scale_floor, float))
        return TrainState(params, opt_state, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        key_rows, key_langevin = jax.random.split(jax.random.fold_in(state.key, state.step))
        keys = collectives.row_keys(key_rows, batch.obs.shape[0], axis_name)
        scale_floor = jnp.asarray(hyper.scale_floor, state.params.scale_floor.dtype)
        num_rows = horizon.steps_per_epoch * collectives.all_rows(batch.obs, axis_name).shape[0]
        chains = jax.tree.map(lambda x: x if ensemble else x[-1], state.params.generators)

        def of_chain(weights, index):
            keys_latent, keys_weight = jax.vmap(
                lambda key: jax.random.split(jax.random.fold_in(key, index)), out_axes=1
            )(keys)
            rows = generator.row_mixture(weights, batch.obs, keys_latent, scale_floor)
            nll = losses.mixture_nll(rows, batch.action, config.generator.family)
            row_weight = jax.vmap(lambda key: jax.random.exponential(key, (), nll.dtype))(keys_weight)
            loss = jnp.mean(row_weight * nll if ensemble else nll)
            prior = 0.5 * jnp.asarray(hyper.prior_precision, nll.dtype) * optax.tree.norm(weights, squared=True)
            return loss + prior / num_rows, (jnp.mean(nll), jnp.mean(mixtures.weight_entropy(rows)))

        def loss_fn(chains):
            loss, logs = each(of_chain)(chains, jnp.arange(config.num_networks) if ensemble else 0)
            return jnp.sum(loss), jax.tree.map(jnp.mean, logs)

        (_, logs), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(chains)
        learning_rate = hyper.learning_rate * step_decay(
            state.step, horizon, hyper.learning_rate_decay, config.decay_every
        )
        lower, optimizer_state = each(lambda *of: descend(optimizer, *of, learning_rate))(
            grads, state.opt_state.optimizer, chains
        )
        if ensemble:
            opt_state, weights = state.opt_state._replace(optimizer=optimizer_state), lower
        else:
            burning = state.step < num_burn_in
            square = jax.tree.map(
                lambda v, g: jnp.where(burning, _FORGETTING * v + (1 - _FORGETTING) * g**2, v),
                state.opt_state.square,
                grads,
            )
            # A mean from zeros is too small by this factor.
            seen = 1 - jnp.asarray(_FORGETTING) ** jnp.minimum(state.step + 1, num_burn_in)
            scale = jax.tree.map(
                lambda v: 1 / (jnp.sqrt(v / seen.astype(v.dtype)) + jnp.asarray(hyper.damping, v.dtype)), square
            )
            chain = jax.lax.cond(
                burning,
                lambda: lower,
                lambda: langevin(key_langevin, chains, grads, scale, learning_rate, num_rows, hyper.temperature),
            )
            place = _interval(state.step, num_burn_in, horizon.num_steps, config.num_networks)
            weights = jax.tree.map(lambda old, new: _from(place, old, new), state.params.generators, chain)
            opt_state = OptState(optimizer_state, square)
        state = state._replace(params=Params(weights, scale_floor), opt_state=opt_state, step=state.step + 1)
        return state, Info(*logs)

    def mixture(params, obs):
        floor = params.scale_floor
        return union(jax.vmap(lambda weights: generator.mixture(weights, obs, floor))(params.generators))

    def draw(key, params, obs, num_samples, how: generators.Draw):
        if generator.mixture:
            return generators.choose(key, mixture(params, obs), num_samples, config.generator.family, how)
        # With a latent there is no mixture of all: as many draws of every network, of which one is kept.
        key_network, key_draw = jax.random.split(key)
        draws = jax.vmap(
            lambda key, weights: generator.draw(key, weights, obs, num_samples, params.scale_floor, how), out_axes=2
        )(jax.random.split(key_draw, config.num_networks), params.generators)  # [N, B, M, Da]
        index = jax.random.randint(key_network, draws.shape[:2], 0, config.num_networks)
        return jnp.take_along_axis(draws, index[..., None, None], axis=2)[:, :, 0]

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    def log_prob(params, obs, action):
        return mixtures.log_prob(mixture(params, obs), action, config.generator.family)

    exact = generator.mixture is not None and config.sample_by == "sample"
    return Method(
        Hyper(),
        init,
        step,
        sample,
        act,
        None,
        log_prob if exact else None,
        mixture if generator.mixture else None,
        ("nll",),
    )


def langevin(
    key: PRNGKey,
    weights: PyTree,
    grads: PyTree,
    scale: PyTree,
    step_size: Array | float,
    num_rows: int,
    temperature: Array | float,
) -> PyTree:
    """The module docstring's step: ``grads`` are of U/n, ``scale`` is G, ``step_size`` epsilon, ``num_rows`` n.

    For ``U = a/2 w^2`` the chain's variance is ``T/a / (1 - h/2)`` with ``h = step_size G a / n``, which tends to that of exp(-U/T).
    """
    noise = optax.tree.random_like(key, weights, jax.random.normal)

    def move(w, g, s, xi):
        h, t = jnp.asarray(step_size, w.dtype), jnp.asarray(temperature, w.dtype)
        return w - h * s * g + jnp.sqrt(2 * h * t * s / num_rows) * xi

    return jax.tree.map(move, weights, grads, scale, noise)


def union(each: mixtures.JointMixture) -> mixtures.JointMixture:
    """One mixture of ``M K`` components over ``[B]`` from M equally likely ones with leaves ``[M, B, K, ...]``."""
    num = each.log_weights.shape[0]

    def join(leaf):
        leaf = jnp.moveaxis(leaf, 0, 1)
        return leaf.reshape(leaf.shape[0], num * leaf.shape[2], *leaf.shape[3:])

    each = mixtures.full(each) if isinstance(each, mixtures.FullMixture) else each
    joined = jax.tree.map(join, each)
    return joined._replace(log_weights=joined.log_weights - jnp.log(num))


def _interval(step: Array, num_burn_in: int, num_steps: int, num_intervals: int) -> Array:
    """Which of the equal intervals after burn-in ``step`` belongs to; the first one before, the last one after."""
    length = max(num_steps - num_burn_in, 1)
    return jnp.clip((step - num_burn_in) * num_intervals // length, 0, num_intervals - 1)


def _from(place: Array, old: Array, new: Array) -> Array:
    """``old [M, ...]`` with ``new [...]`` in ``place`` and all that follow."""
    index = jnp.arange(old.shape[0]).reshape(-1, *[1] * (old.ndim - 1))
    return jnp.where(index >= place, new[None], old)
