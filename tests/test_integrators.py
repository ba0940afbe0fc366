"""Schedules against their formulas; Euler and DDIM on Gaussian data, where both are linear maps, in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ebgan_mdn_jax.samplers import integrators
from ebgan_mdn_jax.types import InputError

MEAN, STD = 0.4, 0.3
FALSE_FAIL = 1e-6


def slope(time):
    """Of the optimal velocity ``MEAN + slope (x - t MEAN)`` for data N(MEAN, STD^2)."""
    return (time * STD**2 - (1 - time)) / (time**2 * STD**2 + (1 - time) ** 2)


def velocity(x, time):
    return MEAN + slope(time) * (x - time * MEAN)


def noise_fn(alpha_bar):
    """The mean of the noise given the noisy datum."""
    left = jnp.asarray(alpha_bar, jnp.float32)

    def predict(x, time):
        now = left[time]
        return jnp.sqrt(1 - now) * (x - jnp.sqrt(now) * MEAN) / (now * STD**2 + 1 - now)

    return predict


def euler(x, num_steps):
    return jax.jit(lambda x: integrators.euler(velocity, x, num_steps))(jnp.asarray(x, jnp.float32))


def ddim(x, alpha_bar, num_steps, predict=None, **options):
    predict = predict or noise_fn(alpha_bar)
    run = jax.jit(lambda x: integrators.ddim(jax.random.key(0), predict, x, alpha_bar, num_steps, **options))
    return run(jnp.asarray(x, jnp.float32))


def test_euler_is_the_product_of_its_steps_and_converges_to_the_exact_transport():
    """``MEAN + STD x``, with an error that halves with the step; a single step goes to the mean, whatever the start."""
    start = np.array([-1.5, 0.0, 2.0])
    np.testing.assert_allclose(euler(start, 1), np.full(3, MEAN), atol=1e-6)
    errors = []
    for num_steps in (10, 200, 400):
        factor = np.prod(1 + slope(np.arange(num_steps) / num_steps) / num_steps)
        np.testing.assert_allclose(euler(start, num_steps), MEAN + factor * start, atol=2e-5)
        errors.append(abs(factor - STD))
    assert errors[2] < 0.005 and errors[1] / errors[2] == pytest.approx(2, abs=0.1)


def test_euler_has_the_derivative_of_its_steps():
    num_steps = 20
    factor = np.prod(1 + slope(np.arange(num_steps) / num_steps) / num_steps)
    derivative = jax.grad(lambda x: integrators.euler(velocity, x, num_steps))(jnp.asarray(0.7))
    assert derivative == pytest.approx(factor, rel=1e-4)


def test_schedules_are_their_formulas():
    def f(share):
        return np.cos((share + 0.008) / 1.008 * np.pi / 2) ** 2

    cosine = integrators.alpha_bars("cosine", 100)
    np.testing.assert_allclose(cosine[:-1], f(np.arange(100) / 100) / f(0), rtol=1e-12)
    assert cosine[-1] == pytest.approx(cosine[-2] * 1e-3)
    linear = integrators.alpha_bars("linear", 1000)  # of Ho et al.
    assert linear[1] == pytest.approx(1 - 1e-4) and linear[-1] == pytest.approx(4.0358e-5, rel=1e-4)
    for values in (cosine, linear, integrators.alpha_bars("linear", 100), integrators.alpha_bars("linear", 5)):
        assert values[0] == 1 and np.all(np.diff(values) < 0) and values[-1] > 0
    assert integrators.alpha_bars("linear", 100)[-1] < 1e-3  # little is left of the data at any T


@pytest.mark.parametrize("num_steps", [1, 7, 50])
def test_ddim_is_the_linear_map_of_its_steps(num_steps):
    """In NumPy, float64: of data N(MEAN, STD^2) the deviation of the noisy datum is scaled, step by step."""
    alpha_bar = integrators.alpha_bars("cosine", 50)
    times = np.round(np.linspace(50, 0, num_steps + 1)).astype(int)
    start = np.array([-1.5, 0.0, 2.0])
    offset = start - np.sqrt(alpha_bar[-1]) * MEAN
    for now, after in zip(alpha_bar[times[:-1]], alpha_bar[times[1:]], strict=True):
        variance = now * STD**2 + 1 - now
        offset *= (np.sqrt(after * now) * STD**2 + np.sqrt((1 - after) * (1 - now))) / variance
    np.testing.assert_allclose(ddim(start, alpha_bar, num_steps), MEAN + offset, atol=2e-4)


def test_ddim_with_many_steps_is_the_exact_transport():
    alpha_bar = integrators.alpha_bars("cosine", 1000)
    start = np.array([-1.5, 0.0, 2.0])
    np.testing.assert_allclose(ddim(start, alpha_bar, 1000), MEAN + STD * start, atol=0.01)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_draws_have_the_mean_and_deviation_of_the_data(eta):
    """For every eta, as steps get many: bounds of the sample's mean and variance at the false-fail rate, and 2 % for the steps."""
    alpha_bar = integrators.alpha_bars("cosine", 400)
    num = 4000
    draws = np.asarray(ddim(np.random.default_rng(0).normal(size=num), alpha_bar, 400, eta=eta), np.float64)
    assert abs(draws.mean() - MEAN) < stats.norm.isf(FALSE_FAIL / 2) * STD / np.sqrt(num) + 0.002
    low, high = stats.chi2.ppf([FALSE_FAIL / 2, 1 - FALSE_FAIL / 2], num - 1) / (num - 1)
    assert low * 0.96 < draws.var(ddof=1) / STD**2 < high * 1.04


def test_all_steps_at_eta_1_are_those_of_the_diffusion():
    """Ho et al., equations 6 and 7: the posterior mean of a step and its variance, at a prediction that knows nothing of the data."""
    alpha_bar = integrators.alpha_bars("cosine", 2)
    predict = lambda x, time: jnp.sin(3 * x) + time  # noqa: E731
    num = 4000
    x = np.full(num, 0.7)
    draws = np.asarray(ddim(x, alpha_bar, 2, predict, eta=1.0), np.float64)
    noise = np.sin(3 * 0.7) + 2
    now, after = alpha_bar[2], alpha_bar[1]
    clean = (0.7 - np.sqrt(1 - now) * noise) / np.sqrt(now)
    beta = 1 - now / after
    mean = np.sqrt(after) * beta / (1 - now) * clean + np.sqrt(1 - beta) * (1 - after) / (1 - now) * 0.7
    deviation = np.sqrt((1 - after) / (1 - now) * beta)
    last = lambda x: (x - np.sqrt(1 - after) * (np.sin(3 * x) + 1)) / np.sqrt(after)  # noqa: E731
    expected = last(mean + deviation * stats.norm.ppf((np.arange(num) + 0.5) / num))
    assert stats.ks_2samp(draws, expected).pvalue > FALSE_FAIL


def test_a_bound_keeps_what_is_predicted_and_changes_nothing_within():
    alpha_bar = integrators.alpha_bars("cosine", 20)
    start = np.array([-1.5, 0.0, 2.0])
    far = ddim(start, alpha_bar, 20, lambda x, time: x - 1.0, bound=0.5)
    assert np.all(np.abs(far) <= 0.5)
    assert np.any(np.abs(ddim(start, alpha_bar, 20, lambda x, time: x - 1.0)) > 0.5)
    np.testing.assert_allclose(ddim(start, alpha_bar, 20, bound=5.0), ddim(start, alpha_bar, 20), atol=1e-3)


def test_wrong_settings_are_refused():
    alpha_bar = integrators.alpha_bars("cosine", 20)
    with pytest.raises(InputError, match="expected one of cosine, linear"):
        integrators.alpha_bars("square", 20)
    for num_steps in (0, 21):
        with pytest.raises(InputError, match="needs 1 to the 20 steps of training"):
            ddim(np.zeros(3), alpha_bar, num_steps)
    with pytest.raises(InputError, match="needs at least 1"):
        euler(np.zeros(3), 0)
