"""Mixture densities against SciPy, quadrature and Kolmogorov-Smirnov tests; every statistical test fails falsely once in a million."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import mixture as mixtures
from ebgan_mdn_jax import mixture_outputs

FALSE_FAIL = 1e-6
K, DA = 3, 2
COVARIANCES = ("isotropic", "diagonal", "shared", "fixed", "low_rank", "full", "tied")
RANK = {"low_rank": 3}  # of COVARIANCES that have one; more than the action's two dimensions is a covariance too
CASES = [(c, "gaussian") for c in COVARIANCES] + [(c, "laplace") for c in COVARIANCES[:4]]
SCIPY = {"gaussian": scipy.stats.norm, "laplace": scipy.stats.laplace}

# Compiled once per shape: op by op, a cold run takes several times as long.
from_outputs = jax.jit(mixture_outputs.from_outputs, static_argnums=(1, 2, 3), static_argnames=("fixed_scale", "rank"))
log_prob = jax.jit(mixtures.log_prob, static_argnums=2)
sample = jax.jit(mixtures.sample, static_argnums=(2, 3))
sample_components = jax.jit(mixtures.sample_components, static_argnums=2)
mode_of = jax.jit(mixtures.mode, static_argnums=1)

every_case = pytest.mark.parametrize(("covariance", "family"), CASES)


def mixture_of(covariance, rows=4, d=DA, spread=1.0, seed=0):
    """A mixture ``[rows, K, d]`` read off random outputs; scales are about 0.25 to 1, means ``spread`` apart."""
    rng, rank = np.random.default_rng(seed), RANK.get(covariance, 0)
    p = mixture_outputs.num_outputs(K, d, covariance, rank)
    outputs = rng.normal(size=(rows, p)) * 0.4
    outputs[:, K + K * d :] -= 0.8
    outputs[:, K : K + K * d] += spread * np.repeat(np.arange(K) - 1.0, d)
    return from_outputs(jnp.asarray(outputs, jnp.float32), K, d, covariance, 0.1, fixed_scale=0.3, rank=rank)


def tril_of(mixture, *index):
    """Lower Cholesky factor of a component's covariance, NumPy."""
    spread = np.asarray(mixture[2], np.float64)
    if isinstance(mixture, mixtures.FullMixture):
        *place, k = index
        return spread[(*place, min(k, spread.shape[-3] - 1))]
    spread = spread[index]
    factors = np.asarray(mixture.factors if len(mixture) == 4 else np.zeros((*mixture[2].shape, 1)), np.float64)[index]
    return np.linalg.cholesky(np.diag(spread**2) + factors @ factors.T)


def scipy_log_prob(mixture, action, family):
    """Log density ``[B]`` of ``action [B, Da]``, one row and component at a time."""
    mixture, action = jax.tree.map(lambda x: np.asarray(x, np.float64), (mixture, action))
    weights, means = mixture[:2]
    total = np.zeros(weights.shape)
    for row in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            if isinstance(mixture, mixtures.Mixture):
                total[row, k] = SCIPY[family](means[row, k], mixture.scales[row, k]).logpdf(action[row]).sum()
            else:
                tril = tril_of(mixture, row, k)
                total[row, k] = scipy.stats.multivariate_normal(means[row, k], tril @ tril.T).logpdf(action[row])
    return scipy.special.logsumexp(weights + total, axis=-1)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_outputs_are_logits_then_means_then_scales(covariance):
    k, d, floor = 3, 2, 0.05
    rank = RANK.get(covariance, 0)
    count = {"isotropic": 3, "diagonal": 6, "shared": 1, "fixed": 0, "low_rank": 6 + 18, "full": 9, "tied": 3}[
        covariance
    ]
    assert mixture_outputs.num_outputs(k, d, covariance, rank) == k + k * d + count
    outputs = np.random.default_rng(0).normal(size=(5, k + k * d + count)).astype(np.float32)
    mixture = from_outputs(jnp.asarray(outputs), k, d, covariance, floor, fixed_scale=0.7, rank=rank)
    logits, means, raw = outputs[:, :k], outputs[:, k : k + k * d], outputs[:, k + k * d :]
    np.testing.assert_allclose(mixture.log_weights, np.log(scipy.special.softmax(logits, -1)), rtol=1e-4)
    np.testing.assert_array_equal(mixture.means, means.reshape(5, k, d))
    correlated = covariance in ("full", "tied")
    expected = np.empty((5, 1 if covariance == "tied" else k, d, d) if correlated else (5, k, d))
    for i in range(expected.shape[1]):
        for j in range(d):
            if covariance == "isotropic":  # one per component, the same in all dimensions
                expected[:, i, j] = floor + np.exp(raw[:, i])
            elif covariance in ("diagonal", "low_rank"):
                expected[:, i, j] = floor + np.exp(raw[:, i * d + j])
            elif covariance == "shared":
                expected[:, i, j] = floor + np.exp(raw[:, 0])
            elif covariance == "fixed":
                expected[:, i, j] = 0.7
        if correlated:  # rows of the lower triangle, one component after the other
            entries = raw[:, 3 * i : 3 * i + 3]
            zero = np.zeros(5)
            tril = [[floor + np.exp(entries[:, 0]), zero], [entries[:, 1], floor + np.exp(entries[:, 2])]]
            expected[:, i] = np.moveaxis(np.asarray(tril), -1, 0)
    np.testing.assert_allclose(mixture[2], expected, rtol=1e-5)
    if covariance == "low_rank":
        np.testing.assert_array_equal(mixture.factors, raw[:, k * d :].reshape(5, k, d, rank))


@every_case
def test_log_prob_matches_scipy(covariance, family):
    mixture = mixture_of(covariance)
    action = jnp.asarray(np.random.default_rng(1).normal(size=(4, DA)), jnp.float32)
    value = log_prob(mixture, action, family)
    assert value.shape == (4,)
    np.testing.assert_allclose(value, scipy_log_prob(mixture, action, family), rtol=1e-4, atol=1e-4)


@every_case
def test_density_integrates_to_one(covariance, family):
    mixture = jax.tree.map(lambda x: x[0], mixture_of(covariance, rows=1))
    ticks = -8 + 0.04 * (np.arange(400) + 0.5)
    grid = jnp.asarray(np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, DA), jnp.float32)
    density = jax.jit(lambda m: jnp.exp(jax.vmap(lambda a: log_prob(m, a, family))(grid)))(mixture)
    assert float(jnp.sum(density)) * 0.04**2 == pytest.approx(1.0, abs=3e-3)


def test_low_rank_density_and_its_gradient_are_those_of_the_full_covariance():
    mixture = mixture_of("low_rank", d=6)
    action = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4, 6)), jnp.float32)
    value, slope = jax.jit(jax.value_and_grad(lambda m: jnp.sum(log_prob(m, action))))(mixture)
    expected, of_full = jax.jit(jax.value_and_grad(lambda m: jnp.sum(log_prob(mixtures.full(m), action))))(mixture)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for ours, theirs in zip(slope, of_full, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_steps_are_a_mixture_of_all_combinations_of_their_components():
    each = mixture_of("diagonal", rows=2, spread=100.0)  # of two steps
    chunk = mixtures.StepMixture(each)
    pairs = [(i, j) for i in range(K) for j in range(K)]

    def joined(leaf):
        return jnp.stack([jnp.concatenate([leaf[0, i], leaf[1, j]]) for i, j in pairs])

    log_weights = jnp.stack([each.log_weights[0, i] + each.log_weights[1, j] for i, j in pairs])
    joint = mixtures.Mixture(log_weights, joined(each.means), joined(each.scales))
    action = joint.means + jnp.asarray(np.random.default_rng(0).normal(size=(K * K, 2 * DA)), jnp.float32)
    np.testing.assert_allclose(log_prob(chunk, action), log_prob(joint, action), rtol=1e-4)
    np.testing.assert_allclose(mixtures.weight_entropy(chunk), mixtures.weight_entropy(joint), rtol=1e-5)
    np.testing.assert_array_equal(mode_of(chunk), mode_of(joint))
    num = 20_000
    for draws in (
        sample(jax.random.key(0), chunk, num),
        mixtures.sample_one_component(jax.random.key(1), chunk, num)[:1],
        mixtures.component_mean(jax.random.key(2), chunk, num),
    ):
        assert draws.shape[1:] == (2 * DA,)
        nearest = np.argmin(np.linalg.norm(np.asarray(draws)[:, None] - np.asarray(joint.means), axis=-1), axis=1)
        counts, expected = np.bincount(nearest, minlength=K * K), np.exp(np.asarray(log_weights, np.float64))
        assert (
            len(draws) == 1 or scipy.stats.chisquare(counts, len(draws) * expected / expected.sum()).pvalue > FALSE_FAIL
        )


@pytest.mark.parametrize("shape", [(5, DA), (DA,), (4, 1, DA), (4, 1)])
def test_log_prob_refuses_actions_of_another_shape(shape):
    with pytest.raises(AssertionError):
        log_prob(mixture_of("diagonal"), jnp.zeros(shape))


def test_full_covariance_is_gaussian_only():
    mixture = mixture_of("full")
    with pytest.raises(ValueError, match="no full covariance"):
        log_prob(mixture, jnp.zeros((4, DA)), "laplace")
    with pytest.raises(ValueError, match="no full covariance"):
        sample(jax.random.key(0), mixture, 1, "laplace")


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_samples_follow_the_mixture_cdf(family):
    mixture = mixture_of("diagonal", rows=1, d=1)
    samples = np.asarray(sample(jax.random.key(0), mixture, 20_000, family))[:, 0, 0]
    weights, means, scales = (np.asarray(x, np.float64).ravel() for x in (jnp.exp(mixture[0]), *mixture[1:]))

    def cdf(x):
        return np.sum(weights * SCIPY[family].cdf(x[:, None], means, scales), axis=-1)

    assert scipy.stats.kstest(samples, cdf).pvalue > FALSE_FAIL


@every_case
def test_samples_whitened_by_their_component_are_standard(covariance, family):
    # Components 100 apart, so that a draw tells which component it came from.
    mixture = mixture_of(covariance, rows=1, spread=100.0)
    num = 10_000
    samples = np.asarray(sample(jax.random.key(1), mixture, num, family), np.float64)[:, 0]
    weights, means = (np.asarray(x[0], np.float64) for x in (jnp.exp(mixture[0]), mixture[1]))
    component = np.argmin(np.abs(samples[:, :1] - means[:, 0]), axis=-1)
    counts = np.bincount(component, minlength=K)
    assert scipy.stats.chisquare(counts, num * weights / weights.sum()).pvalue > FALSE_FAIL
    for k in range(K):
        residual = samples[component == k] - means[k]
        white = np.linalg.solve(tril_of(mixture, 0, k), residual.T).T
        for j in range(DA):
            assert scipy.stats.kstest(white[:, j], SCIPY[family].cdf).pvalue > FALSE_FAIL
        assert scipy.stats.pearsonr(*white.T).pvalue > FALSE_FAIL
        if family == "gaussian":  # squared Mahalanobis distance
            assert scipy.stats.kstest(np.sum(white**2, -1), scipy.stats.chi2(DA).cdf).pvalue > FALSE_FAIL


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank", "full"])
def test_sample_components_draws_from_each(covariance):
    rows = 5_000
    one = mixture_of(covariance, rows=1)
    mixture = jax.tree.map(lambda x: jnp.broadcast_to(x, (rows, *x.shape[1:])), one)
    draws = np.asarray(sample_components(jax.random.key(2), mixture), np.float64)
    assert draws.shape == (K, rows, DA)
    for k in range(K):
        white = np.linalg.solve(tril_of(one, 0, k), (draws[k] - np.asarray(one.means[0, k])).T)
        assert scipy.stats.kstest(white.ravel(), scipy.stats.norm.cdf).pvalue > FALSE_FAIL


def test_sample_passes_gradient_to_the_chosen_component_only():
    mixture = mixture_of("diagonal", rows=12, spread=10.0)
    key = jax.random.key(3)

    def total(mixture):
        return jnp.sum(sample(key, mixture, 1))

    gradient = jax.jit(jax.grad(total))(mixture)
    samples = sample(key, mixture, 1)[0]
    chosen = np.argmin(np.abs(samples[:, None, 0] - mixture.means[..., 0]), axis=-1)
    one_hot = np.broadcast_to(np.eye(K)[chosen][..., None], mixture.means.shape)
    assert len(set(chosen.tolist())) > 1
    np.testing.assert_array_equal(gradient.means, one_hot)
    np.testing.assert_array_equal(gradient.log_weights, np.zeros((12, K)))
    noise = (samples[:, None] - mixture.means) / mixture.scales
    np.testing.assert_allclose(gradient.scales, np.where(one_hot == 1, noise, 0.0), rtol=1e-2, atol=1e-3)


@every_case
def test_sample_components_passes_gradient_to_all(covariance, family):
    mixture = mixture_of(covariance)
    gradient = jax.jit(jax.grad(lambda m: jnp.sum(sample_components(jax.random.key(4), m, family))))(mixture)
    np.testing.assert_array_equal(gradient.means, np.ones_like(mixture.means))
    np.testing.assert_array_equal(gradient.log_weights, np.zeros_like(mixture.log_weights))
    assert np.all(np.any(np.asarray(gradient[2]) != 0, axis=-1))


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal", "shared", "full"])
def test_no_scale_is_below_the_floor(covariance):
    floor = 0.01

    def scales(raw):
        outputs = jnp.full((1, mixture_outputs.num_outputs(K, DA, covariance)), raw)
        spread = from_outputs(outputs, K, DA, covariance, floor)[2]
        return jnp.diagonal(spread, axis1=-2, axis2=-1) if covariance == "full" else spread

    for raw in (-100.0, -5.0, 0.0):
        np.testing.assert_allclose(scales(raw), floor + np.exp(raw), rtol=1e-5)
        assert np.all(scales(raw) >= np.float32(floor))


@pytest.mark.parametrize("off_diagonal", [100.0, 1e4])
def test_full_gradient_is_finite_at_large_off_diagonals(off_diagonal):
    outputs = np.zeros((1, mixture_outputs.num_outputs(1, DA, "full")), np.float32)
    outputs[0, -2] = off_diagonal  # exp of it would overflow

    def loss(outputs):
        return jnp.sum(log_prob(from_outputs(outputs, 1, DA, "full", 1e-3), jnp.ones((1, DA))))

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(outputs))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


def test_component_mean_draws_the_means_by_weight():
    mixture = mixture_of("diagonal", rows=1)
    num = 5_000
    draws = np.asarray(mixtures.component_mean(jax.random.key(5), mixture, num))[:, 0]
    hits = np.all(draws[:, None] == np.asarray(mixture.means[0]), axis=-1)
    assert np.all(hits.sum(-1) == 1)
    weights = np.asarray(jnp.exp(mixture.log_weights[0]), np.float64)
    assert scipy.stats.chisquare(hits.sum(0), num * weights / weights.sum()).pvalue > FALSE_FAIL


def test_components_without_weight_are_never_drawn():
    weights = np.asarray([0.0, 0.25, 0.0, 0.75, 0.0], np.float32)
    mixture = mixtures.Mixture(jnp.log(weights), jnp.arange(5.0)[:, None], jnp.ones((5, 1)))
    num = 100_000
    drawn = np.asarray(mixtures.component_mean(jax.random.key(0), mixture, num))[:, 0]
    counts = np.bincount(drawn.astype(int), minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert scipy.stats.binomtest(counts[3], num, 0.75).pvalue > FALSE_FAIL


@pytest.mark.parametrize(
    ("weights", "means", "scales", "expected"),
    [
        pytest.param([0.6, 0.4], [0.0, 5.0], [1.0, 0.05], 5.0, id="narrow beats heavy"),
        # Highest own peak at 0; the two neighbours at 1 are higher together.
        pytest.param([0.4, 0.3, 0.3], [0.0, 1.0, 1.001], [0.1, 0.1, 0.1], 1.0, id="neighbours add up"),
        pytest.param([0.6, 0.4], [0.0, 5.0], [0.1, 0.1], 0.0, id="equal scales: heaviest"),
    ],
)
@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_mode_is_the_mean_of_highest_mixture_density(weights, means, scales, expected, family):
    log_weights, means, scales = (
        jnp.log(jnp.asarray([weights])),
        *(jnp.asarray([x])[..., None] for x in (means, scales)),
    )
    mode = mode_of(mixtures.Mixture(log_weights, means, scales), family)
    assert mode.shape == (1, 1)
    np.testing.assert_allclose(mode, [[expected]], atol=2e-3)
    if family == "gaussian":
        full = mixtures.FullMixture(log_weights, means, scales[..., None])
        np.testing.assert_array_equal(mode_of(full), mode)


def test_weight_entropy_matches_scipy_and_is_at_most_log_k():
    mixture = mixture_of("isotropic")
    entropy = mixtures.weight_entropy(mixture)
    np.testing.assert_allclose(entropy, scipy.stats.entropy(np.exp(mixture.log_weights), axis=-1), rtol=1e-5)
    even = mixture._replace(log_weights=jnp.full_like(mixture.log_weights, -np.log(K)))
    np.testing.assert_allclose(mixtures.weight_entropy(even), np.log(K), rtol=1e-6)


@pytest.mark.parametrize("covariance", [c for c in COVARIANCES if c != "fixed"])
def test_outputs_for_given_means_and_scale(covariance):
    means, rank = jnp.asarray(np.random.default_rng(0).normal(size=(K, DA)), jnp.float32), RANK.get(covariance, 0)
    outputs = mixture_outputs.to_outputs(means, 0.2, covariance, rank)
    mixture = from_outputs(outputs, K, DA, covariance, 0.0, rank=rank)
    np.testing.assert_array_equal(mixture.means, means)
    np.testing.assert_allclose(mixture.log_weights, np.full(K, -np.log(K)), rtol=1e-6)
    for k in range(K):
        np.testing.assert_allclose(tril_of(mixture, k), 0.2 * np.eye(DA), atol=1e-6)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_outputs_for_given_clusters(covariance):
    """Weights and means as given, and of the covariance what the kind can hold."""
    means, within = (
        jnp.asarray(np.random.default_rng(0).normal(size=(K, DA)), jnp.float32),
        np.float32([[0.5, 0.3], [0.3, 0.4]]),
    )
    log_weights = jnp.log(jnp.asarray([0.5, 0.2, 0.3]))
    for rank in (1, 3) if covariance == "low_rank" else (0,):
        outputs = mixture_outputs.clusters_to_outputs(log_weights, means, jnp.asarray(within), covariance, rank)
        mixture = from_outputs(outputs, K, DA, covariance, 0.0, rank=rank)
        np.testing.assert_array_equal(mixture.means, means)
        np.testing.assert_allclose(mixture.log_weights, log_weights, rtol=1e-6)
        diagonal = np.diag(np.diag(within)) if covariance == "diagonal" else 0.45 * np.eye(DA)
        expected = within if covariance in ("full", "tied", "low_rank") else diagonal
        for k in range(K) if covariance != "fixed" else ():
            tril = tril_of(mixture, k)
            np.testing.assert_allclose(tril @ tril.T, expected, atol=1e-6)
