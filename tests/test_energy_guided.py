"""What the trained energy is good for: EBGAN-MDN's ways to choose actions, against densities known in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.methods import ebgan_mdn
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.types import Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
KEY = jax.random.key(11)


def linear_energy(slope, outputs, scale_floor, **fields):
    """A method with ``E = slope * a`` on the box [-1, 1], and a mixture of K Gaussians given by 3 K outputs: logits, means, raw scales."""
    config = ebgan_mdn.Config(
        generators.GeneratorConfig(len(outputs) // 3, hidden=()), energy_hidden=(), num_negatives=4, reweight=False
    )
    method = ebgan_mdn.make(dataclasses.replace(config, **fields), SPEC, Horizon(1, 1))
    params = jax.tree.map(jnp.zeros_like, jax.jit(method.init)(jax.random.key(0)).params)
    params.generator["params"]["MLP_0"]["Dense_0"]["bias"] = jnp.asarray(outputs)
    params.energy["params"]["MLP_0"]["Dense_0"]["kernel"] = jnp.asarray([[0.0], [slope]])
    return method, params._replace(scale_floor=jnp.asarray(scale_floor), alpha=jnp.asarray(0.5))


def one_gaussian(slope, **fields):
    """``E = slope * a`` and N(0.2, 0.5^2), with 128 candidates."""
    return linear_energy(slope, [0.0, 0.2, np.log(0.4)], 0.1, num_candidates=128, **fields)


def two_modes(**fields):
    """``E = a``, and components N(-0.5, 0.05^2) and N(0.5, 0.05^2) of weights 1/4 and 3/4, with 64 candidates."""
    outputs = [0.0, np.log(3.0), -0.5, 0.5, np.log(0.04), np.log(0.04)]
    return linear_energy(1.0, outputs, 0.01, num_candidates=64, **fields)


@pytest.mark.parametrize("correct_proposal", [False, True])
def test_resampled_actions_follow_the_density_of_the_energy(correct_proposal):
    """``exp(-E) r``, or ``exp(-E)`` where r was taken out in training: the draws against its CDF by quadrature.

    With the flag off, slope 1 and r = (4 u + q / 2) / 4.5. With it on, ``exp(-E)`` has no end, so E is flat and candidates are what
    bounds it: the weights 1 / q must undo the bell of q within the box, at the odds of uniform draws.
    """
    slope = 0.0 if correct_proposal else 1.0
    method, params = one_gaussian(slope, sample_by="resample", correct_proposal=correct_proposal)
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(KEY, params, jnp.zeros((1, 1)), 3_000)).ravel()
    x = np.linspace(-4, 4, 8_001)
    q = scipy.stats.norm.pdf(x, 0.2, 0.5)
    if correct_proposal:
        draws = draws[np.abs(draws - 0.2) < 0.5]  # where 128 candidates cover q well
        target = np.where(np.abs(x - 0.2) < 0.5, 1.0, 0.0)
    else:
        target = np.exp(-slope * x) * (4 * np.where(np.abs(x) <= 1, 0.5, 0) + 0.5 * q)
    cdf = np.cumsum(target) / np.sum(target)
    assert len(draws) > 500
    # A bias of order 1 / candidates is allowed for, on top of the DKW bound at one in a million.
    distance = scipy.stats.kstest(draws, lambda v: np.interp(v, x, cdf)).statistic
    assert distance < np.sqrt(np.log(2e6) / (2 * len(draws))) + 0.01


def test_rerank_acts_by_the_lowest_energy():
    """``E = a``: the least of 128 draws of N(0.2, 0.5^2), whose distribution is known."""
    method, params = one_gaussian(1.0, sample_by="rerank", act_by="rerank")
    obs = jnp.zeros((1_000, 1))
    action = np.asarray(jax.jit(method.act)(KEY, params, obs)).ravel()
    assert scipy.stats.kstest(action, lambda v: 1 - scipy.stats.norm.sf(v, 0.2, 0.5) ** 128).pvalue > 1e-6
    draws = jax.jit(method.sample, static_argnums=3)(KEY, params, obs[:2], 7)
    assert draws.shape == (7, 2, 1) and len(np.unique(draws)) == 14  # candidates are not shared


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_rerank_with_a_temperature_draws_by_the_energy(temperature):
    """``E = a`` and candidates of N(0.2, 0.5^2): weighed by exp(-a / t) they follow N(0.2 - 0.25 / t, 0.5^2)."""
    fields = {"sample_by": "rerank", "rerank_temperature": temperature}
    method, params = one_gaussian(1.0, **fields)
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(KEY, params, jnp.zeros((1, 1)), 3_000)).ravel()
    distance = scipy.stats.kstest(draws, scipy.stats.norm(0.2 - 0.25 / temperature, 0.5).cdf).statistic
    # A bias of order 1 / candidates is allowed for, on top of the DKW bound at one in a million.
    assert distance < np.sqrt(np.log(2e6) / (2 * len(draws))) + 0.02
    with pytest.raises(InputError, match="rerank_temperature=-1"):
        ebgan_mdn.Config(rerank_temperature=-1.0)


def test_densest_acts_by_the_density_that_the_energy_stands_for():
    """``E = 0``: the data's density is r = (4 u + q / 2) / 4.5, highest at q's mode."""
    method, params = one_gaussian(0.0, act_by="densest")
    action = np.asarray(jax.jit(method.act)(KEY, params, jnp.zeros((200, 1)))).ravel()
    assert np.max(np.abs(action - 0.2)) < 0.15  # of 128 candidates the nearest one to the mode
    method, params = one_gaussian(0.0, act_by="densest", correct_proposal=True)
    flat = np.asarray(jax.jit(method.act)(KEY, params, jnp.zeros((200, 1)))).ravel()
    assert np.std(flat) > 0.3  # r was taken out in training, so a flat energy is a flat density


def test_candidates_of_one_component_keep_the_modes():
    """The lowest energy of all candidates is in the left mode; within components, draws keep the weights 1/4 and 3/4."""
    for candidates, share in (("mixture", 1.0), ("component", 0.25)):
        method, params = two_modes(sample_by="rerank", candidates=candidates)
        draws = np.asarray(jax.jit(method.sample, static_argnums=3)(KEY, params, jnp.zeros((1, 1)), 1_000)).ravel()
        assert np.mean(draws < 0) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / 1_000))
    assert np.all(np.abs(np.abs(draws) - 0.5) < 0.3)


def test_reweighting_multiplies_weights_by_the_ratio_at_the_means():
    """Of the mixture N(-.5), N(.5) with weights 1/4, 3/4 at ``E = a``: ``w exp(-E) (4 u + q / 2) / q``, and all draws follow."""
    method, params = two_modes(reweight=True, reweight_clip=float("inf"))
    mixture = jax.jit(method.mixture)(params, jnp.zeros((1, 1)))
    peaks = scipy.stats.norm.pdf(0, 0, 0.05)
    weights = np.asarray(
        [w * np.exp(-m) * (4 * 0.5 + 0.5 * w * peaks) / (w * peaks) for w, m in ((0.25, -0.5), (0.75, 0.5))]
    )
    weights /= weights.sum()
    np.testing.assert_allclose(np.exp(mixture.log_weights[0]), weights, rtol=1e-4)
    assert abs(weights[0] - 0.25) > 0.1
    plain, same_params = two_modes()
    np.testing.assert_array_equal(mixture.means, jax.jit(plain.mixture)(same_params, jnp.zeros((1, 1))).means)
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(KEY, params, jnp.zeros((1, 1)), 2_000)).ravel()
    assert np.mean(draws < 0) == pytest.approx(weights[0], abs=5 * 0.5 / np.sqrt(2_000))
    log_prob = jax.jit(method.log_prob)(params, jnp.zeros((1, 1)), jnp.full((1, 1), 0.5))
    assert float(log_prob[0]) == pytest.approx(np.log(weights[1] * peaks), rel=1e-4)


def test_refinement_goes_downhill_and_no_further_than_it_says():
    method, params = two_modes(act_by="rerank")
    refined, _ = two_modes(act_by="rerank", refine_steps=3, refine_step_size=0.01)
    obs = jnp.zeros((5, 1))
    before, after = (jax.jit(m.act)(KEY, params, obs) for m in (method, refined))
    np.testing.assert_allclose(after, before - 3 * 0.01 * 1.0, rtol=1e-5)  # the slope of E = a is 1


def test_without_a_density_there_is_no_log_prob():
    config = ebgan_mdn.Config(generators.GeneratorConfig(latent_dim=1, hidden=()), energy_hidden=(), reweight=False)
    method = ebgan_mdn.make(config, SPEC, Horizon(1, 1))
    assert method.log_prob is None and method.mixture is None and method.energy is not None


@pytest.mark.parametrize(
    "needs_proposal",
    [{"correct_proposal": True}, {"reweight": True}, {"sample_by": "resample"}, {"act_by": "densest"}],
)
@pytest.mark.parametrize(
    "unknown",
    [
        {"negatives": "data"},
        {"negatives": "mixed"},
        {"alpha_form": "logit"},
        {"critic": "binary"},
        {"generator": generators.GeneratorConfig(latent_dim=1)},
    ],
)
def test_a_proposal_without_density_is_refused(needs_proposal, unknown):
    with pytest.raises(InputError, match="needs the proposal's density") as error:
        ebgan_mdn.Config(**{"reweight": False} | needs_proposal, **unknown)
    assert "\n" not in str(error.value)
