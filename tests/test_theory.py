"""Bounds and exact laws, held to closed forms, to brute force that shares no code with them, and to simulation.

Simulations fail falsely once in a million (5 standard errors).
"""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from ebgan_mdn_jax import theory
from ebgan_mdn_jax.types import InputError

PHI, QUANTILE = scipy.stats.norm.cdf, scipy.stats.norm.ppf


def uniform(num_modes):
    return np.full(num_modes, 1 / num_modes)


# Latents


def test_fano_floor_is_what_a_symmetric_channel_needs():
    """Fano's inequality is an equality where the decoded mode is right with 1 - e and else any other one, equally likely."""
    for num_modes, error in ((2, 0.1), (5, 0.3), (16, 0.02)):
        joint = np.full((num_modes, num_modes), error / (num_modes - 1))
        np.fill_diagonal(joint, 1 - error)
        joint /= num_modes
        independent = np.outer(joint.sum(1), joint.sum(0))
        information = np.sum(joint * np.log(joint / independent))
        assert theory.fano_floor(uniform(num_modes), error) == pytest.approx(information, rel=1e-12)


@pytest.mark.parametrize(("num_modes", "expected"), [(2, 0.37), (4, 0.95), (8, 1.56), (16, 2.18)])
def test_fano_floor_at_ten_per_cent(num_modes, expected):
    assert theory.fano_floor(uniform(num_modes), 0.1) == pytest.approx(expected, abs=0.005)


def test_fano_floor_holds_for_random_channels_and_vanishes_where_guessing_is_as_good():
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.dirichlet(np.ones(4))
        channel = rng.dirichlet(np.full(6, 0.3), size=4)  # P(z | mode)
        joint = weights[:, None] * channel
        information = np.sum(scipy.special.rel_entr(joint, weights[:, None] * joint.sum(0)))
        error = 1 - joint.max(0).sum()
        assert theory.fano_floor(weights, error) <= information + 1e-12
    assert theory.fano_floor(uniform(4), 0.75) == pytest.approx(0.0, abs=1e-12) == theory.fano_floor(uniform(4), 1.0)
    assert theory.fano_floor([0.9, 0.1], 0.1) == 0.0
    assert theory.fano_floor([0.5, 0.5, 0.0], 0.0) == pytest.approx(
        np.log(2)
    )  # a mode that never occurs counts for nothing


def test_cap_and_threshold_meet():
    """Rows of published losses: gain D_0 - D_min, the beta where cap and floor meet, and the cap at beta = 10."""
    for gain, num_modes, threshold, cap in (
        (0.102, 2, 0.28, 0.010),
        (0.017, 4, 0.018, 0.0017),
        (0.048, 16, 0.022, 0.0048),
    ):
        beta = theory.beta_crit(gain, uniform(num_modes), 0.1)
        assert beta == pytest.approx(threshold, rel=0.03)
        assert theory.rate_cap(gain, beta) == pytest.approx(theory.fano_floor(uniform(num_modes), 0.1))
        assert theory.rate_cap(gain, 10.0) == pytest.approx(cap, rel=0.03)
    assert theory.beta_crit(1.0, [1.0], 0.1) == np.inf


def brute_force(beta, loss, num=60):
    """``min D + beta R`` over a grid of m and s, the optimal decoder at every z of another grid, nothing in closed form but the KL."""
    z = np.linspace(-9, 9, 1801)
    best = (np.inf,)
    for m in np.linspace(0, 1.1, num):
        for s in np.linspace(0.25, 1.05, num):
            up, down = scipy.stats.norm.pdf(z, m, s) / 2, scipy.stats.norm.pdf(z, -m, s) / 2
            if loss == "squared":
                decoded = (up - down) / (up + down + 1e-300)
                distortion = (1 - decoded) ** 2 * up + (1 + decoded) ** 2 * down
            else:
                distortion = 2 * np.minimum(up, down)  # the median is one of the modes
            rate = (m**2 + s**2 - 1) / 2 - np.log(s)
            best = min(best, (np.trapezoid(distortion, z) + beta * rate, rate, m, s))
    return best


@pytest.mark.parametrize(("loss", "beta"), [("squared", 1.0), ("squared", 0.5), ("absolute", 3.0), ("absolute", 1.0)])
def test_the_two_mode_law_is_the_minimum_of_the_negative_elbo(loss, beta):
    lowest, rate, m, s = brute_force(beta, loss)
    law = theory.two_mode_law(1.0, beta, loss)
    ratio = np.exp(2 * law.rate) - 1  # (m/s)^2
    assert law.error == pytest.approx(PHI(-np.sqrt(ratio)), rel=1e-9)
    if loss == "squared":
        integrand = lambda x: (1 - np.tanh(ratio + np.sqrt(ratio) * x)) * scipy.stats.norm.pdf(x)  # noqa: E731
        distortion = scipy.integrate.quad(integrand, -10, 10)[0]
    else:
        distortion = 2 * law.error
    # The grid's lowest point is no lower, and hardly higher.
    assert lowest - 2e-3 < distortion + beta * law.rate < lowest + 1e-9
    assert law.rate == pytest.approx(rate, abs=0.03)
    assert law.error == pytest.approx(PHI(-m / s), abs=0.02)


@pytest.mark.parametrize(
    ("beta", "rate", "information", "blended"),
    [
        (1.8, 0.064, None, None),
        (1.0, 0.490, None, 0.52),
        (0.5, 0.748, None, 0.29),
        (0.1, None, None, 0.15),
        (0.01, 1.29, 0.693, 0.09),
    ],
)
def test_squared_error_at_some_weights(beta, rate, information, blended):
    law = theory.two_mode_law(1.0, beta)
    for value, expected in ((law.rate, rate), (law.information, information), (law.blended, blended)):
        assert expected is None or value == pytest.approx(expected, abs=0.005)


def test_information_and_blended_mass_are_those_of_the_code():
    """By integrals over z of the code that the rate stands for."""
    law = theory.two_mode_law(1.0, 0.7)
    s = np.exp(-law.rate)  # s^2 = 1 / (1 + ratio)
    m = s * np.sqrt(np.expm1(2 * law.rate))
    z = np.linspace(-9, 9, 20_001)
    up, down = scipy.stats.norm.pdf(z, m, s) / 2, scipy.stats.norm.pdf(z, -m, s) / 2
    marginal = up + down
    marginal_kl = np.trapezoid(scipy.special.rel_entr(marginal, scipy.stats.norm.pdf(z)), z)
    assert law.rate - law.information == pytest.approx(marginal_kl, abs=1e-8)
    decoded = (up - down) / marginal
    assert law.blended == pytest.approx(np.trapezoid(scipy.stats.norm.pdf(z) * (np.abs(decoded) < 0.9), z), abs=1e-3)


def test_squared_error_collapses_at_a_threshold_and_absolute_error_never():
    assert theory.two_mode_law(1.0, 2.0) == (0.0, 0.0, 0.5, 1.0) == theory.two_mode_law(0.5, 0.5)
    assert 0 < theory.two_mode_law(1.0, 1.999).rate < 1e-3  # continuous
    for beta in (3.0, 10.0, 300.0):
        law = theory.two_mode_law(1.0, beta, "absolute")
        assert law.rate == pytest.approx(1 / (np.pi * beta**2), rel=0.04)
        assert law.error == pytest.approx(0.5 - 1 / (np.pi * beta), rel=0.01)
        code = np.sqrt(1 - np.exp(-2 * law.rate))  # m, of m^2 = g / (1 + g)
        assert code == pytest.approx(2 * scipy.stats.norm.pdf(0) / beta, rel=0.02)


def test_laws_scale_and_rates_fall_with_beta():
    assert theory.two_mode_law(3.0, 9.0) == pytest.approx(theory.two_mode_law(1.0, 1.0))
    assert theory.two_mode_law(3.0, 3.0, "absolute") == pytest.approx(theory.two_mode_law(1.0, 1.0, "absolute"))
    for function in (theory.two_mode_law, theory.two_mode_rate_distortion):
        for loss in ("squared", "absolute"):
            laws = [function(1.0, beta, loss) for beta in (0.05, 0.2, 0.8, 1.6, 2.5)]
            assert np.all(np.diff([law.rate for law in laws]) <= 0) and np.all(
                np.diff([law.error for law in laws]) >= 0
            )
            assert all(law.information <= min(law.rate, np.log(2)) + 1e-12 for law in laws)


@pytest.mark.parametrize(("loss", "gain", "times"), [("squared", 1.0, 2.7), ("absolute", 1.0, 3.8)])
def test_the_threshold_of_cap_and_floor_is_an_upper_bound(loss, gain, times):
    law_beta = scipy.optimize.brentq(lambda beta: theory.two_mode_law(1.0, beta, loss).error - 0.1, 0.1, 1.9)
    assert theory.beta_crit(gain, [0.5, 0.5], 0.1) / law_beta == pytest.approx(times, abs=0.06)


@pytest.mark.parametrize(("loss", "beta"), [("squared", 1.9), ("squared", 0.6), ("absolute", 1.5), ("absolute", 0.3)])
def test_rate_distortion_by_blahut_and_arimoto(loss, beta):
    """The iteration (Blahut 1972) on a grid of outputs finds the same rate, and no code of `two_mode_law` is better."""
    outputs = np.linspace(-1, 1, 2001)
    distance = np.abs(np.array([[-1.0], [1.0]]) - outputs) ** (2 if loss == "squared" else 1)
    kernel, marginal = np.exp(-distance / beta), np.full(outputs.size, 1 / outputs.size)
    for _ in range(20_000):
        marginal = marginal * np.mean(kernel / (kernel @ marginal)[:, None], axis=0)
    channel = kernel * marginal / (kernel @ marginal)[:, None]
    rate = np.sum(scipy.special.rel_entr(channel, marginal)) / 2
    objective = np.sum(channel * distance) / 2 + beta * rate
    best = theory.two_mode_rate_distortion(1.0, beta, loss)
    if beta < 1.9:  # close to the transition the iteration is slow
        assert best.rate == pytest.approx(rate, abs=2e-3)
    t = best.error
    ours = (4 * t * (1 - t) if loss == "squared" else 2 * t) + beta * best.rate
    assert ours == pytest.approx(objective, abs=2e-4)
    assert ours <= brute_force(beta, loss, 12)[0] + 1e-9


def test_collapse_is_at_half_the_squared_distance_for_two_modes():
    modes = np.array([[1.0, 2.0, 0.0], [4.0, 6.0, 0.0]])
    np.testing.assert_allclose(theory.collapse_betas(modes, [0.5, 0.5]), 12.5, rtol=1e-6)


def test_unequal_modes_collapse_later_than_the_covariance_says():
    """The variance proxy of a Bernoulli variable is ``(1 - 2p) / (2 log((1 - p)/p))`` (Kearns & Saul 1998)."""
    for p in (0.3, 0.05):
        local, last = theory.collapse_betas([[-1.0], [1.0]], [p, 1 - p])
        assert local == pytest.approx(8 * p * (1 - p)) and last == pytest.approx(4 * (1 - 2 * p) / np.log((1 - p) / p))
        # The best code decodes with the error of two equal modes at the same beta, and its rate falls to 0 steadily there.
        error = theory.two_mode_rate_distortion(1.0, 0.999 * last).error
        assert 0 < theory.mode_entropy([p, 1 - p]) - theory.mode_entropy([error, 1 - error]) < 2e-3


@pytest.mark.parametrize("num_modes", [3, 4, 8])
def test_modes_equally_far_from_each_other_collapse_as_potts_spins(num_modes):
    """The mean-field Potts model jumps at a coupling of ``2 (K - 1) log(K - 1) / (K - 2)`` (Wu 1982); ours is 2 / beta."""
    local, last = theory.collapse_betas(np.eye(num_modes), uniform(num_modes))
    assert local == pytest.approx(2 / num_modes)
    assert last == pytest.approx((num_modes - 2) / ((num_modes - 1) * np.log(num_modes - 1)), rel=1e-6)


def test_a_code_survives_above_the_covariance_threshold():
    """Two modes with weights 0.05 and 0.95, at 1.6 times the first beta: a Gaussian code beats the policy that ignores z."""
    p, beta = 0.05, 1.6 * 8 * 0.05 * 0.95
    z = np.linspace(-9, 9, 3601)

    def objective(code):
        rare = p * scipy.stats.norm.pdf(z, code[0], code[1])
        common = (1 - p) * scipy.stats.norm.pdf(z, code[2], code[3])
        share = rare / (rare + common + 1e-300)
        rates = [(m**2 + s**2 - 1) / 2 - np.log(s) for m, s in (code[:2], code[2:])]
        return np.trapezoid(4 * share * (1 - share) * (rare + common), z) + beta * np.dot([p, 1 - p], rates)

    found = scipy.optimize.minimize(objective, [2.0, 0.6, -0.1, 0.9], method="Nelder-Mead", options={"maxiter": 400})
    assert found.fun < 4 * p * (1 - p) - 0.02
    assert beta < theory.collapse_betas([[-1.0], [1.0]], [p, 1 - p])[1]


def test_prior_mass_lies_in_both_intervals():
    rng = np.random.default_rng(1)
    for _ in range(100):
        q, p = rng.dirichlet(np.full(5, 0.5), size=2)
        mass, prior_mass = q[:2].sum(), p[:2].sum()
        pinsker, exact = theory.prior_mass_interval(mass, scipy.special.rel_entr(q, p).sum())
        assert (
            pinsker[0] - 1e-12 <= exact[0] <= prior_mass + 1e-9 and prior_mass - 1e-9 <= exact[1] <= pinsker[1] + 1e-12
        )
    low, high = theory.prior_mass_interval(0.8, 0.3)[1]
    for end in (low, high):
        assert np.sum(scipy.special.rel_entr([0.8, 0.2], [end, 1 - end])) == pytest.approx(0.3)
    assert theory.prior_mass_interval(1.0, 0.5)[1] == pytest.approx(
        (np.exp(-0.5), 1.0)
    )  # all of q inside: p(V) >= exp(-KL)
    assert theory.prior_mass_interval(0.0, 0.5)[1] == pytest.approx((0.0, 1 - np.exp(-0.5)))
    np.testing.assert_allclose(theory.prior_mass_interval(0.4, 0.0), 0.4)


# Transport


def test_least_lipschitz_constants():
    expected = {
        0.01: (39.9, 63.4, 82.1, 98.0, 112),
        0.05: (8.0, 12.5, 16.2, 19.3, 22.1),
        0.1: (4.0, 6.2, 7.9, 9.5, 10.8),
        0.5: (0.74, 1.05, 1.30, 1.52, 1.72),
    }
    for bridge, row in expected.items():
        values = [float(theory.least_lipschitz(num_modes, 1.0, bridge)) for num_modes in (2, 4, 8, 16, 32)]
        np.testing.assert_allclose(values, row, rtol=0.01)
        np.testing.assert_allclose(
            [theory.bridge_mass_bound(k, 1.0, v) for k, v in zip((2, 4, 8, 16, 32), values, strict=True)], bridge
        )


def test_least_lipschitz_at_the_ends(recwarn):
    """A constant map has one mode, or several where nothing is between them; it has no bridge mass."""
    bridge = [0.0, 0.5, 1.0]
    np.testing.assert_array_equal(theory.least_lipschitz(4, 1.0, bridge)[[0, 2]], [np.inf, 0.0])
    for num_modes, gap in ((1, 1.0), (1, 0.0), (4, 0.0)):
        np.testing.assert_array_equal(theory.least_lipschitz(num_modes, gap, bridge), 0.0)
    assert not recwarn.list


BETWEEN = {  # delta: bound and construction for K = 2, 4, 8, 16
    0.05: ((0.020, 0.020), (0.032, 0.040), (0.041, 0.078), (0.048, 0.152)),
    0.10: ((0.040, 0.040), (0.062, 0.078), (0.080, 0.152), (0.095, 0.287)),
    0.25: ((0.099, 0.100), (0.152, 0.189), (0.191, 0.351), (0.223, 0.603)),
    0.50: ((0.197, 0.198), (0.290, 0.356), (0.354, 0.606), (0.405, 0.881)),
    1.00: ((0.383, 0.383), (0.520, 0.619), (0.605, 0.884), (0.664, 0.996)),
}


@pytest.mark.parametrize("delta", BETWEEN)
def test_the_best_bridge_mass_is_between_the_bound_and_the_construction(delta):
    for num_modes, (bound, construction) in zip((2, 4, 8, 16), BETWEEN[delta], strict=True):
        assert theory.bridge_mass_bound(num_modes, delta, 1.0) == pytest.approx(bound, abs=6e-4)
        assert theory.sector_bridge_mass(num_modes, delta, 1.0) == pytest.approx(
            construction, abs=1.5e-3
        )  # of 2e6 draws


def test_two_modes_attain_the_bound_by_the_error_function():
    delta = np.array([0.1, 0.7, 2.0])
    expected = scipy.special.erf(delta / np.sqrt(8))
    for function in (theory.bridge_mass_bound, theory.sector_bridge_mass):
        np.testing.assert_allclose(function(2, delta, 1.0), expected, rtol=1e-12)
    np.testing.assert_allclose([theory.line_bridge_mass(2, d, 1.0) for d in delta], expected, rtol=1e-9)


def test_a_clipped_linear_map_attains_the_sum():
    """``clip(L x_1, -gap/2, gap/2)``: all that is clipped is on a mode."""
    gap, lipschitz, num = 1.0, 1.6, 200_000
    noise = np.random.default_rng(2).standard_normal(num)
    action = np.clip(lipschitz * noise, -gap / 2, gap / 2)
    on_mode = np.mean(np.abs(action) == gap / 2)
    expected = 1 - float(theory.bridge_mass_bound(2, gap, lipschitz))
    assert on_mode == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / num))
    masses = [expected / 2, expected / 2]
    assert theory.isoperimetric_sum(masses, gap, lipschitz) == pytest.approx(1.0)
    # A shifted one has unequal masses and attains it too, and the bound on groups.
    a, b = PHI(-0.3 - gap / lipschitz / 2), PHI(0.3 - gap / lipschitz / 2)
    assert theory.isoperimetric_sum([a, b], gap, lipschitz) == pytest.approx(1.0)
    assert theory.second_group_bound(a, gap, lipschitz) == pytest.approx(b)


@pytest.mark.parametrize("num_modes", [2, 3, 8])
def test_the_sector_map_is_lipschitz_and_has_that_mass(num_modes):
    gap, lipschitz, num = 1.0, 2.5, 40_000
    radius = gap / (2 * np.sin(np.pi / num_modes))
    noise = np.random.default_rng(4).standard_normal((num, 2))
    angle = np.arctan2(noise[:, 1], noise[:, 0]) % (2 * np.pi)
    mode = (angle // (2 * np.pi / num_modes)).astype(int)
    within = angle - mode * 2 * np.pi / num_modes
    distance = np.linalg.norm(noise, axis=1)
    to_edges = np.minimum(
        *(np.where(a < np.pi / 2, distance * np.sin(a), distance) for a in (within, 2 * np.pi / num_modes - within))
    )
    kept = to_edges >= gap / lipschitz / 2
    expected = float(theory.sector_bridge_mass(num_modes, gap, lipschitz))
    assert 1 - kept.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / num))
    corner = radius * np.stack([np.cos(2 * np.pi * mode / num_modes), np.sin(2 * np.pi * mode / num_modes)], axis=1)
    x, y = noise[kept][:800], corner[kept][:800]
    stretch = np.linalg.norm(y[:, None] - y[None], axis=-1) - lipschitz * np.linalg.norm(x[:, None] - x[None], axis=-1)
    assert stretch.max() <= 1e-9


@pytest.mark.parametrize(("num_modes", "expected"), [(2, 0.10), (4, 0.25), (8, 0.50), (16, 0.84)])
def test_one_dimensional_noise_is_much_worse(num_modes, expected):
    value = theory.line_bridge_mass(num_modes, 0.25, 1.0)
    assert value == pytest.approx(expected, abs=0.006)
    # The packing, walked from the left with the mass that it claims, ends at the right end.
    mass, end = (1 - value) / num_modes, -np.inf
    for index in range(num_modes):
        start = end + (0.25 if index else 0.0)
        end = QUANTILE(min(PHI(start) + mass, 1.0)) if index < num_modes - 1 else start
    assert 1 - PHI(end) == pytest.approx(mass, rel=1e-6)


def test_one_dimensional_noise_in_the_limit_of_many_modes():
    assert theory.line_bridge_mass(128, 1e-3, 1.0) == pytest.approx(128e-3 / (2 * np.sqrt(np.pi)), rel=0.05)
    assert theory.line_bridge_mass(5, 0.0, 1.0) == theory.line_bridge_mass(1, 1.0, 1.0) == 0.0
    assert theory.line_bridge_mass(33, 1.0, 1.0) == pytest.approx(1.0) and theory.line_bridge_mass(64, 9.0, 1.0) == 1.0


def test_bounds_are_monotone_and_have_their_limits():
    steepness = np.array([0.1, 1.0, 10.0, 1e6])
    for function in (theory.bridge_mass_bound, theory.sector_bridge_mass):
        values = np.array([function(k, 1.0, steepness) for k in (2, 4, 16, 64)])
        assert np.all(np.diff(values, axis=1) < 1e-12) and np.all(np.diff(values, axis=0) > -1e-12)
        np.testing.assert_allclose(values[:, -1], 0.0, atol=1e-4)
    np.testing.assert_allclose(theory.bridge_mass_bound(1, 1.0, steepness), 0.0, atol=1e-12)
    small = 1e-4
    for num_modes in (4, 64):  # to first order (delta / 2) K phi(Phi^-1(1/K))
        slope = num_modes * scipy.stats.norm.pdf(QUANTILE(1 / num_modes)) / 2
        assert theory.bridge_mass_bound(num_modes, small, 1.0) == pytest.approx(small * slope, rel=1e-3)
    np.testing.assert_array_equal(theory.modes_along_path([0.0, 1.0, 2.6], 0.5, 1.0), [1, 3, 6])
    assert theory.isoperimetric_sum([0.0, 0.3], 1.0, 1e9) == pytest.approx(0.3)
    assert theory.isoperimetric_sum(np.full((5, 3), 0.2), 1.0, 2.0).shape == (5,)
    assert scipy.optimize.brentq(lambda d: theory.bridge_mass_bound(16, d, 1.0) - 0.51, 0.1, 2) == pytest.approx(
        0.675, abs=1e-3
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.mode_entropy([0.5, 0.6]), "add up to 1"),
        (lambda: theory.fano_floor([0.5, 0.5], 1.5), "error=1.5"),
        (lambda: theory.rate_cap(1.0, 0.0), "beta > 0"),
        (lambda: theory.collapse_betas([[0.0], [1.0]], [1.0]), "expected \\[1, Da\\]"),
        (lambda: theory.two_mode_law(-1.0, 1.0), "positive"),
        (lambda: theory.two_mode_law(1.0, 1.0, "huber"), "'squared' or 'absolute'"),
        (lambda: theory.two_mode_law(1.0, 1e-300), "too small"),
        (lambda: theory.prior_mass_interval(0.5, -1.0), "KL >= 0"),
        (lambda: theory.isoperimetric_sum([0.9, 0.9], 1.0, 1.0), "1 or less"),
        (lambda: theory.bridge_mass_bound(0, 1.0, 1.0), "num_modes=0"),
        (lambda: theory.bridge_mass_bound(2, 1.0, 0.0), "> 0"),
        (lambda: theory.sector_bridge_mass(1, 1.0, 1.0), "at least 2"),
        (lambda: theory.least_lipschitz(2, 1.0, 1.5), "in \\[0, 1\\]"),
        (lambda: theory.second_group_bound(2.0, 1.0, 1.0), "probability"),
        (lambda: theory.modes_along_path(-1.0, 1.0, 1.0), "length >= 0"),
        (lambda: theory.certified_lipschitz([np.eye(2), np.eye(3)]), "expected a stack"),
        (lambda: theory.langevin_lipschitz(-0.1, 1.0, 3), "not be negative"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
