"""cGAN: the best discriminator and critic against a frozen generator, where each loss sends gradients, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats

from ebgan_mdn_jax.methods import adversary, cgan
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
KEY = jax.random.key(3)
ROWS = 2000


def frozen(loss, penalty):
    """A linear discriminator after training against the frozen generator ``N(o, 1)``; data are ``N(o + 1, 1)``."""
    config = cgan.Config((), 1, (), loss=loss, penalty=penalty, discriminator_steps=30)
    method = cgan.make(config, SPEC, Horizon(30, 1))
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (ROWS, 1)).astype(np.float32)
    noise = generator.normal(size=(ROWS, 1)).astype(np.float32)
    batch = Batch(jnp.asarray(obs), jnp.asarray(obs + 1 + (noise - noise.mean()) / noise.std()))
    state = jax.jit(method.init)(jax.random.key(0))
    weights = {"params": {"Dense_0": {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}}}
    logit = jax.tree.map(lambda x: jnp.full_like(x, 0.2), state.params.discriminator)
    state = state._replace(params=cgan.Params(weights, logit))
    hyper = method.hyper._replace(
        discriminator_learning_rate=0.05, generator_learning_rate=0.0, learning_rate_decay=0.1, penalty_weight=2.0
    )
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: method.step(s, batch, hyper), s, length=30))
    state, infos = run(state)
    layer = state.params.discriminator["params"]["MLP_0"]["Dense_0"]
    return np.ravel(layer["kernel"]), float(layer["bias"][0]), jax.tree.map(lambda x: float(x[-1]), infos)


def test_the_best_discriminator_is_the_log_density_ratio():
    """``log N(a; o + 1, 1) - log N(a; o, 1) = a - o - 1 / 2``, and its loss ``2 log 2 - 2 JS`` by quadrature."""
    kernel, bias, info = frozen("non_saturating", "none")
    np.testing.assert_allclose([*kernel, bias], [-1.0, 1.0, -0.5], atol=0.12)
    x = np.linspace(-8, 9, 20_001)
    real, generated = (np.exp(-0.5 * (x - mean) ** 2) / np.sqrt(2 * np.pi) for mean in (1.0, 0.0))
    softplus = np.logaddexp(0, -(x - 0.5)), np.logaddexp(0, x - 0.5)
    expected = np.sum(real * softplus[0] + generated * softplus[1]) * (x[1] - x[0])
    assert info.discriminator_loss == pytest.approx(expected, abs=0.03)
    assert info.penalty == 0.0


@pytest.mark.parametrize("penalty", ["real", "interpolated"])
def test_the_best_penalised_critic_has_the_slope_that_its_weight_allows(penalty):
    """Slope s earns s * 1 (the shift) and costs w (s - 1)^2, so the best is 1 + 1 / (2 w), here 1.25.

    Found from a positive slope: a negative one would have to pass the penalty of a flat critic.
    """
    kernel, _, info = frozen("wasserstein", penalty)
    assert kernel[1] == pytest.approx(1.25, abs=0.04)
    assert info.penalty == pytest.approx(0.25**2, abs=0.02)
    assert info.real_logit - info.generated_logit == pytest.approx(1.25, abs=0.1)


# Loss terms, of a logit that can note the actions it is asked about


def cubic(theta, obs, action):
    return theta * jnp.sum(action**3 - jnp.broadcast_to(obs, action.shape), axis=-1)


BATCH = Batch(jnp.asarray([[-0.5], [0.0], [0.9]]), jnp.asarray([[0.4], [3.0], [-0.7]]))
THETA = jnp.asarray(0.6)


def terms_and_weights(logit=cubic, **fields):
    config = cgan.Config((), 1, (), **fields)
    generator = adversary.make_generator((), 1, "torch", SPEC)
    weights = {"params": {"Dense_0": {"kernel": jnp.asarray([[0.3], [0.5]]), "bias": jnp.asarray([0.1])}}}
    return cgan.make_losses(config, generator, logit), generator, weights


def draws_of(generator, weights, key):
    return np.asarray(
        generator.row_sample(weights, BATCH.obs, jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(3)))
    )


@pytest.mark.parametrize("loss", ["non_saturating", "wasserstein"])
def test_losses_are_the_textbook_ones(loss):
    """In NumPy, with sigmoids, from the same draws."""
    terms, generator, weights = terms_and_weights(loss=loss, penalty="real")
    total, (penalty, real, generated) = terms.discriminator(THETA, weights, BATCH, KEY, 0.5)
    on_real = np.asarray(cubic(0.6, BATCH.obs, BATCH.action))
    key_generator, _ = jax.random.split(KEY)
    on_draws = np.asarray(cubic(0.6, BATCH.obs, draws_of(generator, weights, key_generator)))
    slopes = 0.6 * 3 * np.asarray(BATCH.action) ** 2
    assert float(penalty) == pytest.approx(np.mean((slopes - 1) ** 2), rel=1e-5)
    expected = np.mean(on_draws - on_real)
    if loss == "non_saturating":
        expected = -np.mean(np.log(scipy.special.expit(on_real)) + np.log(1 - scipy.special.expit(on_draws)))
    assert float(total) == pytest.approx(expected + 0.5 * float(penalty), rel=1e-4)
    assert float(real) == pytest.approx(float(np.mean(on_real)), rel=1e-5)
    assert float(generated) == pytest.approx(float(np.mean(on_draws)), rel=1e-5)

    value, _ = terms.generator(weights, THETA, BATCH, KEY)
    on_draws = np.asarray(cubic(0.6, BATCH.obs, draws_of(generator, weights, jax.random.split(KEY)[0])))
    expected = -np.mean(on_draws if loss == "wasserstein" else np.log(scipy.special.expit(on_draws)))
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_each_loss_trains_its_own_network_and_the_generator_goes_uphill():
    for loss in ("non_saturating", "wasserstein"):
        terms, _, weights = terms_and_weights(loss=loss, penalty="interpolated")

        def gradients(fn, weights=weights):
            return jax.jit(jax.grad(fn, argnums=(0, 1)))(weights, THETA)

        of_discriminator = gradients(lambda w, t, terms=terms: terms.discriminator(t, w, BATCH, KEY, 1.0)[0])
        of_generator = gradients(lambda w, t, terms=terms: terms.generator(w, t, BATCH, KEY)[0])
        assert of_discriminator[1] != 0 and of_generator[1] == 0
        assert all(np.all(g == 0) for g in jax.tree.leaves(of_discriminator[0]))
        assert of_generator[0]["params"]["Dense_0"]["bias"][0] < 0  # the logit grows with the action


def test_a_sure_discriminator_still_has_a_gradient():
    """Where sigmoid rounds to 0, ``log(sigmoid + 1e-10)`` is flat."""
    terms, _, weights = terms_and_weights()
    move = jax.grad(lambda w: terms.generator(w, jnp.asarray(-4e3), BATCH, KEY)[0])(weights)
    assert abs(move["params"]["Dense_0"]["bias"][0]) > 1.0


def test_interpolated_points_lie_between_data_and_draws():
    seen = []

    def logit(theta, obs, action):
        jax.debug.callback(lambda value: seen.append(np.asarray(value)), action)
        return cubic(theta, obs, action)

    terms, generator, weights = terms_and_weights(logit, penalty="interpolated")
    shares = []
    for seed in range(60):
        seen.clear()
        key = jax.random.key(seed)
        terms.discriminator(THETA, weights, BATCH, key, 1.0)
        jax.effects_barrier()
        drawn = draws_of(generator, weights, jax.random.split(key)[0])
        points = next(value for value in seen if value.ndim == 2)
        shares.append((points - drawn) / (np.asarray(BATCH.action) - drawn))
    shares = np.ravel(shares)
    assert np.all((shares >= -1e-4) & (shares <= 1 + 1e-4)) and len(np.unique(shares)) == shares.size
    assert scipy.stats.kstest(shares, "uniform").pvalue > 1e-6


def test_gradient_penalty_in_two_dimensions_and_where_the_logit_is_flat():
    action = jnp.asarray([[0.3, 0.4], [0.0, 0.0], [3.0, -4.0]])
    obs = jnp.zeros((3, 1))

    def bowl(action):
        return cgan.gradient_penalty(lambda obs, a: 0.5 * jnp.sum(a**2, -1), obs, action)

    np.testing.assert_allclose(bowl(action), [0.25, 1.0, 16.0], rtol=1e-5)
    slope = jax.jit(jax.grad(lambda a: jnp.sum(bowl(a))))(action)  # 2 (|a| - 1) a / |a|
    np.testing.assert_allclose(slope, [[-0.6, -0.8], [0.0, 0.0], [4.8, -6.4]], rtol=1e-5)


def test_against_each_other_they_learn_a_shifted_gaussian():
    """Affine generator, data ``N(0.5 - o, 0.3^2)``: mean, slope and deviation are found."""
    config = cgan.Config((), 1, (32,), discriminator_steps=5, penalty="none", decay_every=20)
    method = cgan.make(config, SPEC, Horizon(400, 20))
    generator = np.random.default_rng(1)
    obs = generator.uniform(-1, 1, (256, 1)).astype(np.float32)
    batch = Batch(jnp.asarray(obs), jnp.asarray(0.5 - obs + 0.3 * generator.normal(size=obs.shape).astype(np.float32)))
    hyper = method.hyper._replace(
        discriminator_learning_rate=3e-2, generator_learning_rate=1e-2, learning_rate_decay=0.1
    )
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: method.step(s, batch, hyper), s, length=400))
    state, infos = run(jax.jit(method.init)(jax.random.key(0)))
    layer = jax.tree.map(np.ravel, state.params.generator["params"]["Dense_0"])
    np.testing.assert_allclose(
        [abs(layer["kernel"][0]), layer["kernel"][1], layer["bias"][0]], [0.3, -1.0, 0.5], atol=0.12
    )
    crps = 0.3 / np.sqrt(np.pi)  # the mean CRPS of the true Gaussian
    assert np.mean(infos.energy_score[-50:]) < 1.1 * crps < 2 * crps < np.mean(infos.energy_score[:5])


def test_every_step_draws_its_own_noise():
    method = cgan.make(cgan.Config(discriminator_steps=2), SPEC, Horizon(10, 1), optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    step = jax.jit(lambda state: method.step(state, BATCH, method.hyper)[1])
    assert step(state) == step(state)
    assert step(state).generated_logit != step(state._replace(step=state.step + 1)).generated_logit


@pytest.mark.parametrize(
    "fields",
    [
        {"latent_dim": -1},
        {"discriminator_steps": 0},
        {"generator_hidden": (0,)},
        {"loss": "wasserstein", "penalty": "none"},
    ],
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}=") as error:
        cgan.Config(**fields)
    assert "\n" not in str(error.value)
