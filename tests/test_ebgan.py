"""EBGAN: its loss terms on closed-form energies, one step by hand, and what its generator is driven to."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from ebgan_mdn_jax.methods import adversary, ebgan
from ebgan_mdn_jax.methods.base import Transport
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
B, N, ALPHA = 5, 6, 0.4
KEY = jax.random.key(11)
THETA = jnp.asarray(1.5)
BATCH = Batch(jnp.linspace(-0.8, 0.8, B)[:, None], jnp.asarray([[-0.9], [0.1], [1.2], [0.5], [-0.3]]))
CONFIG = ebgan.Config(
    generator_hidden=(), energy_hidden=(4,), num_negatives=N, energy_steps=2, decay_every=1, num_candidates=128
)


def quadratic(theta, obs, action):
    return theta * jnp.sum((action - jnp.broadcast_to(obs, action.shape)) ** 2, axis=-1)


@pytest.fixture(scope="module")
def linear():
    """``G = 0.3 z_0 - 0.2 z_1 + 0.5 o + 0.1``, and its weights."""
    generator = adversary.make_generator((), 2, "torch", SPEC)
    weights = generator.init(jax.random.key(0))
    layer = {"kernel": jnp.asarray([[0.3], [-0.2], [0.5]]), "bias": jnp.asarray([0.1])}
    return generator, jax.tree.unflatten(jax.tree.structure(weights), [layer["bias"], layer["kernel"]])


def test_draws_push_a_normal_latent_through_the_network(linear):
    generator, weights = linear
    obs = jnp.full((2000, 1), 0.4)
    rows, other = jax.jit(lambda o: adversary.draw_pair(KEY, generator, weights, o))(obs)
    many = jax.jit(Transport(2, generator.apply).draw, static_argnums=3)(KEY, weights, obs[:4], 500)
    assert many.shape == (500, 4, 1)
    expected = scipy.stats.norm(0.3, np.sqrt(0.13)).cdf
    for draws in (rows, other, many):
        assert scipy.stats.kstest(np.ravel(draws), expected).pvalue > 1e-6
    assert scipy.stats.pearsonr(np.ravel(rows), np.ravel(other)).pvalue > 1e-6


def test_without_a_latent_there_is_one_action_per_observation():
    generator = adversary.make_generator((8,), 0, "torch", SPEC)
    draws = Transport(0, generator.apply).draw(KEY, generator.init(jax.random.key(0)), BATCH.obs, 7)
    # Equal rows of one matrix product may differ in the last bit, by where they fall in its blocks.
    np.testing.assert_allclose(draws, np.broadcast_to(draws[:1], draws.shape), rtol=1e-6)


def test_energy_loss_is_info_nce_with_uniform_negatives_and_a_draw(linear):
    generator, weights = linear
    seen = []

    def energy(theta, obs, action):
        jax.debug.callback(lambda value: seen.append(np.asarray(value, np.float64)), action)
        return quadratic(theta, obs, action)

    terms = ebgan.make_losses(CONFIG, SPEC, generator, energy)
    loss, (positive, negative) = jax.block_until_ready(jax.jit(terms.energy)(THETA, weights, BATCH, KEY, ALPHA))
    jax.effects_barrier()
    (actions,) = seen
    assert actions.shape == (1 + N + 1, B, 1)
    np.testing.assert_array_equal(actions[0], BATCH.action)
    assert np.all(np.abs(actions[1:-1]) <= 1) and len(np.unique(actions)) == (N + 2) * B
    key_generator, _ = jax.random.split(KEY)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key_generator, jnp.arange(B))
    np.testing.assert_allclose(actions[-1], generator.row_sample(weights, BATCH.obs, keys), rtol=1e-5)
    energies = 1.5 * np.sum((actions - np.asarray(BATCH.obs)) ** 2, -1)
    terms = np.exp(-energies) * np.r_[np.ones(1 + N), ALPHA][:, None]
    assert float(loss) == pytest.approx(np.mean(-np.log(terms[0] / terms.sum(0))), rel=1e-5)
    assert float(positive) == pytest.approx(energies[0].mean(), rel=1e-5)
    assert float(negative) == pytest.approx(energies[1:-1].mean(), rel=1e-5)


def test_each_loss_trains_its_own_network(linear):
    generator, weights = linear
    terms = ebgan.make_losses(CONFIG, SPEC, generator, quadratic)

    def gradients(loss):
        return jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, THETA)

    of_energy = gradients(lambda w, t: terms.energy(t, w, BATCH, KEY, ALPHA)[0])
    of_generator = gradients(lambda w, t: terms.generator(w, t, BATCH, KEY)[0])
    assert of_energy[1] != 0 and all(np.all(g == 0) for g in jax.tree.leaves(of_energy[0]))
    assert of_generator[1] == 0 and all(np.all(g != 0) for g in jax.tree.leaves(of_generator[0]))


def test_generator_loss_is_the_expected_energy(linear):
    """``theta E (G - o)^2`` in closed form over 4,000 equal rows, within 5 standard errors; the score likewise (CRPS of a Gaussian)."""
    generator, weights = linear
    batch = Batch(jnp.full((4000, 1), 0.4), jnp.full((4000, 1), 0.2))
    terms = ebgan.make_losses(CONFIG, SPEC, generator, quadratic)
    value, score = jax.jit(terms.generator)(weights, THETA, batch, KEY)
    bias, variance = -0.1, 0.13
    error = np.sqrt((2 * variance**2 + 4 * bias**2 * variance) / 4000)
    assert float(value) == pytest.approx(1.5 * (bias**2 + variance), abs=5 * 1.5 * error)
    sigma, z = np.sqrt(variance), (0.2 - 0.3) / np.sqrt(variance)
    normal = scipy.stats.norm
    crps = sigma * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi))
    assert float(score) == pytest.approx(crps, abs=5 * sigma / np.sqrt(4000))


def test_a_step_descends_the_losses_in_order():
    """R energy updates with the old generator, then one generator update against the new energy."""
    method = ebgan.make(CONFIG, SPEC, Horizon(100, 10), optimizer=optax.identity())
    state = jax.jit(method.init)(jax.random.key(5))._replace(step=jnp.asarray(25))  # epoch 2: alpha 0.8, rates / 4
    hyper = method.hyper._replace(energy_learning_rate=0.4, generator_learning_rate=0.2)
    new, info = jax.jit(method.step)(state, BATCH, hyper)
    generator = adversary.make_generator((), 2, "torch", SPEC)

    def network(params, obs, action):
        return method.energy(state.params._replace(energy=params), obs, action)

    terms = ebgan.make_losses(CONFIG, SPEC, generator, network)
    key_energy, key_generator = jax.random.split(jax.random.fold_in(state.key, 25))

    @jax.jit
    def by_hand(params):
        energy, weights, logged = params.energy, params.generator, []
        for key in jax.random.split(key_energy, 2):
            (loss, _), grads = jax.value_and_grad(terms.energy, has_aux=True)(energy, weights, BATCH, key, 0.8)
            energy = jax.tree.map(lambda p, g: p - 0.1 * g, energy, grads)
            logged.append(loss)
        (value, _), grads = jax.value_and_grad(terms.generator, has_aux=True)(weights, energy, BATCH, key_generator)
        return jax.tree.map(lambda p, g: p - 0.05 * g, weights, grads), energy, (sum(logged) / 2, value)

    weights, energy, (loss, value) = by_hand(state.params)
    for ours, reference, old in (
        (new.params.generator, weights, state.params.generator),
        (new.params.energy, energy, state.params.energy),
    ):
        moved = jax.tree.map(lambda a, b: float(jnp.max(jnp.abs(a - b))), ours, old)
        assert max(jax.tree.leaves(moved)) > 1e-3
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), ours, reference)
    assert float(info.energy_loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(info.generator_energy) == pytest.approx(float(value), rel=1e-5)
    assert float(info.alpha) == pytest.approx(0.8)


def test_against_a_frozen_energy_the_generator_collapses_to_its_minimum():
    """``E = |a| + ...`` of fixed ReLUs is least at a = 0.25 for every observation: so is the generator, whatever z."""
    config = ebgan.Config(generator_hidden=(16,), energy_hidden=(2,), energy_steps=1, num_negatives=2)
    method = ebgan.make(config, SPEC, Horizon(600, 60))
    state = jax.jit(method.init)(jax.random.key(0))
    layers = jax.tree.map(jnp.zeros_like, state.params.energy)
    mlp = layers["params"]["MLP_0"]
    mlp["Dense_0"] = {"kernel": jnp.asarray([[0.0, 0.0], [1.0, -1.0]]), "bias": jnp.asarray([-0.25, 0.25])}
    mlp["Dense_1"]["kernel"] = jnp.ones((2, 1))
    state = state._replace(params=state.params._replace(energy=layers))
    hyper = method.hyper._replace(energy_learning_rate=0.0, generator_learning_rate=3e-3)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: method.step(s, BATCH, hyper), s, length=600))
    after, infos = run(state)
    assert np.mean(infos.generator_energy[-50:]) < 0.02 < 0.1 < np.mean(infos.generator_energy[:20])
    draws = jax.jit(method.sample, static_argnums=3)(KEY, after.params, BATCH.obs, 200)
    np.testing.assert_allclose(draws, np.full(draws.shape, 0.25), atol=0.1)


def test_rerank_acts_by_the_lowest_energy():
    """``E = a`` and draws N(0.2, 0.5^2): the least of 128, whose distribution is known."""
    config = ebgan.Config(
        generator_hidden=(), latent_dim=1, energy_hidden=(), num_candidates=128, sample_by="rerank", act_by="rerank"
    )
    method = ebgan.make(config, SPEC, Horizon(1, 1))
    params = jax.tree.map(jnp.zeros_like, jax.jit(method.init)(jax.random.key(0)).params)
    params.generator["params"]["Dense_0"] = {"kernel": jnp.asarray([[0.5], [0.0]]), "bias": jnp.asarray([0.2])}
    params.energy["params"]["MLP_0"]["Dense_0"]["kernel"] = jnp.asarray([[0.0], [1.0]])
    action = np.ravel(jax.jit(method.act)(KEY, params, jnp.zeros((1000, 1))))
    assert scipy.stats.kstest(action, lambda v: 1 - scipy.stats.norm.sf(v, 0.2, 0.5) ** 128).pvalue > 1e-6
    draws = jax.jit(method.sample, static_argnums=3)(KEY, params, jnp.zeros((2, 1)), 7)
    assert draws.shape == (7, 2, 1) and len(np.unique(draws)) == 14  # candidates are not shared


@pytest.mark.parametrize(
    "fields", [{"latent_dim": -1}, {"energy_steps": 0}, {"num_negatives": 0}, {"energy_hidden": (0,)}]
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        ebgan.Config(**fields)
