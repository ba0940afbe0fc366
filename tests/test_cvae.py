"""CVAE: its two losses, what a linear one converges to in closed form, and what its draws are distributed as."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.integrate
import scipy.stats

from ebgan_mdn_jax import denoisers, networks
from ebgan_mdn_jax.methods import cvae
from ebgan_mdn_jax.methods.base import in_data_units
from ebgan_mdn_jax.normalization import Normalization
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
NOISE, SCALE, STEPS = 0.8, 0.4, 1200


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (1.5, 0.3), (-0.7, 2.0)])
def test_kl_is_that_of_the_integral(mean, scale):
    q = scipy.stats.norm(mean, scale)
    low, high = mean - 12 * scale, mean + 12 * scale
    expected, _ = scipy.integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - scipy.stats.norm.logpdf(z)), low, high)
    kl = cvae.standard_normal_kl(jnp.asarray([[mean]]), jnp.log(jnp.asarray([[scale]])))
    np.testing.assert_allclose(kl, [expected], rtol=1e-5, atol=1e-6)


def test_kl_and_nll_add_up_over_dimensions():
    mean, scale, action = (np.random.default_rng(i).uniform(0.3, 2, (5, 3)) for i in range(3))
    one = sum(cvae.standard_normal_kl(*(jnp.asarray(x[:, i : i + 1]) for x in (mean, np.log(scale)))) for i in range(3))
    np.testing.assert_allclose(cvae.standard_normal_kl(jnp.asarray(mean), jnp.log(scale)), one, rtol=1e-5)
    expected = -scipy.stats.norm.logpdf(action, mean, scale).sum(-1)
    nll = cvae.gaussian_nll(*map(jnp.asarray, (action, mean, scale)))
    np.testing.assert_allclose(nll, expected, rtol=1e-5)


def linear(**fields):
    """Affine encoder and decoder, one latent."""
    config = cvae.Config(
        encoder_hidden=(), decoder_hidden=(), latent_dim=1, initial_scale=SCALE, decay_every=20, **fields
    )
    return cvae.make(config, SPEC, Horizon(STEPS, STEPS // 60))


@pytest.fixture(scope="module")
def data():
    """Rows of ``a = 0.5 - o + N(0, NOISE^2)``, with the residuals' moments exact."""
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (2000, 1))
    design = np.concatenate([np.ones_like(obs), obs], 1)
    residual = generator.normal(size=(2000, 1))
    residual -= design @ np.linalg.lstsq(design, residual, rcond=None)[0]
    residual *= NOISE / np.sqrt(np.mean(residual**2))
    return Batch(jnp.asarray(obs, jnp.float32), jnp.asarray(0.5 - obs + residual, jnp.float32))


def train(method, data, **hyper):
    """Parameters after training on all rows, and the mean info of the last 300 steps."""
    hyper = method.hyper._replace(learning_rate=0.03, learning_rate_decay=0.2, **hyper)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: method.step(s, data, hyper), s, length=STEPS))
    state, infos = run(method.init(jax.random.key(0)))
    return state.params, jax.tree.map(lambda x: float(jnp.mean(x[-300:])), infos)


@pytest.mark.parametrize("beta", [1.0, 2.0, 6.0])
def test_linear_optimum_and_posterior_collapse(data, beta):
    """Probabilistic PCA: with u = beta SCALE^2 the decoder's slope in z is sqrt(max(0, NOISE^2 - u)), the KL log(NOISE^2 / u) / 2.

    At beta = 1 the bound is tight: the loss is the entropy of the residuals. At beta = 6, u > NOISE^2, and the latent is dead.
    """
    params, info = train(linear(scale="fixed"), data, beta=beta)
    kernel = np.ravel(params.weights.decoder["params"]["Dense_0"]["kernel"])
    u = beta * SCALE**2
    assert abs(kernel[0]) == pytest.approx(np.sqrt(max(0.0, NOISE**2 - u)), abs=0.03)
    assert kernel[1] == pytest.approx(-1.0, abs=0.03)
    assert info.kl == pytest.approx(max(0.0, 0.5 * np.log(NOISE**2 / u)), abs=0.02)
    if beta == 1.0:
        assert info.loss == pytest.approx(scipy.stats.norm(0, NOISE).entropy(), abs=0.01)
    assert info.loss == pytest.approx(info.reconstruction + beta * info.kl, rel=1e-5)
    assert info.scale == pytest.approx(SCALE)


def test_draws_have_the_spread_of_latent_and_decoder(data):
    """The bound is tight for every learned scale, so draws are N(0.5 - o, NOISE^2) whatever it is; means lack the decoder's part."""
    params, info = train(linear(), data)
    assert 0.05 < info.scale < NOISE + 0.02
    obs = jnp.full((1, 1), 0.3)
    spread = {}
    for how in ("sample", "mean"):
        method = linear(sample_by=how, act_by=how)
        draws = np.ravel(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, obs, 4000))
        acts = np.ravel(jax.jit(method.act)(jax.random.key(2), params, jnp.full((4000, 1), 0.3)))
        spread[how] = draws.std()
        assert draws.mean() == pytest.approx(0.2, abs=0.08)
        assert scipy.stats.ks_2samp(draws, acts).pvalue > 1e-6
    assert spread["sample"] == pytest.approx(NOISE, rel=0.08)
    np.testing.assert_allclose(spread["mean"] ** 2 + info.scale**2, NOISE**2, rtol=0.15)


def test_learned_deviations_start_as_told_and_keep_their_floor():
    method = linear()
    params = method.init(jax.random.key(0)).params
    np.testing.assert_allclose(np.exp(params.weights.log_scale), SCALE, rtol=1e-6)
    data = Batch(jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    state, info = method.step(method.init(jax.random.key(0)), data, method.hyper._replace(scale_floor=0.5))
    assert float(info.scale) == pytest.approx(SCALE + 0.5)
    assert float(state.params.scale_floor) == pytest.approx(0.5)  # what inference must use


@pytest.mark.parametrize(("loss", "of_error"), [("l1", np.abs), ("squared", np.square)])
def test_losses_are_means_over_an_actions_elements(loss, of_error):
    """Biases alone, so that every code decodes to 0.3, and the posterior is N(0.5, 2^2)."""
    spec = Spec((0.0,), (0.0,), (-1.0,) * 3, (1.0,) * 3)
    config = cvae.Config((), (), latent_dim=1, reconstruction=loss)
    method = cvae.make(config, spec, Horizon(10, 1))
    state = method.init(jax.random.key(0))
    weights = jax.tree.map(jnp.zeros_like, state.params.weights)
    weights.encoder["params"]["Dense_0"]["bias"] = jnp.asarray([0.5, np.log(2)], jnp.float32)
    weights.decoder["params"]["Dense_0"]["bias"] = jnp.full(3, 0.3)
    state = state._replace(params=state.params._replace(weights=weights))
    action = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    batch = Batch(jnp.zeros((5, 1)), jnp.asarray(action))
    _, info = jax.jit(method.step)(state, batch, method.hyper._replace(beta=10.0))
    assert float(info.reconstruction) == pytest.approx(np.mean(of_error(action - 0.3)), rel=1e-5)
    kl = 0.5 * (0.25 + 4 - 1 - np.log(4))
    assert float(info.kl) == pytest.approx(kl, rel=1e-5)
    assert float(info.loss) == pytest.approx(float(info.reconstruction) + 10 * kl, rel=1e-5)
    assert float(info.scale) == 0.0


@pytest.mark.parametrize("changes", [{"regulariser": "mmd"}, {"regulariser": "sinkhorn"}, {"prior": "flow"}])
def test_a_split_batch_trains_as_the_whole_does(changes):
    config = cvae.Config((8,), (8,), reconstruction="l1", **changes)
    method = cvae.make(config, SPEC, Horizon(10, 1), optax.identity())
    state, hyper = method.init(jax.random.key(0)), method.hyper._replace(beta=5.0)
    whole = Batch(*np.random.default_rng(0).normal(size=(2, 12, 1)).astype(np.float32))
    alone, info = jax.jit(method.step)(state, whole, hyper)
    if "regulariser" in changes:
        assert float(info.loss) != pytest.approx(float(info.reconstruction + 5 * info.kl), rel=1e-3)
    parts = jax.tree.map(lambda x: x.reshape(3, 4, 1), whole)
    split, infos = jax.jit(jax.vmap(lambda part: method.step(state, part, hyper, "batch"), axis_name="batch"))(parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, atol=1e-6), split.params, alone.params)
    np.testing.assert_allclose(infos.loss, jnp.full(3, info.loss), rtol=1e-4)


def test_deployed_with_zero_it_decodes_zero():
    """And the latents that evaluation sees are those of training; a decoder without deviations draws their decoded prior."""
    config = cvae.Config((8,), (8,), reconstruction="l1", sample_by="sample", act_by="zero")
    method = cvae.make(config, SPEC, Horizon(10, 1))
    params, obs = method.init(jax.random.key(0)).params, jnp.linspace(-1, 1, 3)[:, None]
    zero = method.latents.decode(params, jnp.zeros((3, 2)), obs)
    for seed in range(2):
        np.testing.assert_array_equal(method.act(jax.random.key(seed), params, obs), zero)
    latent = jax.random.normal(jax.random.split(jax.random.key(5))[0], (4, 3, 2))
    np.testing.assert_array_equal(
        method.sample(jax.random.key(5), params, obs, 4), method.latents.decode(params, latent, obs)
    )
    assert len(np.unique(method.sample(jax.random.key(5), params, obs, 4))) == 12


def test_the_rate_is_the_kl_to_the_learned_prior():
    """By numerical integration, of what the two networks say; and what is drawn with z = 0 comes from the prior's mean."""
    config = cvae.Config((8,), (8,), latent_dim=1, prior="learned", act_by="zero")
    params = cvae.make(config, SPEC, Horizon(10, 1)).init(jax.random.key(0)).params
    weights = jax.tree.map(lambda x: 2 * x, params.weights)
    params = params._replace(weights=weights)
    method, plain = (
        cvae.make(c, SPEC, Horizon(10, 1)) for c in (config, dataclasses.replace(config, prior="standard"))
    )
    obs, action = jnp.asarray([[0.4], [-0.8]]), jnp.asarray([[0.7], [0.1]])
    mean, log_scale = plain.latents.encode(params, obs, action)  # in the encoder's own units
    prior = networks.MLP((8,), 2, config.init).apply(weights.prior, obs)
    for row in range(2):
        q = scipy.stats.norm(float(mean[row, 0]), float(jnp.exp(log_scale[row, 0])))
        p = scipy.stats.norm(float(prior[row, 0]), float(jnp.exp(prior[row, 1])))
        expected = scipy.integrate.quad(
            lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), *q.interval(1 - 1e-12)
        )
        np.testing.assert_allclose(method.latents.rate(params, obs, action)[row], expected[0], rtol=1e-4, atol=1e-5)
    at_mean = plain.latents.decode(params, prior[:, :1], obs)
    np.testing.assert_allclose(method.act(jax.random.key(0), params, obs), at_mean, rtol=1e-5)
    draws = method.latents.decode(params, jnp.ones((2, 1)), obs)
    expected = plain.latents.decode(params, prior[:, :1] + jnp.exp(prior[:, 1:]), obs)
    np.testing.assert_allclose(draws, expected, rtol=1e-5)


def test_a_flow_draws_the_codes_that_its_encoder_makes():
    """Codes of actions +-0.5 lie in two lumps, beta being small, where N(0, I) has most of its draws between them."""
    sign = np.random.default_rng(0).choice([-0.5, 0.5], (256, 1), p=[0.3, 0.7]).astype(np.float32)
    batch = Batch(jnp.linspace(-1, 1, 256)[:, None], jnp.asarray(sign))
    off = {}
    for prior in ("standard", "flow"):
        config = cvae.Config((32, 32), (32, 32), latent_dim=1, reconstruction="l1", prior=prior, decay_every=200)
        method = cvae.make(config, SPEC, Horizon(1500, 1))
        hyper = method.hyper._replace(learning_rate=5e-3, beta=1e-3)
        run = jax.jit(lambda s, m=method, h=hyper: jax.lax.fori_loop(0, 1500, lambda _, s: m.step(s, batch, h)[0], s))
        state = run(method.init(jax.random.key(0)))
        draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), state.params, batch.obs, 20))
        off[prior] = np.mean(np.abs(np.abs(draws) - 0.5) > 0.1)
        info = method.step(state, batch, hyper)[1]
        assert float(info.loss) == pytest.approx(float(info.reconstruction + 1e-3 * info.kl), rel=1e-5)
        assert method.num_evaluations == (21 if prior == "flow" else 1) and (float(info.flow) > 0) == (prior == "flow")
    assert off["flow"] < 0.1 < 0.2 < off["standard"]
    assert np.mean(draws > 0) == pytest.approx(0.7, abs=0.1)


def test_a_flow_changes_nothing_else():
    """Encoder and decoder learn what they would without it, and it takes as many steps as told."""
    configs = [cvae.Config((8,), (8,), prior=prior, flow_steps=1) for prior in ("standard", "flow")]
    methods = [cvae.make(config, SPEC, Horizon(10, 1)) for config in configs]
    batch = Batch(*np.random.default_rng(0).normal(size=(2, 6, 1)).astype(np.float32))
    states = [method.step(method.init(jax.random.key(0)), batch, method.hyper)[0] for method in methods]
    plain, flowing = (state.params.weights for state in states)
    jax.tree.map(np.testing.assert_array_equal, plain._replace(prior=()), flowing._replace(prior=()))
    noise = jax.random.normal(jax.random.split(jax.random.key(5))[0], (1, 6, 2))
    velocity = denoisers.DenoisingMLP((8,), 8).apply(flowing.prior, batch.obs, noise, jnp.zeros((1, 6)))
    method = cvae.make(dataclasses.replace(configs[1], sample_by="mean"), SPEC, Horizon(10, 1))
    np.testing.assert_allclose(
        method.sample(jax.random.key(5), states[1].params, batch.obs, 1),
        method.latents.decode(states[1].params, noise + velocity, batch.obs),
        rtol=1e-5,
    )


def test_latents_in_data_units():
    normalization = Normalization((10.0,), (2.0,), (5.0,), (3.0,))
    inner = linear()
    outer = in_data_units(inner, normalization)
    params, obs, action = (
        inner.init(jax.random.key(0)).params,
        jnp.asarray([[0.3], [-1.0]]),
        jnp.asarray([[0.7], [0.1]]),
    )
    data_obs, data_action = normalization.obs_to_data(obs), normalization.action_to_data(action)
    ours, expected = outer.latents.encode(params, data_obs, data_action), inner.latents.encode(params, obs, action)
    np.testing.assert_allclose(ours[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(ours[1], expected[1], atol=1e-5)
    np.testing.assert_allclose(
        outer.latents.rate(params, data_obs, data_action), cvae.standard_normal_kl(*expected), rtol=1e-4
    )
    np.testing.assert_allclose(
        outer.latents.decode(params, expected[0], data_obs),
        normalization.action_to_data(inner.latents.decode(params, expected[0], obs)),
        rtol=1e-5,
    )


def test_a_latent_tells_two_modes_apart():
    """Actions are +-0.5 at every observation: draws are near both, in about equal shares, and seldom between."""
    sign = np.random.default_rng(0).choice([-0.5, 0.5], (256, 1)).astype(np.float32)
    method = cvae.make(
        cvae.Config(encoder_hidden=(32,), decoder_hidden=(32,), decay_every=20), SPEC, Horizon(1000, 100)
    )
    batch = Batch(jnp.linspace(-1, 1, 256)[:, None], jnp.asarray(sign))
    hyper = method.hyper._replace(learning_rate=5e-3)
    run = jax.jit(lambda s: jax.lax.fori_loop(0, 1000, lambda _, s: method.step(s, batch, hyper)[0], s))
    params = run(method.init(jax.random.key(0))).params
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, batch.obs, 20))
    assert np.mean(np.abs(np.abs(draws) - 0.5) < 0.1) > 0.75
    assert 0.35 < np.mean(draws > 0) < 0.65


def test_every_step_draws_its_own_noise():
    method = cvae.make(cvae.Config(), SPEC, Horizon(10, 1), optax.identity())
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    step = jax.jit(lambda state: method.step(state, batch, method.hyper)[1].reconstruction)
    assert step(state) == step(state)
    assert step(state) != step(state._replace(step=state.step + 1))


@pytest.mark.parametrize(
    "fields",
    [{"latent_dim": 0}, {"flow_steps": 0}, {"decay_every": -1}, {"initial_scale": 0.0}, {"decoder_hidden": (0,)}],
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        cvae.Config(**fields)
