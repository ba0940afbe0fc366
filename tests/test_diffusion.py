"""Diffusion: its loss and draws where the best prediction is known, and two modes learned."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import denoisers
from ebgan_mdn_jax.methods import diffusion
from ebgan_mdn_jax.samplers import integrators
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
MEAN, STD, FALSE_FAIL = 0.4, 0.3, 1e-6
STEPS = 20
LEFT = integrators.alpha_bars("cosine", STEPS)


def known(monkeypatch, predict, **fields):
    """A method whose network is the optimum for actions N(MEAN, STD^2), up to an offset of the noise, its only weight."""

    def apply(weights, obs, action, time):
        left = jnp.asarray(LEFT, jnp.float32)[jnp.round(time * STEPS).astype(int)][..., None]
        off = action - jnp.sqrt(left) * MEAN
        noise = jnp.sqrt(1 - left) * off / (left * STD**2 + 1 - left) + weights
        return noise if predict == "noise" else (action - jnp.sqrt(1 - left) * noise) / jnp.sqrt(left)

    network = types.SimpleNamespace(init=lambda *_: jnp.zeros(()), apply=apply)
    monkeypatch.setattr(denoisers, "make", lambda *_: network)
    fields = {"train_steps": STEPS, "num_steps": STEPS} | fields
    return diffusion.make(diffusion.Config(predict=predict, **fields), SPEC, Horizon(10, 1))


@pytest.mark.parametrize("predict", ["noise", "action"])
def test_the_best_prediction_is_where_the_loss_is_least(monkeypatch, predict):
    """There it is the mean over t of the noise's variance given the noisy action, and the gradient of an offset is 0."""
    rows, num_draws = 4000, 8
    method = known(monkeypatch, predict, num_draws=num_draws)
    action = MEAN + STD * scipy.stats.norm.ppf((np.arange(rows) + 0.5) / rows)
    batch = Batch(jnp.zeros((rows, 1)), jnp.asarray(action[:, None], jnp.float32))
    step = jax.jit(lambda state: method.step(state, batch, method.hyper))
    loss = []
    for offset in (0.0, 0.1, -0.1):
        state = method.init(jax.random.key(0))
        _, info = step(state._replace(params=diffusion.Params(jnp.asarray(offset), jnp.asarray(offset))))
        loss.append(float(info.loss))
    signal = LEFT[1:] * STD**2
    error = scipy.stats.norm.isf(FALSE_FAIL / 2) * np.sqrt(
        3 / (rows * num_draws)
    )  # the residual's variance is at most 1
    assert loss[0] == pytest.approx(np.mean(signal / (signal + 1 - LEFT[1:])), abs=error)
    slope, curvature = (loss[1] - loss[2]) / 0.2, (loss[1] + loss[2] - 2 * loss[0]) / 0.1**2
    assert curvature == pytest.approx(2, abs=0.05)
    assert abs(slope) < scipy.stats.norm.isf(FALSE_FAIL / 2) * 2 / np.sqrt(rows * num_draws)


@pytest.mark.parametrize("predict", ["noise", "action"])
def test_draws_have_the_mean_and_deviation_of_the_steps(monkeypatch, predict):
    """By the average of weights; ``eta``, ``clip`` and ``num_steps`` reach the sampler."""
    scale = np.sqrt(LEFT * STD**2 + 1 - LEFT)  # of the noisy action
    overlap = np.sqrt(LEFT[1:] * LEFT[:-1]) * STD**2 + np.sqrt((1 - LEFT[1:]) * (1 - LEFT[:-1]))
    factor = np.prod(overlap / scale[1:] ** 2)
    params = diffusion.Params(jnp.asarray(5.0), jnp.asarray(0.0))

    def draw(**fields):
        method = known(monkeypatch, predict, **fields)
        sample = jax.jit(method.sample, static_argnums=3)
        return np.ravel(sample(jax.random.key(0), params, jnp.zeros((2, 1)), 2000))

    draws = draw(clip=0.0)
    assert scipy.stats.kstest(draws, scipy.stats.norm(MEAN, factor).cdf).pvalue > FALSE_FAIL
    assert np.all(draw(clip=0.5) <= 0.5) and np.any(draws > 0.5)
    for fields in ({"eta": 1.0}, {"num_steps": 5}):
        assert not np.allclose(draw(clip=0.0, **fields), draws)


@pytest.mark.parametrize(("predict", "steps"), [pytest.param("noise", 2000, marks=pytest.mark.slow), ("action", 1000)])
def test_both_branches_of_the_hyperbola(predict, steps):
    """Short training; at single observations draws are near a branch, in about equal shares."""
    task = TASKS["hyperbola"]
    data = task.demonstrations(jax.random.key(0), 500)
    config = diffusion.Config(
        denoisers.DenoiserConfig(hidden=(64, 64)), predict, train_steps=50, num_steps=50, num_draws=2, decay_every=1
    )
    method = diffusion.make(config, task.spec, Horizon(steps, steps // 5))
    hyper = method.hyper._replace(learning_rate=1e-2, ema_decay=0.98)
    run = jax.jit(lambda s: jax.lax.fori_loop(0, steps, lambda _, s: method.step(s, data, hyper)[0], s))
    params = run(jax.jit(method.init)(jax.random.key(0))).params
    obs = jnp.asarray([[-0.8], [0.5], [0.9]])
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, obs, 500))[..., 0]
    branch = np.sqrt(0.01 + np.ravel(obs) ** 2)
    assert np.all(np.mean(np.abs(np.abs(draws) - branch) < 0.1, axis=0) > 0.8)
    assert np.all(np.abs(np.mean(draws > 0, axis=0) - 0.5) < 0.2)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_steps": 0},
        {"num_steps": 101},
        {"train_steps": 0},
        {"eta": 1.5},
        {"clip": -1.0},
        {"schedule": "square"},
        {"predict": "velocity"},
        {"decay_every": -1},
    ],
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        diffusion.Config(**fields)
