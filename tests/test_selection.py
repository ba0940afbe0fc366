"""Choosing among candidates: on densities known in closed form, importance resampling gives them back and reranking does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.samplers import selection

# The truth p: two modes of deviation 0.1 with weights 0.3 and 0.7; the generator q: the same modes, five times as wide, equal weights.
MODES, WEIGHTS, TRUE_SCALE, WIDE_SCALE = np.asarray([-2.0, 2.0]), np.asarray([0.3, 0.7]), 0.1, 0.5
NUM, CANDIDATES = 4_000, 256
LOW, HIGH = (-4.0,), (4.0,)


def log_density(x, weights, scale):
    parts = np.log(weights) + scipy.stats.norm.logpdf(np.asarray(x, np.float64)[..., None], MODES, scale)
    return scipy.special.logsumexp(parts, axis=-1)


@pytest.fixture(scope="module")
def problem():
    """Candidates ``[C, NUM, 1]`` from q, and log p and log q ``[C, NUM]`` there."""
    rng = np.random.default_rng(0)
    shape = (CANDIDATES, NUM)
    x = rng.choice(MODES, size=shape) + WIDE_SCALE * rng.normal(size=shape)
    log_p, log_q = log_density(x, WEIGHTS, TRUE_SCALE), log_density(x, np.full(2, 0.5), WIDE_SCALE)
    return tuple(jnp.asarray(v, jnp.float32) for v in (x[..., None], log_p, log_q))


def check_truth(draws):
    """Both deviations within 5 % and the weights within 0.05: over 5 standard errors each (2.1 % at 1,200 draws, 0.7 %)."""
    draws = np.asarray(draws)[:, 0]
    assert draws.shape == (NUM,)
    left, right = draws[draws < 0], draws[draws > 0]
    assert left.std() == pytest.approx(TRUE_SCALE, rel=0.05) and right.std() == pytest.approx(TRUE_SCALE, rel=0.05)
    assert left.mean() == pytest.approx(-2.0, abs=0.02) and right.mean() == pytest.approx(2.0, abs=0.02)
    assert len(left) / NUM == pytest.approx(0.3, abs=0.05)


def test_resampling_by_p_over_q_gives_p(problem):
    candidates, log_p, log_q = problem
    check_truth(selection.importance_resample(jax.random.key(0), candidates, log_p - log_q))


def test_reranking_collapses_the_spread_and_loses_the_light_mode(problem):
    candidates, log_p, _ = problem
    draws = np.asarray(selection.lowest_energy(candidates, -log_p))[:, 0]
    assert np.all(draws > 0)
    assert draws.std() < TRUE_SCALE / 5


def test_info_nce_energy_needs_its_proposal_put_back(problem):
    """With E = -log(p / r), the optimum of InfoNCE, the weights -E + log r - log q are log p - log q again."""
    candidates, log_p, log_q = problem
    log_u = selection.uniform_log_prob(candidates, LOW, HIGH)
    log_r = selection.info_nce_proposal(log_u, log_q, 16, 0.5)
    energy = -(log_p - log_r)
    check_truth(selection.importance_resample(jax.random.key(0), candidates, -energy + log_r - log_q))
    # Left out, the draws are those of a density proportional to p / r, which is wider.
    naive = np.asarray(selection.importance_resample(jax.random.key(0), candidates, -energy - log_q))[:, 0]
    assert naive[naive > 0].std() > 1.01 * TRUE_SCALE


def test_lowest_energy_takes_the_minimum_of_every_row():
    candidates = jnp.arange(24.0).reshape(4, 3, 2)
    energy = jnp.asarray([[3.0, -1.0, 5.0], [0.0, 7.0, 5.0], [4.0, 0.0, -9.0], [1.0, 0.0, 0.0]])
    expected = np.stack([candidates[1, 0], candidates[0, 1], candidates[2, 2]])
    np.testing.assert_array_equal(selection.lowest_energy(candidates, energy), expected)


def test_leading_axes_of_candidates_are_kept():
    candidates = jax.random.normal(jax.random.key(0), (6, 4, 3, 2))
    energy = jax.random.normal(jax.random.key(1), (6, 4, 3))
    best = selection.lowest_energy(candidates, energy)
    for n in range(4):
        np.testing.assert_array_equal(best[n], selection.lowest_energy(candidates[:, n], energy[:, n]))
    drawn = selection.importance_resample(jax.random.key(2), candidates, energy)
    assert drawn.shape == (4, 3, 2)
    for n, b in np.ndindex(4, 3):  # a whole candidate of the same row, not parts of several
        assert np.any(np.all(np.asarray(candidates[:, n, b]) == np.asarray(drawn[n, b]), axis=-1))


def test_resampling_ignores_a_constant_and_minus_infinity():
    candidates = jnp.arange(3.0).reshape(3, 1, 1)
    log_weights = jnp.log(jnp.asarray([[0.2], [0.8], [0.0]]))
    wide = jnp.broadcast_to(candidates, (3, 20_000, 1))

    def counts(shift):
        draws = selection.importance_resample(
            jax.random.key(0), wide, jnp.broadcast_to(log_weights + shift, wide.shape[:2])
        )
        return np.bincount(np.asarray(draws[:, 0], int), minlength=3)

    assert counts(0.0)[2] == 0
    assert scipy.stats.binomtest(int(counts(0.0)[0]), 20_000, 0.2).pvalue > 1e-6
    np.testing.assert_array_equal(counts(50.0), counts(0.0))


@pytest.mark.parametrize("alpha", [1.0, 0.1])
@pytest.mark.parametrize("num_negatives", [1, 32])
def test_info_nce_proposal_is_the_mixture_of_its_sources(num_negatives, alpha):
    log_u, log_q = np.asarray([[-1.0, -np.inf], [0.5, 0.0]]), np.asarray([[2.0, -3.0], [-50.0, 0.0]])
    value = selection.info_nce_proposal(jnp.asarray(log_u), jnp.asarray(log_q), num_negatives, alpha)
    expected = np.log((num_negatives * np.exp(log_u) + alpha * np.exp(log_q)) / (num_negatives + alpha))
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_uniform_log_prob_is_one_over_the_volume_inside_the_box():
    low, high = (-1.0, 0.0), (1.0, 4.0)
    action = jnp.asarray([[0.0, 1.0], [1.0, 4.0], [1.1, 1.0], [0.0, -0.1]])
    expected = np.asarray([-np.log(8.0), -np.log(8.0), -np.inf, -np.inf])
    np.testing.assert_allclose(selection.uniform_log_prob(action, low, high), expected, rtol=1e-6)


def test_shapes_must_agree():
    candidates = jnp.zeros((4, 3, 2))
    with pytest.raises(AssertionError):
        selection.lowest_energy(candidates, jnp.zeros((4, 1)))
    with pytest.raises(AssertionError):
        selection.importance_resample(jax.random.key(0), candidates, jnp.zeros((3, 3)))
    with pytest.raises(AssertionError):
        selection.info_nce_proposal(jnp.zeros((4, 3)), jnp.zeros((4, 1)), 3, 1.0)


@pytest.mark.parametrize("clip", [-1.0, -0.5, 0.3, np.inf])
def test_clipped_reweighting_is_the_product_with_bounded_ratios(clip):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(6), size=4)
    ratio = np.exp(2 * rng.normal(size=(4, 6)))
    mean = np.sum(weights * ratio, -1, keepdims=True)
    product = weights * np.minimum(ratio, np.exp(clip) * mean)
    ours = selection.clipped_reweighting(jnp.log(weights), jnp.log(ratio), clip)
    np.testing.assert_allclose(np.exp(ours), product / product.sum(-1, keepdims=True), rtol=1e-4)


def test_clipped_reweighting_leaves_good_components_alone_and_takes_the_bad_one_out():
    """Two good components with ratios that differ by noise keep their proportion; one that bridges them loses its weight."""
    ours = selection.clipped_reweighting(jnp.log(jnp.asarray([0.6, 0.3, 0.1])), jnp.asarray([0.2, -0.2, -12.0]), -0.5)
    np.testing.assert_allclose(np.exp(ours), [2 / 3, 1 / 3, 0.0], atol=1e-5)
