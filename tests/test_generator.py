"""The generator: exact density without a latent, per-row noise that does not depend on the split, and the ways to draw."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.types import InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0, -1.0), (1.0, 1.0))
FLOOR = 0.1
B = 6


def make(**fields):
    generator = generators.make(
        generators.GeneratorConfig(**{"num_components": 3, "covariance": "isotropic", "hidden": (8,)} | fields), SPEC
    )
    # Compiled as a whole: op by op, a cold run takes several times as long.
    compiled = {
        name: jax.jit(getattr(generator, name))
        for name in ("init", "mixture", "row_mixture", "row_sample_components", "log_prob")
        if getattr(generator, name) is not None
    }
    generator = generator._replace(
        **compiled,
        row_sample=jax.jit(generator.row_sample, static_argnums=2),
        draw=jax.jit(generator.draw, static_argnums=(3, 5)),
    )
    return generator, generator.init(jax.random.key(0)), jnp.linspace(-1.0, 1.0, B)[:, None]


@pytest.mark.parametrize(
    ("covariance", "family"),
    [("isotropic", "gaussian"), ("low_rank", "gaussian"), ("full", "gaussian"), ("diagonal", "laplace")],
)
def test_log_prob_is_that_of_its_mixture_for_any_number_of_actions(covariance, family):
    generator, params, obs = make(covariance=covariance, family=family)
    action = jax.random.normal(jax.random.key(1), (2, 3, B, 2))
    value = generator.log_prob(params, obs, action, FLOOR)
    assert value.shape == (2, 3, B)
    rows = generator.mixture(params, obs, FLOOR)
    expected = mixtures.log_prob(rows, action[1, 2], family)
    np.testing.assert_allclose(value[1, 2], expected, rtol=1e-5)
    np.testing.assert_allclose(generator.log_prob(params, obs, action[1, 2], FLOOR), expected, rtol=1e-5)


def test_a_latent_makes_the_density_unknown():
    generator, params, obs = make(latent_dim=2)
    assert generator.mixture is None and generator.log_prob is None
    kernel = params["params"]["MLP_0"]["Dense_0"]["kernel"]
    assert kernel.shape[0] == 2 + 1
    keys = collectives.row_keys(jax.random.key(1), B)
    same_obs = jnp.zeros((B, 1))
    means = generator.row_mixture(params, same_obs, keys, FLOOR).means
    assert len(np.unique(np.asarray(means[:, 0, 0]))) == B  # one latent per row
    draws = generator.draw(jax.random.key(2), params, same_obs, 5, FLOOR, "mode")
    assert draws.shape == (5, B, 2) and len(np.unique(np.asarray(draws[..., 0]))) == 5 * B  # and one per sample


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_noise_of_a_row_does_not_depend_on_the_split(latent_dim):
    generator, params, obs = make(latent_dim=latent_dim)
    key = jax.random.key(3)

    @functools.partial(jax.jit, static_argnums=1)
    def draw(obs, axis_name=None):
        keys_latent, keys_draw = generators.latent_and_draw_keys(key, obs.shape[0], axis_name)
        rows = generator.row_mixture(params, obs, keys_latent, FLOOR)
        return generator.row_sample(rows, keys_draw, 1)[0], generator.row_sample_components(rows, keys_draw)

    one, each = draw(obs)
    assert one.shape == (B, 2) and each.shape == (3, B, 2)
    split_one, split_each = jax.vmap(lambda o: draw(o, "batch"), axis_name="batch")(obs.reshape(3, 2, 1))
    np.testing.assert_allclose(split_one.reshape(B, 2), one, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jnp.moveaxis(split_each, 0, 1).reshape(3, B, 2), each, rtol=1e-5, atol=1e-6)


def test_rows_have_different_noise():
    generator, params, obs = make(num_components=1)
    rows = generator.mixture(params, obs, FLOOR)
    keys = collectives.row_keys(jax.random.key(3), B)
    for noise in (generator.row_sample(rows, keys, 1)[0], generator.row_sample_components(rows, keys)[0]):
        standard = np.sort(((noise - rows.means[:, 0]) / rows.scales[:, 0])[:, 0])
        assert np.all(np.diff(standard) > 1e-4)


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_draws_and_row_samples_follow_the_mixture(family):
    generator, params, _ = make(family=family)
    num = 4_000
    obs = jnp.full((num, 1), 0.5)
    weights, means, scales = (np.asarray(x[0], np.float64) for x in generator.mixture(params, obs[:1], FLOOR))
    distribution = {"gaussian": scipy.stats.norm, "laplace": scipy.stats.laplace}[family]

    def cdf(x):  # of the first action dimension
        return np.sum(np.exp(weights) * distribution.cdf(x[:, None], means[:, 0], scales[:, 0]), axis=-1)

    drawn = generator.draw(jax.random.key(4), params, obs[:1], num, FLOOR, "sample")[:, 0, 0]
    rows = generator.row_mixture(params, obs, None, FLOOR)
    by_row = generator.row_sample(rows, collectives.row_keys(jax.random.key(5), num), 1)[0, :, 0]
    for values in (drawn, by_row):
        assert scipy.stats.kstest(np.asarray(values), cdf).pvalue > 1e-6


def test_ways_to_draw():
    generator, params, obs = make()
    rows = generator.mixture(params, obs, FLOOR)
    mode = generator.draw(jax.random.key(6), params, obs, 4, FLOOR, "mode")
    assert mode.shape == (4, B, 2)
    np.testing.assert_array_equal(mode, jnp.broadcast_to(mixtures.mode(rows), (4, B, 2)))
    centre = np.asarray(generator.draw(jax.random.key(6), params, obs, 20, FLOOR, "component_mean"))
    hits = np.all(np.isclose(centre[:, :, None], np.asarray(rows.means)[None], atol=1e-6), -1)
    assert np.all(np.any(hits, -1)) and np.all(np.any(hits, axis=(0, 1)))
    assert np.all(np.asarray(generator.mixture(params, obs, 0.7).scales) > 0.7)  # the floor is an argument


def test_steps_have_mixtures_of_their_own_and_must_divide_the_action():
    generator, params, obs = make(independent_steps=2)
    each = generator.mixture(params, obs, FLOOR).each
    assert each.means.shape == (B, 2, 3, 1)
    action = jax.random.normal(jax.random.key(1), (5, B, 2))
    of_each = mixtures.log_prob(each, action[..., None])
    np.testing.assert_allclose(generator.log_prob(params, obs, action, FLOOR), of_each.sum(-1), rtol=1e-5)
    assert generator.draw(jax.random.key(2), params, obs, 4, FLOOR, "mode").shape == (4, B, 2)
    with pytest.raises(InputError, match="independent_steps=3: needs a divisor"):
        make(independent_steps=3)


@pytest.mark.parametrize("fields", [{"covariance": "diagonal"}, {"covariance": "full"}, {"independent_steps": 2}])
def test_a_start_at_data_finds_every_group_of_rows(fields):
    """Three groups of very different size, near the corners; so small weights hardly move what the bias says."""
    generator, params, obs = make(start="data", start_scale=0.2, **fields)
    params = jax.tree.map(lambda leaf: 1e-3 * leaf, params)
    corners = np.float32([[-0.9, -0.8], [0.1, 0.9], [0.8, -0.3]])
    groups = np.repeat(np.arange(3), (100, 4, 2))
    rows = corners[groups] + np.random.default_rng(0).normal(size=(106, 2)).astype(np.float32) * 1e-3
    rows = generator.mixture(generator.start(jax.random.key(3), params, jnp.asarray(rows)), obs, 0.0)
    means = np.asarray(rows.each.means[..., 0] if "independent_steps" in fields else jnp.moveaxis(rows.means, -1, -2))
    np.testing.assert_allclose(np.sort(means, axis=-1), np.broadcast_to(np.sort(corners.T), means.shape), atol=0.01)
    spread = rows.each.scales if "independent_steps" in fields else rows[2]
    if "covariance" in fields and fields["covariance"] == "full":
        np.testing.assert_allclose(spread, np.broadcast_to(0.2 * np.eye(2), spread.shape), rtol=0.01, atol=0.01)
    else:
        np.testing.assert_allclose(spread, 0.2, rtol=0.01)


@pytest.mark.parametrize("covariance", ["diagonal", "tied"])
def test_a_start_at_clusters_has_their_weights_means_and_covariance_at_every_observation(covariance):
    generator, params, obs = make(start="clusters", covariance=covariance)
    centres, tril = np.float32([[-0.9, -0.8], [0.1, 0.9], [0.8, -0.3]]), np.float32([[0.05, 0.0], [0.04, 0.02]])
    noise = np.random.default_rng(0).normal(size=(1_000, 2)).astype(np.float32) @ tril.T
    rows = jnp.asarray(np.repeat(centres, (600, 300, 100), axis=0) + noise)
    for seed in range(3):
        found = generator.mixture(jax.jit(generator.start)(jax.random.key(seed), params, rows), obs, 0.0)
        order = np.argsort(np.asarray(found.means[0, :, 0]))
        np.testing.assert_allclose(found.means[:, order], np.broadcast_to(centres, (B, 3, 2)), atol=0.02)
        np.testing.assert_allclose(
            np.exp(found.log_weights[:, order]), np.broadcast_to([0.6, 0.3, 0.1], (B, 3)), rtol=1e-4
        )
        expected = tril @ tril.T if covariance == "tied" else np.diag(np.diag(tril @ tril.T))
        factor = np.asarray(found[2][0, 0] if covariance == "tied" else np.diag(found[2][0, 0]))
        np.testing.assert_allclose(factor @ factor.T, expected, rtol=0.15, atol=2e-5)


def test_each_step_of_a_chunk_starts_at_clusters_of_its_own():
    generator, params, obs = make(start="clusters", independent_steps=2)
    corners = np.float32([[-0.9, -0.8], [0.1, 0.9], [0.8, -0.3]])
    rows = (
        np.repeat(corners, (20, 40, 60), axis=0)
        + np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32) * 0.01
    )
    steps = generator.mixture(jax.jit(generator.start)(jax.random.key(0), params, jnp.asarray(rows)), obs, 0.0).each
    for step in range(2):
        order = np.argsort(np.asarray(steps.means[0, step, :, 0]))
        expected = np.argsort(corners[:, step])
        found = jax.tree.map(lambda leaf, at=step: np.asarray(leaf)[:, at], steps)
        np.testing.assert_allclose(found.means[:, order, 0], np.tile(corners[expected, step], (B, 1)), atol=0.01)
        np.testing.assert_allclose(
            np.exp(found.log_weights[:, order]), np.tile(np.float32([1, 2, 3])[expected] / 6, (B, 1)), rtol=1e-4
        )
        np.testing.assert_allclose(found.scales, 0.01, rtol=0.2)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_components": 0},
        {"latent_dim": -1},
        {"fixed_scale": 0.0},
        {"hidden": (8, 0)},
        {"family": "laplace", "covariance": "full"},
        {"family": "laplace", "covariance": "low_rank"},
        {"start": "clusters", "family": "laplace"},
        {"rank": 0},
        {"independent_steps": 0},
        {"start_scale": 0.0},
    ],
)
def test_a_config_that_cannot_work_is_refused_in_one_line(fields):
    with pytest.raises(InputError) as error:
        generators.GeneratorConfig(**fields)
    assert "\n" not in str(error.value) and next(iter(fields)) in str(error.value)
