"""Bayesian MDN: the Langevin step against closed forms, the chain's bookkeeping, and the predictive mixture."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import bayesian_mdn
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
SMALL = GeneratorConfig(num_components=2, hidden=(8,))


def batch(rows=16):
    rng = np.random.default_rng(0)
    return Batch(*(jnp.asarray(rng.uniform(-1, 1, (rows, 1)), jnp.float32) for _ in range(2)))


def test_noise_of_one_step():
    """Mean ``w - eps G g`` and deviation ``sqrt(2 eps T G / n)`` over 20,000 weights, to 6 standard errors."""
    num, eps, scale, rows, temperature = 20_000, 0.01, 4.0, 50, 0.3
    weights, grads, scales = {"w": jnp.ones(num)}, {"w": jnp.full(num, 2.0)}, {"w": jnp.full(num, scale)}
    moved = bayesian_mdn.langevin(jax.random.key(0), weights, grads, scales, eps, rows, temperature)["w"]
    expected = np.sqrt(2 * eps * temperature * scale / rows)
    assert abs(np.mean(moved) - (1 - eps * scale * 2.0)) < 6 * expected / np.sqrt(num)
    assert abs(np.std(moved) / expected - 1) < 6 / np.sqrt(2 * num)
    still = bayesian_mdn.langevin(jax.random.key(0), weights, grads, scales, eps, rows, 0.0)["w"]
    np.testing.assert_allclose(still, 1 - eps * scale * 2.0, rtol=1e-6)


@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1.0), (3.0, 0.5)])
def test_stationary_distribution_is_the_posterior(scale, temperature):
    """The mean of n Gaussian rows of deviation s under a prior N(0, 1/lambda): precision ``a = n / s^2 + lambda``, whatever G.

    20,000 chains of 400 steps, each forgetting more than a hundredth of its past; to 6 standard errors, with the step's known bias.
    """
    rows = np.random.default_rng(0).normal(0.7, 0.5, 40)
    n, s, prior, eps = rows.size, 0.5, 8.0, 0.01
    precision = n / s**2 + prior

    def step(weights, key):
        grads = (weights - rows.mean()) / s**2 + prior / n * weights  # of U/n
        return bayesian_mdn.langevin(key, weights, grads, jnp.full_like(weights, scale), eps, n, temperature), ()

    weights, _ = jax.jit(lambda keys: jax.lax.scan(step, jnp.zeros(20_000), keys))(
        jax.random.split(jax.random.key(1), 400)
    )
    variance = temperature / precision / (1 - eps * scale * precision / n / 2)
    mean = rows.sum() / s**2 / precision
    assert abs(np.mean(weights) - mean) < 6 * np.sqrt(variance / 20_000)
    assert abs(np.var(weights) / variance - 1) < 6 * np.sqrt(2 / 20_000)


def test_gradient_is_of_the_posterior_over_the_rows():
    """One identity step without noise: the gradient of mean NLL + lambda |w|^2 / (2 n), n = steps per epoch x batch."""
    data = batch()
    method = bayesian_mdn.make(bayesian_mdn.Config(SMALL), SPEC, Horizon(100, 5), optax.identity())
    hyper = method.hyper._replace(learning_rate=1.0, prior_precision=3.0)
    state = method.init(jax.random.key(0))
    after, _ = jax.jit(method.step)(state, data, hyper)

    def potential(weights):
        one = state.params._replace(generators=jax.tree.map(lambda w: jnp.stack([w] * 8), weights))
        square = sum(jnp.sum(w**2) for w in jax.tree.leaves(weights))
        return jnp.mean(-method.log_prob(one, data.obs, data.action)) + 3.0 * square / (2 * 5 * 16)

    start = jax.tree.map(lambda w: w[-1], state.params.generators)
    expected = jax.tree.map(lambda w, g: w - g, start, jax.grad(potential)(start))
    moved = jax.tree.map(lambda w: w[-1], after.params.generators)
    chex.assert_trees_all_close(moved, expected, atol=1e-6, rtol=1e-5)


def test_sampling_uses_the_frozen_preconditioner():
    """After burn-in the chain moves by ``langevin`` with v of the burn-in, which is the decayed mean square of its gradients."""
    data, last = batch(), {}
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda grads, state, params: (grads, grads)
    )
    method = bayesian_mdn.make(bayesian_mdn.Config(SMALL, num_networks=2, decay_every=8), SPEC, Horizon(8, 1), keep)
    step, state = jax.jit(method.step), method.init(jax.random.key(0))
    hyper = method.hyper._replace(temperature=0.0, learning_rate=0.1)
    mean, weight = jax.tree.map(lambda w: np.zeros(w.shape[1:]), state.params.generators), 0.0
    for index in range(7):
        before = jax.tree.map(lambda w: w[-1], state.params.generators)
        state, _ = step(state, data, hyper)
        grads = jax.tree.map(lambda g: np.asarray(g, np.float64), state.opt_state.optimizer)
        if index < 4:
            mean = jax.tree.map(lambda m, g: 0.99 * m + 0.01 * g**2, mean, grads)
            weight = 0.99 * weight + 0.01
            last = state.opt_state.square
        else:
            chex.assert_trees_all_equal(state.opt_state.square, last)
            expected = jax.tree.map(
                lambda w, g, m: w - 0.1 * g / (np.sqrt(m / weight) + 0.1),  # noqa: B023
                before, grads, mean,
            )  # fmt: skip
            moved = jax.tree.map(lambda w: w[-1], state.params.generators)
            chex.assert_trees_all_close(moved, expected, atol=1e-6, rtol=1e-4)


def test_the_chain_leaves_a_sample_at_the_end_of_every_interval():
    """20 steps, burn-in 8, 3 networks: samples after steps 12, 16 and 20."""
    method = bayesian_mdn.make(bayesian_mdn.Config(SMALL, num_networks=3, burn_in=0.4), SPEC, Horizon(20, 5))
    step, state = jax.jit(method.step), method.init(jax.random.key(0))
    chain = []
    for _ in range(20):
        state, _ = step(state, batch(), method.hyper)
        chain.append(np.asarray(jax.tree.leaves(state.params.generators)[0]))
    for place, when in enumerate((12, 16, 20)):
        np.testing.assert_array_equal(chain[-1][place], chain[when - 1][-1])
    assert all((weights == weights[:1]).all() for weights in chain[:12])  # until then every place holds the chain
    assert not np.array_equal(chain[10], chain[11])


def test_networks_of_an_ensemble_differ_in_start_and_in_noise():
    method = bayesian_mdn.make(bayesian_mdn.Config(SMALL, "ensemble", 3), SPEC, Horizon(20, 5), optax.identity())
    state = method.init(jax.random.key(0))
    first = jax.tree.leaves(state.params.generators)[0]
    assert np.unique(np.asarray(first[:, 0])).size == first[:, 0].size
    same = jax.tree.map(lambda w: jnp.broadcast_to(w[:1], w.shape), state.params.generators)
    same = state._replace(params=state.params._replace(generators=same))
    after, _ = jax.jit(method.step)(same, batch(), method.hyper._replace(learning_rate=1.0))
    moved = np.asarray(jax.tree.leaves(after.params.generators)[0])
    assert not np.array_equal(moved[0], moved[1]) and not np.array_equal(moved[1], moved[2])


@pytest.mark.parametrize("covariance", ["diagonal", "full", "tied"])
def test_predictive_density_is_the_mean_over_networks(covariance):
    config = bayesian_mdn.Config(GeneratorConfig(2, covariance, hidden=(8,)), "ensemble", 3)
    method = bayesian_mdn.make(config, SPEC._replace(action_low=(-1.0,) * 2, action_high=(1.0,) * 2), Horizon(1, 1))
    params = method.init(jax.random.key(0)).params
    obs = batch(4).obs
    action = jax.random.normal(jax.random.key(1), (5, 4, 2))
    mixture = method.mixture(params, obs)
    assert mixture.log_weights.shape == (4, 6)
    alone = bayesian_mdn.make(bayesian_mdn.Config(config.generator, "ensemble", 1), method_spec(2), Horizon(1, 1))
    each = [
        np.exp(alone.log_prob(params._replace(generators=jax.tree.map(lambda w, i=i: w[i : i + 1], params.generators)), obs, action))
        for i in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(np.exp(mixtures.log_prob(mixture, action)), np.mean(each, 0), rtol=1e-4)


def method_spec(action_dim):
    return Spec((-1.0,), (1.0,), (-1.0,) * action_dim, (1.0,) * action_dim)


def test_with_a_latent_every_network_is_drawn_from_equally():
    """Networks without scale and of constant means -1, 0, 1: counts within 6 deviations of a third."""
    generator = GeneratorConfig(1, latent_dim=1, hidden=(), covariance="fixed", fixed_scale=1e-6)
    method = bayesian_mdn.make(bayesian_mdn.Config(generator, "ensemble", 3), SPEC, Horizon(1, 1))
    assert method.mixture is None and method.log_prob is None
    zero = jax.tree.map(jnp.zeros_like, method.init(jax.random.key(0)).params)
    constant = jax.tree.map(lambda w: w, zero.generators)
    bias = constant["params"]["MLP_0"]["Dense_0"]["bias"]  # [3, logit and mean]
    constant["params"]["MLP_0"]["Dense_0"]["bias"] = bias.at[:, 1].set(jnp.asarray([-1.0, 0.0, 1.0]))
    draws = method.sample(jax.random.key(2), zero._replace(generators=constant), jnp.zeros((300, 1)), 20)[..., 0]
    counts = np.bincount(np.rint(np.asarray(draws)).astype(int).ravel() + 1, minlength=3)
    assert np.max(np.abs(counts - 2000)) < 6 * np.sqrt(6000 * 2 / 9)


def test_values_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="method.num_networks=0: needs at least 1"):
        bayesian_mdn.Config(num_networks=0)
    for fields in ({"independent_steps": 2}, {"start": "data"}):
        with pytest.raises(InputError, match="independent_steps=1 and start=network"):
            bayesian_mdn.Config(GeneratorConfig(**fields))
    for burn_in in (0.0, 1.0):
        with pytest.raises(InputError, match="burn_in=.*: needs a share between 0 and 1"):
            bayesian_mdn.Config(burn_in=burn_in)
