"""Drawing from a mixture-density generator with the help of the energy that it was trained against.

As ``exp(-E)`` is the data's density p over that of the proposal r (`samplers.selection`), it is flat where the generator is good. Three
ways of `Inference` choose one of ``num_candidates`` draws: "rerank" the one of lowest energy, "densest" the one of highest
``exp(-E) r``, "resample" one by its importance weight ``exp(-E) r / q``. With a ``rerank_temperature`` t "rerank" draws one by
``exp(-E / t)``: at 1 the importance weight wherever q makes up most of r, without the noise of its logarithm. Candidates are draws of the
whole mixture, among which the best is nearly always on the same mode, or of one component that was drawn by its weight
(``candidates="component"``), so that all three keep the modes that the mixture found. ``refine_steps`` of gradient descent can follow on
"rerank" and "densest".

``reweight`` multiplies the weight of every component by ``w_k = exp(-E) r / q`` at its mean: still a mixture with a density, in which
components that bridge two modes have lost their weight. As energies are too noisy to say how much two modes weigh, ratios are clipped:
``log(w_k / w)`` above ``reweight_clip``, with w the mean of ``w_k`` under the mixture's weights, counts as that.

With ``alpha = 0`` r ends at the box of negatives, and so does all that follows from it: it must then hold every action.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.samplers import selection
from ebgan_mdn_jax.types import Spec

Inference = Literal["sample", "mode", "component_mean", "rerank", "densest", "resample"]


class EnergyGuided(NamedTuple):
    """Pure functions of a trained generator and energy; the last two are None with a latent."""

    sample: Callable  # (key, params, obs [B, Do], num_samples) -> [N, B, Da]
    act: Callable  # (key, params, obs [B, Do]) -> [B, Da]
    mixture: Callable | None  # (params, obs [B, Do]) -> mixture
    log_prob: Callable | None  # (params, obs [B, Do], action [..., B, Da]) -> [..., B], of the mixture


def make(config: Any, box: Spec, generator: generators.Generator, energy: Callable) -> EnergyGuided:
    """Build the functions.

    Args:
      config: an `ebgan_mdn.Config`.
      box: its action box is that of the negatives.
      generator: of ``config.generator``.
      energy: ``(params, obs [B, Do], action [..., B, Da]) -> [..., B]``.

    Returns:
      Functions of an `ebgan_mdn.Params`.
    """
    exact, family = generator.mixture is not None, config.generator.family

    def log_density(params, obs, action):
        """The data's log density as the energy has it, up to a constant: ``-E + log r``, or ``-E`` if r was taken out in training."""
        if config.correct_proposal:
            return -energy(params, obs, action)
        log_uniform = selection.uniform_log_prob(action, box.action_low, box.action_high)
        log_generator = generator.log_prob(params.generator, obs, action, params.scale_floor)
        log_proposal = selection.info_nce_proposal(
            log_uniform, log_generator, config.num_negatives, params.alpha * config.num_generated
        )
        return log_proposal - energy(params, obs, action)

    def mixture(params, obs):
        rows = generator.mixture(params.generator, obs, params.scale_floor)
        if not config.reweight:
            return rows
        means = jnp.moveaxis(rows.means, -2, 0)
        log_ratio = log_density(params, obs, means) - mixtures.log_prob(rows, means, family)
        log_weights = selection.clipped_reweighting(rows.log_weights, log_ratio.T, config.reweight_clip)
        return rows._replace(log_weights=log_weights)

    def log_prob(params, obs, action):
        return mixtures.log_prob(mixture(params, obs), action, family)

    def propose(key, params, obs):
        """Candidates ``[C, B, Da]``."""
        if exact:
            return generators.draw_candidates(
                key, mixture(params, obs), config.num_candidates, family, config.candidates
            )
        return generator.draw(key, params.generator, obs, config.num_candidates, params.scale_floor, "sample")

    def choose(key, params, obs, how: Inference):
        """One action per row ``[B, Da]`` out of ``num_candidates``."""
        key_draw, key_choice = jax.random.split(key)
        candidates = propose(key_draw, params, obs)
        if how == "resample":
            log_weights = log_density(params, obs, candidates) - log_prob(params, obs, candidates)
            return selection.importance_resample(key_choice, candidates, log_weights)
        score = energy if how == "rerank" else lambda *of: -log_density(*of)
        scores = score(params, obs, candidates)
        if how == "rerank" and config.rerank_temperature > 0:
            best = selection.importance_resample(key_choice, candidates, -scores / config.rerank_temperature)
        else:
            best = selection.lowest_energy(candidates, scores)
        slope = jax.grad(lambda action: jnp.sum(score(params, obs, action)))
        return jax.lax.fori_loop(
            0, config.refine_steps, lambda _, action: action - config.refine_step_size * slope(action), best
        )

    def draw(key, params, obs, num_samples, how: Inference):
        if how in get_args(generators.Draw):
            if exact:
                return generators.choose(key, mixture(params, obs), num_samples, family, how)
            return generator.draw(key, params.generator, obs, num_samples, params.scale_floor, how)
        # One sample after another: all at once would hold num_candidates times as many activations.
        return jax.lax.map(lambda key: choose(key, params, obs, how), jax.random.split(key, num_samples))

    def sample(key, params, obs, num_samples):
        return draw(key, params, obs, num_samples, config.sample_by)

    def act(key, params, obs):
        return draw(key, params, obs, 1, config.act_by)[0]

    return EnergyGuided(sample, act, mixture if exact else None, log_prob if exact else None)
