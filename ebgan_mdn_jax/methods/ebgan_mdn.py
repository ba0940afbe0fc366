r"""EBGAN-MDN: an energy model and a mixture-density generator trained against each other (Li et al. 2025, arXiv 2510.07562).

With ``x_j`` the N negatives, ``x_g`` M draws of the generator (the paper: one) and ``alpha_t`` their weight, one training step on a
minibatch makes R energy updates, each with fresh negatives and draws, and then one generator update (`make_losses` has the terms, `make`
the step):

.. math::
  L_\theta &= -\mathbb E \log
    \frac{e^{-E_\theta(o,a)}}{e^{-E_\theta(o,a)} + \sum_j e^{-E_\theta(o,x_j)} + \alpha_t \sum_g e^{-E_\theta(o,x_g)}} \\
  L_\phi &= w\,\mathbb E \big[E_\theta(o, x_g) + h \log q_\phi(x_g|o)\big] - \mathbb E \log q_\phi(a|o)

Gradients stop at ``x_g`` in the first loss and at theta in the second. Draws are reparameterised within a component, so with
``energy_term="sampled"`` the mixture weights are trained by the likelihood alone; ``"all_components"`` uses
``sum_k pi_k E(o, mu_k + sigma_k eps_k)`` instead, which trains them too.

The defaults are one configuration for all tasks. The paper has R = 5 or 2, ``w = 1``, as many components as modes, and no ``reweight``.
Where else we differ from it and its code:
  * alpha multiplies the exponential ("weight"); the code multiplies the logit, which makes the energies drift (`losses.info_nce`).
    Their schedule, "linear", is ``max(1 - epoch / epochs, 0.1)``; by default alpha stays 1.
  * the paper has ``h = 0``: its energy term pulls draws to the lowest energy and narrows the mixture. With ``h = 1`` it is the reverse
    divergence ``KL(q || exp(-E) / Z)``. Only with ``correct_proposal`` is that least at the data's density p; else ``exp(-E)`` is p / r,
    with the generator in r, and the term widens the mixture. With a latent, q is the mixture of one z. ``warm_up`` is the share of
    training for which ``w = 0``.
  * the paper throws the energy away after training; `energy_guided` says how ``sample_by``, ``act_by`` and ``reweight`` use it.
  * ``correct_proposal`` takes the proposal out of the logits in training, so that ``exp(-E)`` estimates the density itself (ranking NCE,
    Singh et al. 2023). ``critic="importance_nll"`` then trains the energy by its likelihood, with the normaliser estimated from
    negatives and draws.
  * negatives may be other rows' actions ("data"), or half of each ("mixed"); ``negatives_box`` widens or narrows the box of uniform ones.
  * ``critic="binary"`` trains the energy as the logit of a discriminator between data and draws, without negatives: a GAN's.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ebgan_mdn_jax import collectives, encoders, losses, networks
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import energy_guided
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.methods.adversary import alpha_at, descend_repeatedly
from ebgan_mdn_jax.methods.base import Method, TrainState, base_keys, descend, require_decay, step_decay
from ebgan_mdn_jax.samplers import negatives, selection
from ebgan_mdn_jax.types import Array, Horizon, PyTree, Spec, require, require_at_least, require_choices


@dataclasses.dataclass(frozen=True)
class Config:
    """Program structure.

    ``num_negatives`` is N, ``num_generated`` is M, ``energy_steps`` is R; ``negatives_box`` is a factor on the action box. From
    ``sample_by`` on it is about inference (`energy_guided`); ``refine_step_size`` is in squared network units per nat. Of images
    the energy has an encoder of the generator's shape, but its own weights.
    """

    generator: generators.GeneratorConfig = generators.GeneratorConfig()
    energy_hidden: tuple[int, ...] = (64, 64)
    energy_init: networks.Init = "torch"
    critic: Literal["info_nce", "importance_nll", "binary"] = "info_nce"
    num_negatives: int = 32
    num_generated: int = 1
    negatives: Literal["uniform", "data", "mixed"] = "uniform"
    negatives_box: float = 1.0
    energy_steps: int = 2
    alpha_schedule: Literal["linear", "constant"] = "constant"
    alpha_form: losses.AlphaForm = "weight"
    energy_term: Literal["sampled", "all_components"] = "sampled"
    correct_proposal: bool = False
    decay_every: int = 0
    sample_by: energy_guided.Inference = "sample"
    act_by: energy_guided.Inference = "sample"
    num_candidates: int = 32
    candidates: generators.Candidates = "mixture"
    rerank_temperature: float = 0.0
    reweight: bool = True
    reweight_clip: float = -1.0
    refine_steps: int = 0
    refine_step_size: float = 1e-3

    INFERENCE = (
        "sample_by",
        "act_by",
        "num_candidates",
        "candidates",
        "rerank_temperature",
        "reweight",
        "reweight_clip",
        "refine_steps",
        "refine_step_size",
    )

    def __post_init__(self):
        require_choices(self, "method")
        require_decay(self.decay_every)
        counts = ("num_negatives", "num_generated", "energy_steps", "num_candidates", "energy_hidden")
        require_at_least(1, self, "method", *counts)
        require_at_least(0, self, "method", "refine_steps")
        require(self.negatives_box > 0, f"method.negatives_box={self.negatives_box}: needs a positive factor")
        require(
            self.rerank_temperature >= 0,
            f"method.rerank_temperature={self.rerank_temperature}: needs a temperature, or 0 for the lowest energy",
        )
        require(self.refine_step_size > 0, f"method.refine_step_size={self.refine_step_size}: needs a positive size")
        require(
            self.refine_steps == 0 or {"rerank", "densest"} & {self.sample_by, self.act_by},
            f"method.refine_steps={self.refine_steps} follow on rerank or densest: set method.sample_by or method.act_by to one of them",
        )
        require(
            self.critic != "importance_nll" or self.correct_proposal,
            "method.critic=importance_nll divides by the proposal's density: set method.correct_proposal=True",
        )
        require(
            self.critic != "binary" or self.negatives == "uniform",
            f"method.negatives={self.negatives}: the binary critic sees no negatives; leave it out",
        )
        proposal_known = (
            self.critic != "binary"
            and self.negatives == "uniform"
            and self.alpha_form == "weight"
            and self.generator.latent_dim == 0
        )
        require(
            self.candidates == "mixture" or self.generator.latent_dim == 0,
            "method.candidates=component needs one mixture per observation: use method.generator.latent_dim=0",
        )
        for name, used in (
            ("reweight=True", self.reweight),
            ("energy_term=all_components", self.energy_term == "all_components"),
        ):
            require(
                not used or self.generator.independent_steps == 1,
                f"method.{name} needs components of whole actions: use method.generator.independent_steps=1, or another value",
            )
        leave = "critic=info_nce and method." if self.critic == "importance_nll" else ""
        for name, used, instead in (
            ("correct_proposal=True", self.correct_proposal, f"{leave}correct_proposal=False"),
            ("reweight=True", self.reweight, "reweight=False"),
            (f"sample_by={self.sample_by}", self.sample_by in ("resample", "densest"), "sample_by=rerank"),
            (f"act_by={self.act_by}", self.act_by in ("resample", "densest"), "act_by=rerank"),
        ):
            require(
                proposal_known or not used,
                f"method.{name} needs the proposal's density: use a critic other than binary, method.negatives=uniform, "
                f"method.alpha_form=weight, method.generator.latent_dim=0, or set method.{instead}",
            )


class Hyper(NamedTuple):
    """Traced scalars: learning rates and their decay, ``w``, ``h``, warm-up, alpha's first value and floor, least standard deviation."""

    energy_learning_rate: float = 1e-3
    generator_learning_rate: float = 1e-3
    learning_rate_decay: float = 0.5
    energy_weight: float = 0.03
    entropy_weight: float = 0.0
    warm_up: float = 0.0
    alpha: float = 1.0
    alpha_floor: float = 0.1
    scale_floor: float = 1e-3


class Params(NamedTuple):
    """Weights of both networks, and the scalars of the last step that inference depends on."""

    generator: PyTree
    energy: PyTree
    scale_floor: Array
    alpha: Array


class OptState(NamedTuple):
    """One optimiser state per network."""

    generator: PyTree
    energy: PyTree


class Info(NamedTuple):
    """Logged means over rows; of the energy updates, means over the R of them.

    ``nll`` is in nats and network units, ``generator_energy`` is ``E + h log q`` of draws.
    ``gradient_cosine`` and ``gradient_norm_ratio`` (weighted energy over likelihood) compare the generator's two gradients.
    """

    energy_loss: Array
    positive_energy: Array
    negative_energy: Array
    generator_energy: Array
    nll: Array
    alpha: Array
    gradient_cosine: Array
    gradient_norm_ratio: Array
    weight_entropy: Array


class Losses(NamedTuple):
    """The terms that are minimised; each returns ``(scalar, aux)`` and takes the parameters it trains first."""

    energy: Callable  # (energy, generator, batch, key, alpha, scale_floor, axis_name) -> mean loss
    generator_energy: (
        Callable  # (generator, energy, batch, key, scale_floor, entropy_weight, axis_name) -> E + h log q of draws
    )
    likelihood: Callable  # (generator, batch, key, scale_floor, axis_name) -> mixture NLL


def _scaled_box(spec: Spec, factor: float) -> Spec:
    """The spec with its action box scaled about the centre."""
    pairs = [
        ((low + high) / 2, factor * (high - low) / 2)
        for low, high in zip(spec.action_low, spec.action_high, strict=True)
    ]
    return spec._replace(
        action_low=tuple(centre - half for centre, half in pairs),
        action_high=tuple(centre + half for centre, half in pairs),
    )


def make_losses(config: Config, spec: Spec, generator: generators.Generator, energy: Callable) -> Losses:
    """Build the loss terms from a generator and ``energy(params, obs [B, Do], action [..., B, Da]) -> [..., B]``."""
    box = _scaled_box(spec, config.negatives_box)
    num_data = {"uniform": 0, "data": config.num_negatives, "mixed": config.num_negatives // 2}[config.negatives]
    num_uniform = config.num_negatives - num_data

    def energy_loss(energy_params, generator_params, batch, key, alpha, scale_floor, axis_name=None):
        key_generator, key_negatives = jax.random.split(key)
        keys_latent, keys_draw = generators.latent_and_draw_keys(key_generator, batch.obs.shape[0], axis_name)
        rows = jax.lax.stop_gradient(generator.row_mixture(generator_params, batch.obs, keys_latent, scale_floor))
        generated = generator.row_sample(rows, keys_draw, config.num_generated)
        if config.critic == "binary":
            energies = energy(energy_params, batch.obs, jnp.concatenate([batch.action[None], generated]))
            loss = losses.binary_critic(energies[0], energies[1:])
            return jnp.mean(loss), (jnp.mean(energies[0]), jnp.mean(energies[1:]))
        drawn = negatives.draw(key_negatives, batch.action, box, num_uniform, num_data, axis_name)
        actions = jnp.concatenate([batch.action[None], drawn, generated])
        energies = energy(energy_params, batch.obs, actions)
        log_proposal = 0.0
        if config.correct_proposal:
            log_generator = mixtures.log_prob(rows, actions, config.generator.family)
            log_uniform = selection.uniform_log_prob(actions, box.action_low, box.action_high)
            log_proposal = selection.info_nce_proposal(
                log_uniform, log_generator, config.num_negatives, alpha * config.num_generated
            )
        first = 1 + config.num_negatives
        if config.critic == "importance_nll":
            log_weight = jnp.log(jnp.where(jnp.arange(actions.shape[0] - 1) < config.num_negatives, 1.0, alpha))
            loss = losses.importance_nll(energies[0], energies[1:], log_proposal[1:], log_weight)
        else:
            logits = energies + log_proposal
            loss = losses.info_nce(logits[0], logits[1:first], logits[first:], alpha, config.alpha_form)
        return jnp.mean(loss), (jnp.mean(energies[0]), jnp.mean(energies[1:first]))

    def generator_energy(generator_params, energy_params, batch, key, scale_floor, entropy_weight, axis_name=None):
        energy_params = jax.lax.stop_gradient(energy_params)
        keys_latent, keys_draw = generators.latent_and_draw_keys(key, batch.obs.shape[0], axis_name)
        rows = generator.row_mixture(generator_params, batch.obs, keys_latent, scale_floor)
        if config.energy_term == "sampled":
            draws = generator.row_sample(rows, keys_draw, 1)
            weights = jnp.ones(draws.shape[:-1])
        else:
            draws = generator.row_sample_components(rows, keys_draw)
            weights = jnp.exp(rows.log_weights.T)
        energies = energy(energy_params, batch.obs, draws)
        log_prob = mixtures.log_prob(rows, draws, config.generator.family)
        value = jnp.sum(weights * (energies + entropy_weight * log_prob), axis=0)
        return jnp.mean(value), ()

    def likelihood(generator_params, batch, key, scale_floor, axis_name=None):
        keys_latent, _ = generators.latent_and_draw_keys(key, batch.obs.shape[0], axis_name)
        rows = generator.row_mixture(generator_params, batch.obs, keys_latent, scale_floor)
        nll = losses.mixture_nll(rows, batch.action, config.generator.family)
        return jnp.mean(nll), jnp.mean(mixtures.weight_entropy(rows))

    return Losses(energy_loss, generator_energy, likelihood)


def make(
    config: Config, spec: Spec, horizon: Horizon, optimizer: optax.GradientTransformation = optax.scale_by_adam()
) -> Method:
    """Build the method; ``optimizer`` gives the update direction of both networks.

    ``log_prob`` is the density of what `sample` draws, so None with a latent or where ``sample_by`` is not "sample".
    """
    generator = generators.make(config.generator, spec)
    encoder = encoders.make(config.generator.encoder, spec)
    energy_network = networks.EnergyMLP(config.energy_hidden, config.energy_init, encoder=encoder)
    terms = make_losses(config, spec, generator, energy_network.apply)

    def init(key):
        key_init, key_state = base_keys(key)
        key_generator, key_energy = jax.random.split(key_init)
        weights = generator.init(key_generator)
        energy_weights = energy_network.init(key_energy, jnp.zeros((1, spec.obs_dim)), jnp.zeros((1, spec.action_dim)))
        default = Hyper()
        params = Params(
            weights, energy_weights, jnp.asarray(default.scale_floor, float), jnp.asarray(default.alpha, float)
        )
        opt_state = OptState(optimizer.init(weights), optimizer.init(energy_weights))
        return TrainState(params, opt_state, (), jnp.zeros((), jnp.int32), key_state)

    def step(state, batch, hyper, axis_name=None):
        epoch = horizon.epoch(state.step)
        decay = step_decay(state.step, horizon, hyper.learning_rate_decay, config.decay_every)
        alpha = jnp.asarray(alpha_at(epoch, horizon, config, hyper), state.params.alpha.dtype)
        scale_floor = jnp.asarray(hyper.scale_floor, state.params.scale_floor.dtype)
        key_energy, key_generator = jax.random.split(jax.random.fold_in(state.key, state.step))

        weights = generators.started(generator, state, key_generator, batch.action, axis_name)

        def energy_loss_fn(params, key):
            return terms.energy(params, weights, batch, key, alpha, scale_floor, axis_name)

        (energy_params, energy_opt), (energy_loss, (positive_energy, negative_energy)) = descend_repeatedly(
            energy_loss_fn,
            optimizer,
            state.params.energy,
            state.opt_state.energy,
            jax.random.split(key_energy, config.energy_steps),
            hyper.energy_learning_rate * decay,
            axis_name,
        )

        (generator_energy, _), energy_grads = collectives.synced_value_and_grad(terms.generator_energy, axis_name)(
            weights, energy_params, batch, key_generator, scale_floor, hyper.entropy_weight, axis_name
        )
        (nll, entropy), nll_grads = collectives.synced_value_and_grad(terms.likelihood, axis_name)(
            weights, batch, key_generator, scale_floor, axis_name
        )
        energy_weight = hyper.energy_weight * (state.step >= hyper.warm_up * horizon.num_steps)
        grads = jax.tree.map(lambda e, n: jnp.asarray(energy_weight, e.dtype) * e + n, energy_grads, nll_grads)
        weights, opt_state = descend(
            optimizer, grads, state.opt_state.generator, weights, hyper.generator_learning_rate * decay
        )
        cosine, ratio = _compare(energy_grads, nll_grads)
        ratio = jnp.asarray(energy_weight, ratio.dtype) * ratio
        info = Info(energy_loss, positive_energy, negative_energy, generator_energy, nll, alpha, cosine, ratio, entropy)
        state = state._replace(
            params=Params(weights, energy_params, scale_floor, alpha),
            opt_state=OptState(opt_state, energy_opt),
            step=state.step + 1,
        )
        return state, info

    def energy(params, obs, action):
        return energy_network.apply(params.energy, obs, action)

    guided = energy_guided.make(config, _scaled_box(spec, config.negatives_box), generator, energy)

    lowered = ("nll", "generator_energy", "energy_loss")
    return Method(
        Hyper(),
        init,
        step,
        guided.sample,
        guided.act,
        energy,
        guided.log_prob if config.sample_by == "sample" else None,
        guided.mixture if config.generator.independent_steps == 1 else None,
        lowered,
    )


def _compare(a: PyTree, b: PyTree) -> tuple[Array, Array]:
    """Cosine of the angle between two gradients and the ratio of their norms."""
    dot = optax.tree.vdot(a, b)
    norm_a, norm_b = optax.tree.norm(a), optax.tree.norm(b)
    tiny = jnp.finfo(dot.dtype).tiny
    return dot / jnp.maximum(norm_a * norm_b, tiny), norm_a / jnp.maximum(norm_b, tiny)
