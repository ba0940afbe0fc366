"""Codes of Gaussian encoders: information and rate in closed form and by quadrature, and losses of what they decode to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from ebgan_mdn_jax.evaluation import latents
from ebgan_mdn_jax.types import Batch, Latents

information = jax.jit(latents.information)


def codes_at(mean, scale):
    mean = jnp.asarray(mean, jnp.float32)
    return latents.Codes(mean, jnp.log(jnp.broadcast_to(jnp.asarray(scale, jnp.float32), mean.shape)))


def one_group(size):
    return jnp.ones((size, size), bool)


def test_log_prob_is_that_of_every_posterior():
    generator = np.random.default_rng(0)
    mean, scale, latent = (
        generator.normal(size=(3, 2)),
        generator.uniform(0.2, 2, (3, 2)),
        generator.normal(size=(4, 2)),
    )
    expected = np.stack([scipy.stats.norm(m, s).logpdf(latent).sum(-1) for m, s in zip(mean, scale, strict=True)], 1)
    np.testing.assert_allclose(latents.log_prob(jnp.asarray(latent), codes_at(mean, scale)), expected, rtol=1e-4)


def test_samples_have_the_posteriors_moments():
    codes = codes_at([[1.0, -2.0], [0.0, 3.0]], [[0.5, 1.0], [2.0, 0.1]])
    draws = np.asarray(latents.sample(jax.random.key(0), codes, 20_000))
    np.testing.assert_allclose(draws.mean(0), codes.mean, atol=5 * 2.0 / np.sqrt(20_000))
    np.testing.assert_allclose(draws.std(0), np.exp(codes.log_scale), rtol=0.03)


@pytest.mark.parametrize(("half_gap", "scale"), [(0.2, 0.9), (0.7, 0.7), (2.0, 0.3)])
def test_information_of_two_codes_is_that_of_the_integral(half_gap, scale):
    """Entropy of the mixture less that of a code; 40,000 draws, and five standard errors."""
    pdf = lambda z: 0.5 * (scipy.stats.norm.pdf(z, half_gap, scale) + scipy.stats.norm.pdf(z, -half_gap, scale))  # noqa: E731
    reach = half_gap + 8 * scale
    entropy, _ = scipy.integrate.quad(lambda z: -pdf(z) * np.log(pdf(z)), -reach, reach, points=[0.0])
    codes = codes_at([[half_gap], [-half_gap]], scale)
    latent = latents.sample(jax.random.key(1), codes, 20_000)
    nats = float(jnp.mean(information(latent, codes, one_group(2))))
    assert nats == pytest.approx(entropy - scipy.stats.norm(0, scale).entropy(), abs=5 * 0.5 / np.sqrt(40_000))


def test_rate_is_information_and_marginal_kl_for_a_gaussian_channel():
    """Means N(0, v), deviation s: I = log(1 + v / s^2) / 2, and the codes' marginal is N(0, v + s^2)."""
    v, s, size = 0.6, 0.7, 3_000
    mean = np.sqrt(v) * scipy.stats.norm.ppf((np.arange(size) + 0.5) / size)[:, None]
    codes = codes_at(mean, s)
    nats = np.mean(information(latents.sample(jax.random.key(2), codes, 2), codes, one_group(size)))
    assert nats == pytest.approx(0.5 * np.log(1 + v / s**2), abs=5 * 0.7 / np.sqrt(2 * size))
    rate = 0.5 * np.mean(mean**2 + s**2 - 1 - 2 * np.log(s))
    marginal_kl = 0.5 * (v + s**2 - 1 - np.log(v + s**2))
    assert rate - nats == pytest.approx(marginal_kl, abs=0.05)


def test_information_lies_between_nothing_and_the_number_of_rows_in_a_group():
    same = codes_at(np.zeros((6, 2)), 0.5)
    latent = latents.sample(jax.random.key(0), same, 3)
    np.testing.assert_allclose(information(latent, same, one_group(6)), 0.0, atol=1e-5)
    apart = codes_at(np.arange(6.0)[:, None] * 100, 0.5)
    latent = latents.sample(jax.random.key(0), apart, 3)
    np.testing.assert_allclose(information(latent, apart, one_group(6)), np.log(6), rtol=1e-5)
    group = np.array([0, 0, 1, 1, 1, 1])
    within = information(latent, apart, jnp.asarray(group[:, None] == group[None]))
    np.testing.assert_allclose(within, np.log([2, 2, 4, 4, 4, 4]), rtol=1e-5)


def test_active_units_are_those_whose_mean_varies():
    mean = np.array([[1.0, 0.05, 3.0], [-1.0, -0.05, 3.0]])
    assert int(latents.active_units(codes_at(mean, 1.0))) == 1


def test_the_best_constant_is_each_groups_own():
    action = np.random.default_rng(0).normal(size=(7, 3))
    group = np.array([0, 1, 1, 0, 1, 0, 0])
    for centre, reference in ((jnp.nanmedian, np.median), (jnp.nanmean, np.mean)):
        ours = latents.best_constant(jnp.asarray(action), jnp.asarray(group), 2, centre)
        expected = np.stack([reference(action[group == g], axis=0) for g in group])
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_measures_of_a_channel_with_noise():
    """A code is the action plus N(0, s^2), and decodes to itself: absolute error s sqrt(2 / pi), squared s^2; unit 2 halves them."""
    s, size = 0.2, 2_000
    action = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (size, 1)) * [[1.0, 1.0]], jnp.float32)
    policy = Latents(
        lambda obs, action: (action, jnp.full_like(action, np.log(s))),
        lambda latent, obs: latent,
        lambda obs, action: jnp.full(action.shape[0], 1.5),
    )
    batch = Batch(jnp.zeros((size, 1)), action)
    metrics, decoded, at_zero = jax.jit(
        lambda key: latents.measure(key, policy, batch, jnp.zeros(size, int), 1, jnp.full(2, 2.0))
    )(jax.random.key(0))
    metrics = {name: float(value) for name, value in metrics.items()}
    assert decoded.shape == (4, size, 2) and not np.any(at_zero)
    error = 5 / np.sqrt(8 * size)
    assert metrics["reconstruction@l1"] == pytest.approx(s * np.sqrt(2 / np.pi) / 2, rel=error)
    assert metrics["reconstruction@squared"] == pytest.approx(s**2 / 4, rel=2 * error)
    assert metrics["spread@l1"] == pytest.approx(0.5, rel=0.05)
    assert metrics["spread@squared"] == pytest.approx(0.25, rel=0.01)
    assert metrics["z_advantage"] == pytest.approx(100 * (1 - s * np.sqrt(2 / np.pi)), rel=error)
    assert metrics["rate"] == pytest.approx(1.5) and metrics["active_units"] == 2
    assert metrics["information"] == pytest.approx(np.log(2), abs=0.02)
    assert metrics["marginal_kl"] == pytest.approx(1.5 - metrics["information"], abs=1e-5)
