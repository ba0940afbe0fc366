"""Flow matching: its loss and draws where the best velocity is known, times and units, and two modes learned."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import denoisers
from ebgan_mdn_jax.methods import flow
from ebgan_mdn_jax.methods.base import moving_average
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
MEAN, STD, FALSE_FAIL = 0.4, 0.3, 1e-6


def optimal(obs, action, time):
    """The mean of ``a - x0`` given ``x_t``, where actions are N(MEAN, STD^2)."""
    slope = (time * STD**2 - (1 - time)) / (time**2 * STD**2 + (1 - time) ** 2)
    return MEAN + slope[..., None] * (action - time[..., None] * MEAN)


def known(monkeypatch, predict, **fields):
    """A method whose network is the optimum, up to the constant that is its only weight."""

    def apply(weights, obs, action, time):
        velocity = optimal(obs, action, time) + weights
        return velocity if predict == "velocity" else action + jnp.maximum(1 - time, 0.05)[..., None] * velocity

    network = types.SimpleNamespace(init=lambda *_: jnp.zeros(()), apply=apply)
    monkeypatch.setattr(denoisers, "make", lambda *_: network)
    return flow.make(flow.Config(predict=predict, **fields), SPEC, Horizon(10, 1))


@pytest.mark.parametrize("predict", ["velocity", "action"])
def test_the_best_velocity_is_where_the_loss_is_least(monkeypatch, predict):
    """There it is the mean over t of ``STD^2 / (t^2 STD^2 + (1 - t)^2)``, STD pi / 2, and the gradient of an offset is 0."""
    rows, num_draws = 4000, 8
    method = known(monkeypatch, predict, num_draws=num_draws)
    action = MEAN + STD * scipy.stats.norm.ppf((np.arange(rows) + 0.5) / rows)
    batch = Batch(jnp.zeros((rows, 1)), jnp.asarray(action[:, None], jnp.float32))
    step = jax.jit(lambda state: method.step(state, batch, method.hyper._replace(ema_decay=0.0)))
    loss = []
    for offset in (0.0, 0.1, -0.1):
        state = method.init(jax.random.key(0))
        _, info = step(state._replace(params=flow.Params(jnp.asarray(offset), jnp.asarray(offset))))
        loss.append(float(info.loss))
    # The residual is normal given t, of a variance of at most 1 + STD^2.
    error = scipy.stats.norm.isf(FALSE_FAIL / 2) * np.sqrt(3) * (1 + STD**2) / np.sqrt(rows * num_draws)
    assert loss[0] == pytest.approx(STD * np.pi / 2, abs=error)
    slope, curvature = (loss[1] - loss[2]) / 0.2, (loss[1] + loss[2] - 2 * loss[0]) / 0.1**2
    assert curvature == pytest.approx(2, abs=0.05)
    deviation = 2 * np.sqrt((1 + STD**2) / (rows * num_draws))
    assert abs(slope) < scipy.stats.norm.isf(FALSE_FAIL / 2) * deviation


@pytest.mark.parametrize("predict", ["velocity", "action"])
def test_draws_are_the_transport_of_noise(monkeypatch, predict):
    """With N Euler steps N(MEAN, factor^2), which `tests/test_integrators.py` follows to STD."""
    method = known(monkeypatch, predict, num_steps=40)
    time = np.arange(40) / 40
    factor = np.prod(1 + (time * STD**2 - (1 - time)) / (time**2 * STD**2 + (1 - time) ** 2) / 40)
    params = flow.Params(jnp.asarray(5.0), jnp.asarray(0.0))  # the average is what draws
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(0), params, jnp.zeros((2, 1)), 4000))
    assert factor == pytest.approx(STD, abs=0.02)
    assert scipy.stats.kstest(draws.ravel(), scipy.stats.norm(MEAN, factor).cdf).pvalue > FALSE_FAIL


@pytest.mark.parametrize("time", ["uniform", "beta"])
def test_times_have_their_law(time):
    draws = np.asarray(flow.draw_time(jax.random.key(0), 5000, time, jnp.float32))
    law = scipy.stats.uniform() if time == "uniform" else scipy.stats.beta(1, 1.5, scale=0.999)  # of 0.999 (1 - u)
    assert np.all((draws >= 0) & (draws <= 1))
    assert scipy.stats.kstest(draws, law.cdf).pvalue > FALSE_FAIL


def test_moving_average():
    """At decay 0 the weights, bit for bit; later ``d^k`` of what was, and early much less."""
    weights, average = jnp.asarray([0.3, -1.7]), jnp.asarray([5.0, 6.0])
    assert np.array_equal(moving_average(average, weights, 0.0, jnp.asarray(7)), weights)
    late = average
    for _ in range(10):
        late = moving_average(late, weights, 0.9, jnp.asarray(10_000))
    np.testing.assert_allclose(late, weights + 0.9**10 * (average - weights), rtol=1e-5)
    np.testing.assert_allclose(
        moving_average(average, weights, 0.9, jnp.asarray(0)), 0.1 * average + 0.9 * weights, rtol=1e-6
    )


def test_actions_are_scaled_by_their_box():
    """Data and box ten times as large: the same weights, draws ten times as large."""
    data = Batch(jnp.linspace(-1, 1, 16)[:, None], jnp.linspace(-0.5, 0.8, 16)[:, None])
    config = flow.Config(denoisers.DenoiserConfig(hidden=(8,)), num_draws=2)
    draws = []
    for scale in (1.0, 10.0):
        spec = SPEC._replace(action_low=(-scale,), action_high=(scale,))
        method = flow.make(config, spec, Horizon(10, 1))
        batch = data._replace(action=scale * data.action)
        state, _ = jax.jit(method.step)(jax.jit(method.init)(jax.random.key(0)), batch, method.hyper)
        draws.append(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), state.params, data.obs, 3))
    np.testing.assert_allclose(draws[1], 10 * draws[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("predict", [pytest.param("velocity", marks=pytest.mark.slow), "action"])
def test_both_branches_of_the_hyperbola(predict):
    """Short training; at single observations draws are near a branch, in about equal shares."""
    task = TASKS["hyperbola"]
    data = task.demonstrations(jax.random.key(0), 500)
    method = flow.make(
        flow.Config(denoisers.DenoiserConfig(hidden=(64, 64)), predict, num_draws=2, decay_every=1),
        task.spec,
        Horizon(600, 120),
    )
    hyper = method.hyper._replace(learning_rate=1e-2, ema_decay=0.98)
    run = jax.jit(lambda s: jax.lax.fori_loop(0, 600, lambda _, s: method.step(s, data, hyper)[0], s))
    params = run(jax.jit(method.init)(jax.random.key(0))).params
    obs = jnp.asarray([[-0.8], [0.5], [0.9]])
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, obs, 500))[..., 0]
    branch = np.sqrt(0.01 + np.ravel(obs) ** 2)
    assert np.all(np.mean(np.abs(np.abs(draws) - branch) < 0.1, axis=0) > 0.8)
    assert np.all(np.abs(np.mean(draws > 0, axis=0) - 0.5) < 0.2)


@pytest.mark.parametrize(
    "fields", [{"num_steps": 0}, {"num_draws": 0}, {"decay_every": -1}, {"time": "late"}, {"predict": "noise"}]
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        flow.Config(**fields)
