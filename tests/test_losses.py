"""Losses against closed forms and the plain formula in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from ebgan_mdn_jax import losses, mixture

N, M, B = 7, 2, 5


def energies(seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((B,), (N, B), (M, B)))


def direct(positive, negatives, generated, alpha, alpha_form):
    """The formula of the docstring, without any log-sum-exp."""
    positive, negatives, generated = (np.asarray(x, np.float64) for x in (positive, negatives, generated))
    extra = alpha * np.exp(-generated) if alpha_form == "weight" else np.exp(-alpha * generated)
    total = np.exp(-positive) + np.sum(np.exp(-negatives), axis=0) + np.sum(extra, axis=0)
    return -np.log(np.exp(-positive) / total)


@pytest.mark.parametrize("level", [0.0, -3.0, 200.0])
def test_constant_energies_count_the_candidates(level):
    positive, negatives = jnp.full(B, level), jnp.full((N, B), level)
    drawn = jnp.full((M, B), level)
    one = losses.info_nce(positive, negatives, drawn[:1])
    np.testing.assert_allclose(one, np.full(B, np.log(N + 2)), rtol=1e-5)  # the paper's log(N + 2)
    np.testing.assert_allclose(losses.info_nce(positive, negatives), np.full(B, np.log(N + 1)), rtol=1e-5)
    for alpha in (0.1, 0.5, 3.0):
        value = losses.info_nce(positive, negatives, drawn, alpha)
        np.testing.assert_allclose(value, np.full(B, np.log(N + 1 + alpha * M)), rtol=1e-5)


@pytest.mark.parametrize("alpha_form", ["weight", "logit"])
@pytest.mark.parametrize("alpha", [1.0, 0.3, 0.01])
def test_info_nce_equals_the_direct_formula(alpha, alpha_form):
    value = losses.info_nce(*energies(), alpha, alpha_form)
    np.testing.assert_allclose(value, direct(*energies(), alpha, alpha_form), rtol=1e-5)


def test_zero_weight_takes_the_generator_out():
    positive, negatives, generated = energies()
    without = losses.info_nce(positive, negatives)
    np.testing.assert_allclose(losses.info_nce(positive, negatives, generated, 0.0), without, rtol=1e-6)


def test_info_nce_is_stable_far_from_zero():
    positive, negatives, generated = (x + 1e4 for x in energies())
    assert np.all(np.isfinite(losses.info_nce(positive, negatives, generated, 0.5)))
    hopeless = losses.info_nce(jnp.full(B, 500.0), jnp.zeros((N, B)))
    np.testing.assert_allclose(hopeless, 500.0 + np.log(N), rtol=1e-6)


def test_only_the_weight_form_ignores_an_offset_of_the_row():
    positive, negatives, generated = energies()
    offset = jnp.asarray([-2.0, -1.0, 0.5, 1.0, 2.0])

    def change(alpha_form):
        moved = (
            positive + offset,
            negatives + jnp.broadcast_to(offset, (N, B)),
            generated + jnp.broadcast_to(offset, (M, B)),
        )
        return losses.info_nce(*moved, 0.3, alpha_form) - losses.info_nce(*energies(), 0.3, alpha_form)

    np.testing.assert_allclose(change("weight"), 0.0, atol=1e-5)
    assert np.all(np.abs(change("logit")) > 0.01)
    # Lowering all energies of a row lowers the logit form's loss: training drives them to minus infinity.
    assert np.all(np.sign(change("logit")) == np.sign(offset))


def test_gradient_lowers_the_positive_and_raises_the_others():
    """Autodiff against the closed form: softmax of the logits, with opposite signs."""
    positive, negatives, generated = energies()
    gradient = jax.grad(lambda *e: jnp.sum(losses.info_nce(*e, 0.3)), argnums=(0, 1, 2))(positive, negatives, generated)
    weights = np.exp(-np.concatenate([positive[None], negatives, generated])) * np.r_[np.ones(N + 1), 0.3, 0.3][:, None]
    weights /= weights.sum(0)
    np.testing.assert_allclose(gradient[0], 1 - weights[0], rtol=1e-4)
    np.testing.assert_allclose(gradient[1], -weights[1 : N + 1], rtol=1e-4)
    np.testing.assert_allclose(gradient[2], -weights[N + 1 :], rtol=1e-4)


@pytest.mark.parametrize(
    ("positive", "negatives", "generated"),
    [
        ((B, 1), (N, B), (M, B)),
        ((B,), (B,), (M, B)),
        ((B,), (N, 1), (M, B)),
        ((B,), (B, N), (M, B)),
        ((B,), (N, B), (M, 1)),
        ((B,), (N, B), (B,)),
        ((1,), (N, B), (M, B)),
    ],
)
def test_info_nce_refuses_to_broadcast(positive, negatives, generated):
    with pytest.raises(AssertionError):
        losses.info_nce(jnp.zeros(positive), jnp.zeros(negatives), jnp.zeros(generated))


def test_binary_critic_is_the_cross_entropy_of_its_probabilities():
    positive, _, generated = energies()
    real, fake = scipy.special.expit(-np.float64(positive)), scipy.special.expit(-np.float64(generated))
    np.testing.assert_allclose(
        losses.binary_critic(positive, generated), -np.log(real) - np.mean(np.log(1 - fake), 0), rtol=1e-5
    )
    assert np.all(np.isfinite(losses.binary_critic(positive + 1e4, generated - 1e4)))


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_mixture_nll_of_one_component_is_the_textbook_formula(family):
    means, scales = np.asarray([[[1.0, -1.0]], [[0.0, 2.0]]]), np.asarray([[[0.5, 2.0]], [[1.0, 0.1]]])
    action = np.asarray([[0.7, 0.0], [0.3, 2.2]])
    z = (action - means[:, 0]) / scales[:, 0]
    expected = {
        "gaussian": np.sum(z**2 / 2 + np.log(scales[:, 0] * np.sqrt(2 * np.pi)), -1),
        "laplace": np.sum(np.abs(z) + np.log(2 * scales[:, 0]), -1),
    }[family]
    q = mixture.Mixture(jnp.zeros((2, 1)), jnp.asarray(means), jnp.asarray(scales))
    np.testing.assert_allclose(losses.mixture_nll(q, jnp.asarray(action), family), expected, rtol=1e-5)


def test_mixture_nll_wants_one_action_per_row():
    q = mixture.Mixture(jnp.zeros((2, 3)), jnp.zeros((2, 3, 1)), jnp.ones((2, 3, 1)))
    for shape in ((2,), (4, 2, 1), (3, 1)):
        with pytest.raises(AssertionError):
            losses.mixture_nll(q, jnp.zeros(shape))


def test_squared_error_averages_over_dimensions_and_keeps_rows():
    prediction, target = jnp.asarray([[0.0, 1.0], [2.0, 2.0]]), jnp.asarray([[1.0, 3.0], [2.0, 4.0]])
    np.testing.assert_allclose(losses.squared_error(prediction, target), [2.5, 2.0])
    for shape in ((2,), (2, 1), (1, 2)):
        with pytest.raises(AssertionError):
            losses.squared_error(prediction, jnp.zeros(shape))


def test_gradient_penalty_in_numpy():
    """Every norm against NumPy's; below the margin nothing is added, and at a zero gradient the slope is finite."""
    gradient = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32) * 2
    for norm, order in (("1", 1), ("2", 2), ("inf", np.inf)):
        size = np.linalg.norm(gradient.astype(np.float64), order, axis=-1)
        expected = (np.maximum(size - 1.0, 0) ** 2).mean(0)
        np.testing.assert_allclose(losses.gradient_penalty(jnp.asarray(gradient), norm, 1.0), expected, rtol=1e-5)
        assert not losses.gradient_penalty(jnp.asarray(gradient) * 1e-3, norm, 1.0).any()
        slope = jax.grad(lambda g, norm=norm: jnp.sum(losses.gradient_penalty(g, norm, 0.0)))(jnp.zeros((1, 1, 2)))
        assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match="norm='3'"):
        losses.gradient_penalty(jnp.zeros((1, 1, 1)), "3", 1.0)


def test_contrastive_divergence_and_maximum_entropy_in_numpy():
    """Values, and the gradients that Ta et al. give: -1/N, and (-1 + E_j - mean) / N."""
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(size=5).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32) * 3
    difference = positive - negative.mean(0)
    np.testing.assert_allclose(losses.contrastive_divergence(positive, negative), difference, rtol=1e-5)
    expected = difference + 0.5 * ((negative**2).mean(0) - negative.mean(0) ** 2)
    np.testing.assert_allclose(losses.max_entropy(positive, negative), expected, rtol=1e-4)
    for loss, slopes in (
        (losses.contrastive_divergence, np.full_like(negative, -0.25)),
        (losses.max_entropy, (-1 + negative - negative.mean(0)) / 4),
    ):
        to_positive, to_negative = jax.grad(lambda *of, loss=loss: jnp.sum(loss(*of)), (0, 1))(positive, negative)
        np.testing.assert_array_equal(to_positive, np.ones(5))
        np.testing.assert_allclose(to_negative, slopes, rtol=1e-4, atol=1e-6)


def test_importance_nll_estimates_the_likelihood():
    """Of a Gaussian with uniform proposals, within 4 standard errors of the exact value; and weights count as repeated draws do."""
    rng = np.random.default_rng(2)
    drawn = rng.uniform(-6, 6, (4_000, 1)).astype(np.float32)
    log_proposal = np.full_like(drawn, -np.log(12))
    action = np.asarray([1.0], np.float32)
    value = losses.importance_nll(3.0 + action**2 / 2, 3.0 + drawn**2 / 2, log_proposal)
    ratios = 12 * np.exp(-(drawn.astype(np.float64) ** 2) / 2)
    error = ratios.std() / ratios.mean() / np.sqrt(ratios.size)
    assert abs(float(value[0]) - (0.5 + 0.5 * np.log(2 * np.pi))) < 4 * error
    energy, proposal = (rng.normal(size=(3, 2)).astype(np.float32) for _ in range(2))
    positive = energy[0]
    twice = losses.importance_nll(positive, *(np.concatenate([x, x[2:]]) for x in (energy, proposal)))
    weighted = losses.importance_nll(positive, energy, proposal, jnp.log(jnp.asarray([1.0, 1.0, 2.0])))
    np.testing.assert_allclose(weighted, twice, rtol=1e-5)


def test_info_nce_keeps_its_gradient_where_the_true_action_is_all_but_impossible():
    """At probabilities far under 1e-7, where the clipped cross-entropy of IBC's code has none."""
    positive, negative = jnp.asarray([40.0]), jnp.zeros((8, 1))
    loss, slope = jax.value_and_grad(lambda e: losses.info_nce(e, negative)[0])(positive)
    assert loss == pytest.approx(40 + np.log(8), rel=1e-6) and slope[0] == pytest.approx(1.0, rel=1e-6)
    for logits, expected in (([0.0] * 4, 1.386294), ([1.0, 2, 3, 4], 0.440190), ([0.0] * 9, 2.197225)):
        value = losses.info_nce(-jnp.asarray(logits[-1:]), -jnp.asarray(logits[:-1])[:, None])
        np.testing.assert_allclose(value, expected, rtol=1e-5)


# Energy score


def test_energy_score_is_the_formula():
    rng = np.random.default_rng(0)
    draws, action = rng.normal(size=(5, 4, 3)), rng.normal(size=(4, 3))
    distance = lambda x, y: np.sqrt(np.sum((x - y) ** 2))  # noqa: E731
    for row, (score, spread) in enumerate(zip(losses.energy_score(draws, action), losses.spread(draws), strict=True)):
        between = [distance(draws[i, row], draws[j, row]) for i in range(5) for j in range(5) if i != j]
        expected = np.mean([distance(x[row], action[row]) for x in draws]) - 0.5 * np.mean(between)
        assert float(score) == pytest.approx(expected, rel=1e-5)
        assert float(spread) == pytest.approx(np.mean(between), rel=1e-5)


@pytest.mark.parametrize("num_draws", [2, 7])
def test_energy_score_of_a_gaussian_is_the_closed_form_crps(num_draws):
    """Gneiting & Raftery 2007, equation 21; unbiased for any number of draws: 5 standard errors."""
    rows, mean, scale, action = 40_000, 0.4, 1.7, -0.9
    draws = mean + scale * np.random.default_rng(1).normal(size=(num_draws, rows, 1)).astype(np.float32)
    scores = np.asarray(losses.energy_score(jnp.asarray(draws), jnp.full((rows, 1), action)), np.float64)
    at = (action - mean) / scale
    normal = scipy.stats.norm
    expected = scale * (at * (2 * normal.cdf(at) - 1) + 2 * normal.pdf(at) - 1 / np.sqrt(np.pi))
    assert scores.mean() == pytest.approx(expected, abs=5 * scores.std() / np.sqrt(rows))


def test_energy_score_is_proper():
    """In two dimensions it is least for draws of the data's own distribution; narrower, wider and moved ones are worse."""
    normal = np.random.default_rng(0).normal(size=(5, 20_000, 2)).astype(np.float32)
    truth, *others = (
        float(jnp.mean(losses.energy_score(jnp.asarray(f(normal[:4])), jnp.asarray(normal[4]))))
        for f in (lambda x: x, lambda x: 0.3 * x, lambda x: 2 * x, lambda x: x + 0.7)
    )
    assert truth + 0.03 < min(others)


def test_energy_score_has_a_slope_where_draws_coincide():
    slope = jax.grad(lambda draws: jnp.sum(losses.energy_score(draws, jnp.zeros((2, 3)))))(jnp.zeros((4, 2, 3)))
    np.testing.assert_array_equal(slope, 0.0)
    with pytest.raises(AssertionError):
        losses.energy_score(jnp.zeros((4, 1, 3)), jnp.zeros((2, 3)))
