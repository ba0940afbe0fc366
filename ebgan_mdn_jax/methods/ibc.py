r"""Implicit behavioural cloning (Florence et al. 2021, arXiv 2109.00137), with a derivative-free or a Langevin search for actions.

An energy trained by InfoNCE with N negatives, drawn anew for every row and step:

.. math:: L_\theta = -\mathbb E \log\frac{e^{-E_\theta(o,a)}}{e^{-E_\theta(o,a)} + \sum_{j=1}^N e^{-E_\theta(o,x_j)}}

With uniform negatives ``exp(-E)`` estimates the conditional density in the box up to a factor. Shares of each row's negatives may be other
things: ``langevin_share`` (1 in IBC's Langevin configurations) descends the energy by `samplers.langevin` from where it was drawn,
``derivative_free_share`` is the population of a derivative-free search, ``data_share`` are other rows' actions, and ``marginal_share``
draws of a second energy, of actions alone, that is trained beside this one (Ta et al.'s marginal action sampler: `marginal`). With data or
marginal negatives ``exp(-E)`` estimates ``p(a|o) / p(a)`` instead, and what follows from it prefers actions that are rare elsewhere. With a
``replay_buffer`` the negatives are pairs of observation and action, and ``exp(-E)`` a joint density up to a factor (`joint`). A gradient
penalty (`losses.gradient_penalty`, their section B.3.1) at all negatives and the demonstrated action keeps it smooth enough to be
descended. ``loss`` may be contrastive divergence or Ta et al.'s maximum entropy instead (arXiv 2207.05824; `losses`), which are estimates
of the likelihood's gradient where the negatives are draws of ``exp(-E)``, or with uniform negatives the likelihood itself, its normaliser
estimated from them ("importance_nll"); ``temperature`` divides the energies of InfoNCE.

With ``autoregressive`` there is an energy for each coordinate of the action, of the coordinates up to it; each is contrasted with those
coordinates of the same negatives, the losses add up, and both derivative-free searches are those of `samplers.autoregressive`. The energy
of an action is the last one.

An action is chosen from a population: "argmin" takes its lowest energy. With ``search="derivative_free"`` (`samplers.derivative_free`)
"sample" draws by ``softmax(-E)``, all draws from one population. After t iterations a draw then has density ``exp(-(t + 1) E)``, up to the
noise of the search (of autoregressive ones in the last coordinate, the others more so): sharper than the data, and of several modes the one
of lower energy gains. ``num_iterations=0`` draws from ``exp(-E)`` itself, self-normalised over the candidates. With ``search="langevin"``
uniform candidates run the chain, a second time from where they are with ``second_pass`` and step sizes of its own, and "sample" takes one
of its ends.

Sizes are those that EBGAN-MDN's authors compare with (arXiv 2510.07562): 3 x 64 ReLU, N = 64, 16,384 candidates, Adam 1e-3 with
StepLR(20, 0.5). They iterate 4 times for 1-D actions and 3 times else, IBC 3 times. Where we differ from both: the final population is
scored before one is chosen from it; boxes hold for each action dimension, and all of the search (``sigma``, step sizes, the gradient of
the penalty) is in half extents of them, not in units of the action: IBC maps actions to [-1, 1] first. The chain is IBC's own by default
(25 steps from 0.1 to 1e-5, whose noise is not Langevin's: see `samplers.langevin`).
"""

import dataclasses
import math
import operator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, encoders, losses, networks
from ebgan_mdn_jax.methods import counter_examples, implicit
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.methods.implicit import Inference, LangevinConfig
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import base
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_at_least, require_choices

_DROPOUT = 0x44524F50  # folded into the key of a step, for the units that are dropped


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``energy_residual``, ``energy_spectral`` and ``energy_dropout``, which is of the loss alone: see `networks.MLP`; ``encoder``, of images:
    `encoders.EncoderConfig`, to which ``energy_init`` does not apply. ``autoregressive``: an energy of that size for every coordinate of
    the action (see the module). ``num_negatives`` is N; what the shares, rounded down, leave of it is uniform. Negatives by derivative-free
    search are a population of just as many, after ``search_iterations``. With a ``replay_buffer`` of so many pairs the energy is trained
    as a joint one (`joint`), usually by contrastive divergence, on chains with the noise of `LangevinConfig`, of which IBC's gives no
    draws of ``exp(-E)``. Marginal draws have the textbook's in its place, of which ``delta_clip`` then cuts a good part at the default step
    sizes. ``gradient_penalty`` is the norm of `losses.gradient_penalty`, at the negatives and the demonstrated action; with
    ``penalty_points="chains"`` also wherever the negatives' chains were before, their starts included, which are T times as many second
    derivatives (an option of IBC's code has the chains' states alone).
    From ``sample_by`` on it is about the search for actions, of which ``num_iterations`` belong to the derivative-free one and
    ``second_pass`` to Langevin's.
    """

    energy_hidden: tuple[int, ...] = (64, 64, 64)
    energy_init: networks.Init = "torch"
    energy_residual: networks.Residual = "none"
    energy_spectral: bool = False
    energy_dropout: float = 0.0
    autoregressive: bool = False
    encoder: encoders.EncoderConfig = encoders.EncoderConfig()
    num_negatives: int = 64
    langevin_share: float = 0.0
    derivative_free_share: float = 0.0
    data_share: float = 0.0
    marginal_share: float = 0.0
    langevin: LangevinConfig = LangevinConfig()
    search_iterations: int = 3
    replay_buffer: int = 0
    marginal_hidden: tuple[int, ...] = (64, 64)
    marginal_loss: Literal["max_entropy", "contrastive_divergence"] = "max_entropy"
    loss: Literal["info_nce", "importance_nll", "contrastive_divergence", "max_entropy"] = "info_nce"
    gradient_penalty: Literal["none", "1", "2", "inf"] = "none"
    penalty_points: Literal["negatives", "chains"] = "negatives"
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
        require_at_least(0, self, "method", "search_iterations", "num_iterations", "replay_buffer")
        networks.require_residual(self.energy_hidden, self.energy_residual)
        networks.require_dropout("method.energy_dropout", self.energy_dropout)
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
            self.replay_buffer == 0 or sum(shares) == 0,
            f"method.replay_buffer={self.replay_buffer}: then all negatives are pairs of it; set method.{', method.'.join(names)} to 0",
        )
        for name in ("one_chain", "backpropagate"):
            require(
                self.langevin_share > 0 or not getattr(self.langevin, name),
                f"method.langevin.{name}=True: there are no chains in training; set method.langevin_share",
            )
        require(
            not self.langevin.one_chain or self.langevin.num_steps >= self.negative_counts[0],
            f"method.langevin.one_chain=True: {self.langevin.num_steps} steps have too few states for {self.negative_counts[0]} negatives; "
            "raise method.langevin.num_steps",
        )
        require(
            self.penalty_points == "negatives" or (self.langevin_share > 0 and self.gradient_penalty != "none"),
            "method.penalty_points=chains: needs a penalty and chains in training; set method.gradient_penalty and method.langevin_share",
        )
        needed = {"langevin_share": 0, "replay_buffer": 0, "loss": "info_nce", "gradient_penalty": "none"}
        needed |= {"search": "derivative_free", "encoder.kind": "none"}
        for name, value in needed.items() if self.autoregressive else ():
            require(
                operator.attrgetter(name)(self) == value,
                f"method.autoregressive=True: one energy per coordinate needs method.{name}={value}",
            )
        require(
            self.loss != "importance_nll" or (sum(shares) == 0 and self.replay_buffer == 0),
            "method.loss=importance_nll needs negatives of known density: set "
            f"method.{', method.'.join(names)} and method.replay_buffer to 0",
        )

    @property
    def negative_counts(self) -> tuple[int, int, int, int]:
        """How many of the N negatives each share is, in the order of the fields; the rest is uniform."""
        shares = self.langevin_share, self.derivative_free_share, self.data_share, self.marginal_share
        return tuple(int(share * self.num_negatives + 1e-6) for share in shares)

    def num_evaluations(self, action_dim: int) -> int:
        """How often the search evaluates all its candidates."""
        if self.search == "langevin":
            return 1 + (1 + self.second_pass) * self.langevin.num_steps
        return 1 + self.num_iterations * (action_dim if self.autoregressive else 1)


class Hyper(NamedTuple):
    """Traced scalars: Adam's learning rate and its decay, and of the search and the penalty, with the box's half extents for units:

    ``sigma`` and ``shrink``, the derivative-free search's noise and what it is multiplied with per iteration; the chain's first and last
    step size, the power between them, its noise in training and when it searches, and the largest move of a step (no limit with a
    Metropolis correction); step sizes of the second pass; the penalty's weight and the gradient that costs nothing; the temperature of
    InfoNCE; the weight of the square of the demonstrated actions' energy, which Ta et al. add to maximum entropy; the chance of a pair in
    the replay buffer to start anew.
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
    restart_probability: float = 0.05


class Params(NamedTuple):
    """Weights of the energy network, and the Hyper of the last step: the search depends on it."""

    energy: PyTree
    hyper: Hyper


class Info(NamedTuple):
    """Logged means over rows.

    ``negative_distance``: from the negatives to the demonstrated action, in half extents. ``acceptance`` and ``clip_share`` (see
    `samplers.base.SamplerInfo`) are of the chains of this step, also those of the marginal sampler, 1 and 0 without any;
    ``marginal_loss`` is 0 without a marginal sampler. With an energy for each coordinate the loss is their sum, energies are their mean.
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
    encoder = encoders.make(config.encoder, spec)
    network = networks.EnergyMLP(
        config.energy_hidden, config.energy_init, config.energy_residual, config.energy_spectral,
        config.energy_dropout, encoder,
    )  # fmt: skip
    network = networks.PrefixEnergies(network, spec.action_dim) if config.autoregressive else network
    units = unit_box(spec)
    search = implicit.make(config, spec, network)
    contrasts = counter_examples.make(config, spec, optimizer, search)

    def init(key):
        key_init, key_state = base_keys(key)
        weights = network.init(key_init, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        hyper = Hyper(*(jnp.asarray(value, float) for value in Hyper()))
        opt_state, step = optimizer.init(networks.split(weights)[0]), jnp.zeros((), jnp.int32)
        return TrainState(Params(weights, hyper), opt_state, contrasts.init(key_init), step, key_state)

    def contrast(positive, negative, temperature):
        """The loss ``[B]`` of energies ``[B]`` and ``[N, B]``; one per coordinate of the action in front where there are several."""
        if positive.ndim == 2:
            return jnp.sum(jax.vmap(contrast, (0, 0, None))(positive, negative, temperature), axis=0)
        if config.loss == "info_nce":
            return losses.info_nce(positive / temperature, negative / temperature)
        if config.loss == "importance_nll":
            log_volume = units.log_volume + spec.action_dim * math.log(2)
            return losses.importance_nll(positive, negative, jnp.full_like(negative, -log_volume))
        return {"contrastive_divergence": losses.contrastive_divergence, "max_entropy": losses.max_entropy}[
            config.loss
        ](positive, negative)

    def step(state, batch, hyper, axis_name=None):
        key = jax.random.fold_in(state.key, state.step)
        hyper = Hyper(*(jnp.asarray(value, batch.action.dtype) for value in hyper))
        rate = hyper.learning_rate * step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        drawn = contrasts.draw(key, state, batch, hyper, rate, axis_name)
        trained, carried = networks.split(state.params.energy)
        dropout_keys = None
        if config.energy_dropout:
            dropout_keys = collectives.row_keys(jax.random.fold_in(key, _DROPOUT), batch.obs.shape[0], axis_name)

        def loss_fn(trained):
            weights = trained | carried
            against = drawn
            if config.langevin.backpropagate:
                here = state._replace(params=state.params._replace(energy=weights))
                against = contrasts.draw(key, here, batch, hyper, rate, axis_name)
            actions = jnp.concatenate([batch.action[None], against.action])
            obs = batch.obs if against.obs.ndim == 2 else jnp.concatenate([batch.obs[None], against.obs])
            if config.gradient_penalty == "none":
                energies, penalty = network.apply(weights, obs, actions, dropout_keys=dropout_keys), jnp.zeros(())
            else:
                code = search.encode(weights, obs)
                in_box = search.in_box(weights, dropout_keys)
                points = jnp.concatenate([units.action(actions), against.passed])
                energies, gradient = base.energy_and_gradient(in_box, code, points)
                energies = energies[: actions.shape[0]]
                penalty = losses.gradient_penalty(gradient, config.gradient_penalty, hyper.penalty_margin)
                penalty = hyper.penalty_weight * jnp.mean(penalty)
            positive, negative = energies[..., 0, :], energies[..., 1:, :]
            loss = jnp.mean(contrast(positive, negative, hyper.temperature))
            logs = (loss, jnp.mean(positive), jnp.mean(negative), penalty)
            square = hyper.positive_weight * jnp.mean(positive**2)
            distance = jnp.linalg.norm(units.action(against.action) - units.action(batch.action)[None], axis=-1)
            return loss + penalty + square, (*logs, jnp.mean(distance), against.acceptance, against.clip_share)

        (_, logs), grads = collectives.synced_value_and_grad(loss_fn, axis_name)(trained)
        if carried:
            _, carried = network.apply(trained | carried, batch.obs[:1], batch.action[:1], mutable=list(carried))
        trained, opt_state = descend(optimizer, grads, state.opt_state, trained, rate)
        hyper = jax.tree.map(lambda value, like: value.astype(like.dtype), hyper, state.params.hyper)
        state = TrainState(Params(trained | carried, hyper), opt_state, drawn.extra, state.step + 1, state.key)
        return state, Info(*logs, drawn.marginal_loss)

    def sample(key, params, obs, num_samples):
        return search.draw(key, params.energy, params.hyper, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return search.draw(key, params.energy, params.hyper, obs, 1, config.act_by)[0]

    def energy(params, obs, action):
        return search.energy(params.energy, search.encode(params.energy, obs), action)

    lowered = ("energy_loss", "marginal_loss") if config.marginal_share else ("energy_loss",)
    return Method(
        *(Hyper(), init, step, sample, act, energy, None, None, lowered),
        num_evaluations=config.num_evaluations(spec.action_dim),
    )
