r"""Implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137), with a derivative-free or a Langevin search for actions.

An energy trained by InfoNCE with N negatives, drawn anew for every row and step:

.. math:: L_\theta = -\mathbb E \log\frac{e^{-E_\theta(o,a)}}{e^{-E_\theta(o,a)} + \sum_{j=1}^N e^{-E_\theta(o,x_j)}}

With uniform negatives ``exp(-E)`` estimates the conditional density in the box up to a factor. Shares of each row's negatives may be other
things: ``langevin_share`` (1 in IBC's Langevin configurations) descends the energy by `samplers.langevin` from where it was drawn,
``derivative_free_share`` is the population of a derivative-free search, ``data_share`` are other rows' actions, and ``marginal_share``
draws of a second energy, of actions alone, that is trained beside this one (Ta et al.'s marginal action sampler: `marginal`). With data or
marginal negatives ``exp(-E)`` estimates ``p(a|o) / p(a)`` instead, and what follows from it prefers actions that are rare elsewhere. A
gradient penalty (`losses.gradient_penalty`, their section B.3.1) at all negatives and the demonstrated action keeps it smooth enough to be
descended. ``loss`` may be contrastive divergence or Ta et al.'s maximum entropy instead (arXiv 2207.05824; `losses`), which are estimates
of the likelihood's gradient where the negatives are draws of ``exp(-E)``, or with uniform negatives the likelihood itself, its normaliser
estimated from them ("importance_nll"); ``temperature`` divides the energies of InfoNCE.

An action is chosen from a population: "argmin" takes its lowest energy. With ``search="derivative_free"`` (`samplers.derivative_free`)
"sample" draws by ``softmax(-E)``, all draws from one population. After t iterations a draw then has density ``exp(-(t + 1) E)``, up to the
noise of the search: sharper than the data, and of several modes the one of lower energy gains. ``num_iterations=0`` draws from
``exp(-E)`` itself, self-normalised over the candidates. With ``search="langevin"`` uniform candidates run the chain, a second time from
where they are with ``second_pass`` and step sizes of its own, and "sample" takes one of its ends.

Sizes are those that EBGAN-MDN's authors compare with (arXiv 2510.07562): 3 x 64 ReLU, N = 64, 16,384 candidates, Adam 1e-3 with
StepLR(20, 0.5). They iterate 4 times for 1-D actions and 3 times else, IBC 3 times. Where we differ from both: the final population is
scored before one is chosen from it; boxes hold for each action dimension, and all of the search (``sigma``, step sizes, the gradient of
the penalty) is in half extents of them, not in units of the action: IBC maps actions to [-1, 1] first. The chain is IBC's own by default
(25 steps from 0.1 to 1e-5, whose noise is not Langevin's: see `samplers.langevin`).
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, losses, networks
from ebgan_mdn_jax.methods import marginal as marginals
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import base, derivative_free, langevin, negatives, selection
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_at_least, require_choices

Inference = Literal["sample", "argmin"]

# Folded into the key of a step, for its chains, its derivative-free search and the draws of the marginal sampler.
_CHAINS, _SEARCH, _MARGINAL = 0x43484149, 0x53454152, 0x4D415247


@dataclasses.dataclass(frozen=True)
class LangevinConfig:
    """The chain: T as ``num_steps``, the form of its noise, how its step sizes fall, and whether its steps are corrected."""

    num_steps: int = 25
    noise: langevin.Noise = "ibc"
    schedule: Literal["polynomial", "exponential"] = "polynomial"
    metropolis: bool = False

    def __post_init__(self):
        require_choices(self, "method.langevin")
        require_at_least(1, self, "method.langevin", "num_steps")
        require(
            not (self.metropolis and self.noise == "ibc"),
            "method.langevin.metropolis=True: noise=ibc has no stationary law to correct to; set method.langevin.noise=langevin",
        )


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``energy_residual``: see `networks.MLP`. ``num_negatives`` is N; what the shares, rounded down, leave of it is uniform. Negatives by
    derivative-free search are a population of just as many, after ``search_iterations``. The chain of `LangevinConfig` is that of marginal
    draws too, but with the textbook's noise where it has IBC's, of which ``delta_clip`` then cuts a good part at the default step sizes.
    ``gradient_penalty`` is the norm of `losses.gradient_penalty`. From ``sample_by`` on it is about the search for actions, of which
    ``num_iterations`` belong to the derivative-free one and ``second_pass`` to Langevin's.
    """

    energy_hidden: tuple[int, ...] = (64, 64, 64)
    energy_init: networks.Init = "torch"
    energy_residual: networks.Residual = "none"
    num_negatives: int = 64
    langevin_share: float = 0.0
    derivative_free_share: float = 0.0
    data_share: float = 0.0
    marginal_share: float = 0.0
    langevin: LangevinConfig = LangevinConfig()
    search_iterations: int = 3
    marginal_hidden: tuple[int, ...] = (64, 64)
    marginal_loss: Literal["max_entropy", "contrastive_divergence"] = "max_entropy"
    loss: Literal["info_nce", "importance_nll", "contrastive_divergence", "max_entropy"] = "info_nce"
    gradient_penalty: Literal["none", "1", "2", "inf"] = "none"
    decay_every: int = 0
    sample_by: Inference = "sample"
    act_by: Inference = "argmin"
    num_candidates: int = 16_384
    search: Literal["derivative_free", "langevin"] = "derivative_free"
    num_iterations: int = 3
    second_pass: bool = False

    INFERENCE = ("sample_by", "act_by", "num_candidates", "search", "num_iterations", "second_pass")

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        require_at_least(1, self, "method", "num_negatives", "num_candidates", "energy_hidden", "marginal_hidden")
        require_at_least(0, self, "method", "search_iterations", "num_iterations")
        networks.require_residual(self.energy_hidden, self.energy_residual)
        names = ("langevin_share", "derivative_free_share", "data_share", "marginal_share")
        for name in names:
            share = getattr(self, name)
            require(0 <= share <= 1, f"method.{name}={share}: needs a share from 0 to 1")
            require(
                share == 0 or int(share * self.num_negatives + 1e-6) >= 1,
                f"method.{name}={share} of method.num_negatives={self.num_negatives} is none: raise one of them",
            )
        shares = [getattr(self, name) for name in names]
        require(
            sum(shares) <= 1 + 1e-6,
            f"method.{' + method.'.join(names)} = {sum(shares):g}: shares of the negatives, at most 1 together",
        )
        require(
            self.negative_counts[-1] != 1 or self.marginal_loss != "max_entropy",
            f"method.marginal_share={self.marginal_share} is one of {self.num_negatives} negatives, of which max_entropy has no variance: "
            "raise it or set method.marginal_loss=contrastive_divergence",
        )
        require(
            self.loss != "importance_nll" or sum(shares) == 0,
            f"method.loss=importance_nll needs negatives of known density: set method.{', method.'.join(names)} to 0",
        )

    @property
    def negative_counts(self) -> tuple[int, int, int, int]:
        """How many of the N negatives each share is, in the order of the fields; the rest is uniform."""
        shares = self.langevin_share, self.derivative_free_share, self.data_share, self.marginal_share
        return tuple(int(share * self.num_negatives + 1e-6) for share in shares)


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and its decay, and of the search and the penalty, with the box's half extents for units:

    ``sigma`` and ``shrink``, the derivative-free search's noise and what it is multiplied with per iteration; the chain's first and last
    step size, the power between them, its noise in training and when it searches, and the largest move of a step (no limit with a
    Metropolis correction); step sizes of the second pass; the penalty's weight and the gradient that costs nothing; the temperature of
    InfoNCE; the weight of the square of the demonstrated actions' energy, which Ta et al. add to maximum entropy.
    """

    learning_rate: float = 1e-3
    learning_rate_decay: float = 0.5
    sigma: float = 0.33
    shrink: float = 0.5
    step_size: float = 0.1
    last_step_size: float = 1e-5
    step_power: float = 2.0
    noise_scale: float = 1.0
    search_noise_scale: float = 1.0
    delta_clip: float = 0.1
    second_step_size: float = 1e-5
    second_last_step_size: float = 1e-5
    penalty_weight: float = 1.0
    penalty_margin: float = 1.0
    temperature: float = 1.0
    positive_weight: float = 0.0


class Params(NamedTuple):
    """Weights of the energy network, and the Hyper of the last step: the search depends on it."""

    energy: PyTree
    hyper: Hyper


class Info(NamedTuple):
    """Logged means over rows.

    ``negative_distance``: from the negatives to the demonstrated action, in half extents. ``acceptance`` and ``clip_share`` (see
    `samplers.base.SamplerInfo`) are of the chains of this step, also those of the marginal sampler, 1 and 0 without any;
    ``marginal_loss`` is 0 without a marginal sampler.
    """

    energy_loss: Array
    positive_energy: Array
    negative_energy: Array
    penalty: Array
    negative_distance: Array
    acceptance: Array
    clip_share: Array
    marginal_loss: Array


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; it has an energy and no density."""
    network = networks.EnergyMLP(config.energy_hidden, config.energy_init, config.energy_residual)
    units = unit_box(spec)
    num_chains, num_searched, num_data, num_marginal = config.negative_counts
    marginal_sampler = marginals.make(
        config.marginal_hidden, config.energy_init, config.marginal_loss, spec.action_dim, optimizer
    )

    def init(key):
        key_init, key_state = base_keys(key)
        weights = network.init(key_init, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        hyper = Hyper(*(jnp.asarray(value, float) for value in Hyper()))
        extra = marginal_sampler.init(jax.random.fold_in(key_init, _MARGINAL)) if num_marginal else ()
        return TrainState(Params(weights, hyper), optimizer.init(weights), extra, jnp.zeros((), jnp.int32), key_state)

    def contrast(positive, negative, temperature):
        """The loss ``[B]`` of energies ``[B]`` and ``[N, B]``."""
        if config.loss == "info_nce":
            return losses.info_nce(positive / temperature, negative / temperature)
        if config.loss == "importance_nll":
            log_volume = units.log_volume + spec.action_dim * math.log(2)
            return losses.importance_nll(positive, negative, jnp.full_like(negative, -log_volume))
        return {"contrastive_divergence": losses.contrastive_divergence, "max_entropy": losses.max_entropy}[
            config.loss
        ](positive, negative)

    def energy_in_box(weights):
        """The energy of actions in half extents of the box."""
        return lambda obs, action: network.apply(weights, obs, units.action_to_data(action))

    def make_chain(hyper, step_sizes, noise, noise_scale):
        return langevin.make(
            _schedule(config.langevin, hyper.step_power, *step_sizes),
            (-1.0,) * spec.action_dim,
            (1.0,) * spec.action_dim,
            noise,
            noise_scale,
            delta_clip=None if config.langevin.metropolis else hyper.delta_clip,
            metropolis=config.langevin.metropolis,
        )

    def run_chains(keys, weights, obs, action, hyper, step_sizes, noise_scale):
        """Run the chain from ``action [C, B, Da]``; returns actions, their energies ``[C, B]`` and the infos of all steps."""
        chain = make_chain(hyper, step_sizes, config.langevin.noise, noise_scale)
        chains, infos, _ = base.run(keys, chain, energy_in_box(weights), obs, units.action(action))
        return units.action_to_data(chains.action), chains.energy, infos

    def search_box(key, weights, row, hyper, num_candidates, num_iterations):
        """The scored population of a derivative-free search at one observation ``[Do]``."""
        bounds = spec.action_low, spec.action_high
        sizes = num_candidates, num_iterations, hyper.sigma, hyper.shrink
        return derivative_free.search(key, functools.partial(network.apply, weights), row, *bounds, *sizes)

    def draw_negatives(key, state, batch, hyper, axis_name):
        """Negatives ``[N, B, Da]``; of them the marginal sampler's, in half extents of the box; acceptance and clip share of all chains."""
        weights, sizes = state.params.energy, (hyper.step_size, hyper.last_step_size)
        num_uniform = config.num_negatives - num_searched - num_data - num_marginal
        drawn = negatives.draw(key, batch.action, spec, num_uniform, num_data, axis_name)

        def keys_for(purpose):
            return collectives.row_keys(jax.random.fold_in(key, purpose), batch.obs.shape[0], axis_name)

        infos, draws = [], None
        if num_chains:
            starts, others = drawn[:num_chains], drawn[num_chains:]
            ends, _, info = run_chains(keys_for(_CHAINS), weights, batch.obs, starts, hyper, sizes, hyper.noise_scale)
            drawn = jnp.concatenate([ends, others])
            infos.append(info)
        if num_searched:
            found = jax.vmap(
                lambda key, row: search_box(key, weights, row, hyper, num_searched, config.search_iterations).action
            )(keys_for(_SEARCH), batch.obs)
            drawn = jnp.concatenate([drawn, jnp.moveaxis(found, 0, 1)])
        if num_marginal:
            noise = "langevin" if config.langevin.noise == "ibc" else config.langevin.noise
            chain = make_chain(hyper, sizes, noise, 1.0)
            draws, info = marginal_sampler.draw(keys_for(_MARGINAL), chain, state.extra, num_marginal)
            drawn = jnp.concatenate([drawn, units.action_to_data(draws)])
            infos.append(info)
        acceptance = jnp.mean(jnp.stack([info.acceptance for info in infos])) if infos else jnp.ones(())
        clip_share = jnp.mean(jnp.stack([info.clip_share for info in infos])) if infos else jnp.zeros(())
        return drawn, draws, acceptance, clip_share

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        hyper = Hyper(*(jnp.asarray(value, batch.action.dtype) for value in hyper))
        rate = hyper.learning_rate * step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        drawn, draws, acceptance, clip_share = draw_negatives(key, state, batch, hyper, axis_name)
        extra, marginal_loss = state.extra, jnp.zeros(())
        if num_marginal:
            extra, marginal_loss = marginal_sampler.step(extra, units.action(batch.action), draws, rate, axis_name)
        actions = jnp.concatenate([batch.action[None], drawn])
        distance = jnp.linalg.norm(units.action(drawn) - units.action(batch.action)[None], axis=-1)

        def loss_fn(weights):
            if config.gradient_penalty == "none":
                energies, penalty = network.apply(weights, batch.obs, actions), jnp.zeros(())
            else:
                energies, gradient = base.energy_and_gradient(energy_in_box(weights), batch.obs, units.action(actions))
                penalty = losses.gradient_penalty(gradient, config.gradient_penalty, hyper.penalty_margin)
                penalty = hyper.penalty_weight * jnp.mean(penalty)
            loss = jnp.mean(contrast(energies[0], energies[1:], hyper.temperature))
            logs = (loss, jnp.mean(energies[0]), jnp.mean(energies[1:]), penalty)
            square = hyper.positive_weight * jnp.mean(energies[0] ** 2)
            return loss + penalty + square, (*logs, jnp.mean(distance), acceptance, clip_share)

        (_, logs), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(state.params.energy)
        weights, opt_state = descend(optimizer, grads, state.opt_state, state.params.energy, rate)
        hyper = jax.tree.map(lambda value, like: value.astype(like.dtype), hyper, state.params.hyper)
        state = TrainState(Params(weights, hyper), opt_state, extra, state.step + 1, state.key)
        return state, Info(*logs, marginal_loss)

    def energy(params, obs, action):
        return network.apply(params.energy, obs, action)

    def search(key, params, row):
        """The scored population of one observation ``[Do]``."""
        hyper = params.hyper
        if config.search == "derivative_free":
            return search_box(key, params.energy, row, hyper, config.num_candidates, config.num_iterations)
        key_start, *key_passes = jax.random.split(key, 3)
        obs = row[None]
        action = units.action_to_data(
            jax.random.uniform(key_start, (config.num_candidates, 1, spec.action_dim), row.dtype, -1.0, 1.0)
        )
        passes = ((hyper.step_size, hyper.last_step_size), (hyper.second_step_size, hyper.second_last_step_size))
        for key_pass, sizes in list(zip(key_passes, passes, strict=True))[: 1 + config.second_pass]:
            action, energies, _ = run_chains(
                key_pass[None], params.energy, obs, action, hyper, sizes, hyper.search_noise_scale
            )
        return derivative_free.Population(action[:, 0], energies[:, 0])

    def draw(key, params, obs, num_samples, how: Inference):
        def of_row(key, row):
            key_search, key_choice = jax.random.split(key)
            population = search(key_search, params, row)
            if how == "argmin":
                best = selection.lowest_energy(population.action, population.energy)
                return jnp.broadcast_to(best, (num_samples, spec.action_dim))
            if config.search == "langevin":
                return population.action[jax.random.randint(key_choice, (num_samples,), 0, config.num_candidates)]
            return population.action[derivative_free.resample(key_choice, -population.energy, num_samples)]

        keys = collectives.row_keys(key, obs.shape[0])
        return jnp.moveaxis(derivative_free.map_rows(of_row, keys, obs, config.num_candidates), 0, 1)

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    lowered = ("energy_loss", "marginal_loss") if num_marginal else ("energy_loss",)
    return Method(Hyper(), init, step, sample, act, energy, None, None, lowered)


def _schedule(config: LangevinConfig, power: Array, first: Array, last: Array) -> Array:
    """Step sizes ``[T]`` from ``first`` to ``last``."""
    if config.schedule == "polynomial":
        return langevin.polynomial_schedule(first, last, power, config.num_steps)
    decay = (last / first) ** (1 / max(config.num_steps - 1, 1))
    return langevin.exponential_schedule(first, decay, config.num_steps)
