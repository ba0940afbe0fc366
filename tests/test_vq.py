"""The vector-quantised policy: gradients in closed form, what it draws, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.stats

from ebgan_mdn_jax.methods import codebook, vq
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0, -1.0), (1.0, 1.0))
PROBS = np.asarray([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])  # of 3 codes on 2 levels


def dense(params, kernel=None, bias=None):
    """The weights of an affine network, changed."""
    ((name, layer),) = params["params"].items()
    changed = {"kernel": layer["kernel"] if kernel is None else kernel, "bias": layer["bias"] if bias is None else bias}
    return {"params": {name: changed}}


def affine(**fields):
    """A method whose networks are affine maps, and params of given codes and offsets with `PROBS` at every observation."""
    config = vq.Config(num_codes=3, num_levels=2, encoder_hidden=(), decoder_hidden=(), hidden=(), **fields)
    method = vq.make(config, SPEC, Horizon(10, 1), optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    generator = np.random.default_rng(0)
    codes = generator.normal(size=state.params.codes.shape).astype(np.float32)
    offsets = generator.normal(size=(2, 3, 2)).astype(np.float32)
    outputs = np.concatenate([np.log(PROBS)[..., None], offsets], axis=-1).reshape(-1).astype(np.float32)
    policy = dense(state.params.weights.policy, kernel=jnp.zeros((1, outputs.size)), bias=jnp.asarray(outputs))
    params = vq.Params(state.params.weights._replace(policy=policy), jnp.asarray(codes))
    return method, state._replace(params=params), codes, offsets


def test_draws_are_sums_of_codes_and_their_offsets_by_probability():
    """Counts of all 9 pairs of codes: chi-squared, false alarm 1e-6."""
    method, state, codes, offsets = affine()
    draws = np.asarray(
        jax.jit(method.sample, static_argnums=3)(jax.random.key(1), state.params, jnp.zeros((2, 1)), 3000)
    ).reshape(-1, 2)
    actions = (codes[0] + offsets[0])[:, None] + (codes[1] + offsets[1])[None]
    apart = np.abs(draws[:, None] - actions.reshape(1, 9, 2)).max(-1)
    assert np.all(apart.min(1) < 1e-5)
    counts = np.bincount(apart.argmin(1), minlength=9)
    expected = 6000 * (PROBS[0][:, None] * PROBS[1][None]).reshape(-1)
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-6


def test_the_mode_takes_the_likeliest_codes_and_a_decoder_decodes_their_sum():
    method, state, codes, offsets = affine(latent_dim=1, act_by="mode")
    layer = jax.tree.map(np.asarray, next(iter(state.params.weights.decoder["params"].values())))
    latent = codes[0, 0] + codes[1, 2]
    expected = latent @ layer["kernel"] + layer["bias"] + offsets[0, 0] + offsets[1, 2]
    action = jax.jit(method.act)(jax.random.key(0), state.params, jnp.zeros((4, 1)))
    np.testing.assert_allclose(action, np.broadcast_to(expected, (4, 2)), rtol=1e-5)


def test_gradients_are_those_of_the_equations():
    """One step of an affine encoder and decoder, in NumPy: straight through, and what is held constant has no part."""
    method, state, codes, offsets = affine(latent_dim=1)
    state = state._replace(extra=jnp.ones((2, 3)))  # all codes in use
    batch = Batch(*(np.random.default_rng(1).normal(size=(5, dim)).astype(np.float32) for dim in (1, 2)))
    hyper = method.hyper._replace(learning_rate=1.0, learning_rate_decay=1.0, commitment=0.7, offset_weight=3.0)
    after, info = jax.jit(method.step)(state, batch, hyper)
    weights, new_weights = jax.tree.map(np.asarray, (state.params.weights, after.params.weights))
    encoder, decoder = (next(iter(w["params"].values())) for w in (weights.encoder, weights.decoder))
    latent = batch.action @ encoder["kernel"] + encoder["bias"]
    found = np.asarray(codebook.quantise(state.params.codes, jnp.asarray(latent)))
    quantised = codes[0][found[:, 0]] + codes[1][found[:, 1]]
    decoded = quantised @ decoder["kernel"] + decoder["bias"]
    sign = np.sign(decoded - batch.action) / decoded.size
    to_latent = sign @ decoder["kernel"].T + 0.7 * 2 * (latent - quantised) / latent.size
    gradients = {
        "encoder": (batch.action.T @ to_latent, to_latent.sum(0)),
        "decoder": (quantised.T @ sign, sign.sum(0)),
    }
    for name, (kernel, bias) in gradients.items():
        old, new = (next(iter(getattr(w, name)["params"].values())) for w in (weights, new_weights))
        np.testing.assert_allclose(old["kernel"] - new["kernel"], kernel, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(old["bias"] - new["bias"], bias, rtol=1e-4, atol=1e-6)
    log_probs = np.log(PROBS)[np.arange(2), found]
    missing = batch.action - decoded - offsets[0][found[:, 0]] - offsets[1][found[:, 1]]
    expected = (
        np.abs(batch.action - decoded).mean(),
        np.mean((latent - quantised) ** 2),
        -np.mean(log_probs[:, 0] + 0.5 * log_probs[:, 1]),
        np.abs(missing).mean(),
    )
    np.testing.assert_allclose(info[1:5], expected, rtol=1e-4)
    np.testing.assert_allclose(info.loss, np.dot([1.0, 0.7, 1.0, 3.0], expected), rtol=1e-4)


def test_focal_loss_and_its_optimum():
    """Without gamma the cross-entropy, whose best forecast are the frequencies; with 2 one that is flatter."""
    p = np.asarray([0.1, 0.5, 0.9])
    for gamma in (0.0, 0.5, 2.0):
        np.testing.assert_allclose(vq.focal(jnp.log(p), gamma), -((1 - p) ** gamma) * np.log(p), rtol=1e-5)
    assert np.all(np.isfinite(jax.vmap(jax.grad(vq.focal), (0, None))(jnp.asarray([0.0, -100.0]), 0.0)))

    def best(gamma):
        loss = lambda q: float(0.8 * vq.focal(jnp.log(q), gamma) + 0.2 * vq.focal(jnp.log(1 - q), gamma))  # noqa: E731
        return scipy.optimize.minimize_scalar(loss, bounds=(0.5, 0.99), method="bounded").x

    assert best(0.0) == pytest.approx(0.8, abs=2e-3)
    assert best(2.0) < 0.72


def test_modes_are_kept_with_their_frequencies():
    """Two modes, of which the observation says how likely they are, and 4 codes: draws are on both, as often as data are."""
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (512, 1))
    sign = np.where(generator.uniform(size=(512, 1)) < 0.5 + 0.3 * obs, 1.0, -1.0)
    action = sign * [[0.5, 0.5]] + 0.1 * obs + generator.normal(size=(512, 2)) * 0.02
    batch = Batch(jnp.asarray(obs, jnp.float32), jnp.asarray(action, jnp.float32))
    method = vq.make(vq.Config(num_codes=4, hidden=(32,)), SPEC, Horizon(400, 100))
    run = jax.jit(lambda s: jax.lax.fori_loop(0, 400, lambda _, s: method.step(s, batch, method.hyper)[0], s))
    params = run(jax.jit(method.init)(jax.random.key(0))).params
    at = jnp.asarray([[-0.8], [0.0], [0.8]])
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, at, 2000))
    on_mode = np.abs(np.abs(draws - 0.1 * np.asarray(at)) - 0.5).max(-1) < 0.1
    assert on_mode.mean() > 0.98
    np.testing.assert_allclose((draws[..., 0] > 0).mean(0), [0.26, 0.5, 0.74], atol=0.12)


@pytest.mark.parametrize(
    "fields", [{"num_codes": 0}, {"num_levels": 0}, {"latent_dim": -1}, {"decay_every": -1}, {"hidden": (0,)}]
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        vq.Config(**fields)
