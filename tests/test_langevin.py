"""Langevin chains against closed forms, an independent NumPy version, and exact draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.samplers import base, langevin
from ebgan_mdn_jax.types import InputError

WIDE = ((-np.inf, -np.inf), (np.inf, np.inf))
BOX = ((-1.0, -0.5), (1.0, 1.5))
MEAN, STD = np.array([0.3, 0.4]), np.array([0.1, 0.2])  # Ta et al., figure 1


def gaussian(obs, action):
    """Energy ``[N, B]`` of Ta's Gaussian around ``MEAN * obs``."""
    return jnp.sum(((action - jnp.asarray(MEAN)[None, None] * obs[None]) / jnp.asarray(STD)[None, None]) ** 2, -1) / 2


def quartic(obs, action):
    """Two wells at +-obs, and a coupling of the dimensions."""
    well = jnp.sum((action**2 - obs[None] ** 2) ** 2, -1)
    return 3 * well + action[..., 0] * action[..., 1]


def run(sampler, action, obs=None, keys=None, energy=gaussian, trace=lambda chains: ()):
    action = jnp.asarray(action, jnp.float32)
    obs = jnp.ones((action.shape[1], 2)) if obs is None else jnp.asarray(obs, jnp.float32)
    keys = collectives.row_keys(jax.random.key(0), action.shape[1]) if keys is None else keys
    return jax.jit(lambda keys, obs, action: base.run(keys, sampler, energy, obs, action, trace))(keys, obs, action)


def test_schedules_have_the_values_of_the_specification():
    for (init, final, power, num), expected in {
        (0.1, 1e-5, 2, 25): {0: 0.1, 1: 0.091841094, 12: 0.0250075, 23: 1.8359375e-4, 24: 1e-5},
        (0.5, 1e-5, 2, 100): {1: 0.48995021, 50: 0.12249505, 98: 6.1014182e-5},
        (1.0, 1e-3, 2, 10): {1: 0.79033333, 5: 0.19833333, 8: 0.013333333},
        (0.1, 1e-5, 2, 1): {0: 0.1},
    }.items():
        sizes = langevin.polynomial_schedule(init, final, power, num)
        assert sizes.shape == (num,)
        for index, size in expected.items():
            assert sizes[index] == pytest.approx(size, rel=2e-5)
    np.testing.assert_allclose(langevin.exponential_schedule(0.1, 0.8, 4), [0.1, 0.08, 0.064, 0.0512], rtol=1e-6)


@pytest.mark.parametrize("noise", ["langevin", "langevin_half", "ibc"])
@pytest.mark.parametrize("clips", [{}, {"gradient_clip": 1.5, "delta_clip": 0.03}])
def test_without_noise_agrees_with_numpy(noise, clips):
    """A loop over chains, rows and dimensions in float64, with derivatives by hand."""
    rng = np.random.default_rng(0)
    obs, start = rng.uniform(0.3, 1.0, (3, 2)), rng.uniform(-0.5, 1.0, (4, 3, 2))
    sizes = np.asarray(langevin.polynomial_schedule(0.05, 1e-3, 2, 12), np.float64)
    sampler = langevin.make(jnp.asarray(sizes), *BOX, noise=noise, noise_scale=0.0, **clips)
    ours, _, path = run(sampler, start, obs, energy=quartic, trace=lambda chains: chains.action)
    expected = np.zeros((12, *start.shape))
    for n, b in np.ndindex(4, 3):
        a = start[n, b].copy()
        for k, size in enumerate(sizes):
            gradient = 12 * a * (a**2 - obs[b] ** 2) + a[::-1]
            gradient = np.clip(gradient, -clips.get("gradient_clip", np.inf), clips.get("gradient_clip", np.inf))
            move = -gradient * (size if noise == "langevin" else size / 2)
            most = clips.get("delta_clip", np.inf) * 0.5 * (np.array(BOX[1]) - np.array(BOX[0]))
            a = np.clip(a + np.clip(move, -most, most), *BOX)
            expected[k, n, b] = a
    np.testing.assert_allclose(path, expected, atol=1e-5)
    np.testing.assert_array_equal(ours.action, path[-1])
    np.testing.assert_allclose(ours.energy, quartic(jnp.asarray(obs), jnp.asarray(expected[-1])), atol=1e-4)


@pytest.mark.parametrize("noise", ["langevin", "langevin_half", "ibc"])
@pytest.mark.parametrize("noise_scale", [1.0, 0.1])
def test_stationary_deviation_of_each_form(noise, noise_scale):
    """From a start far too wide or too narrow; 6 standard errors. At Ta's step of 1e-3 IBC's form is 31 times too narrow."""
    sampler = langevin.make(jnp.full(600, 1e-3), *WIDE, noise=noise, noise_scale=noise_scale)
    num = 4_000
    start = MEAN + 0.01 * np.random.default_rng(0).standard_normal((num, 1, 2))
    action = np.asarray(run(sampler, start)[0].action, np.float64)[:, 0]
    expected = np.asarray(langevin.gaussian_std(STD, 1e-3, noise, noise_scale), np.float64)
    # What is left of the start: (1 - drift / std^2)^600, under 1e-3 in the narrow dimension and 6e-7 to 1e-3 in the wide one.
    assert (abs(action.std(0) / expected - 1) < 6 / np.sqrt(2 * num) + 2e-3).all()
    assert (abs(action.mean(0) - MEAN) < 6 * expected / np.sqrt(num) + 3e-4).all()


def test_closed_form_of_the_stationary_deviation():
    """The table of the specification (Ta et al., figure 1)."""
    for noise, expected in {
        "ibc": (0.003203, 0.006344),
        "langevin": (0.102598, 0.201262),
        "langevin_half": (0.101274, 0.200628),
    }.items():
        np.testing.assert_allclose(
            langevin.gaussian_std(STD, 1e-3, noise), expected, rtol=3e-3 if noise == "ibc" else 1e-5
        )
    assert np.isinf(langevin.gaussian_std(0.1, 0.03, "langevin"))


def truncated(obs, action):
    """The first dimension of Ta's Gaussian, which the box cuts at its mean, beside a flat one."""
    return action[..., 0] ** 2 / (2 * 0.5**2)


def test_one_metropolis_step_leaves_the_target_as_it_is():
    """Exact draws of a truncated Gaussian, one step with a rough step size: Kolmogorov-Smirnov, false-fail rate 1e-6.

    Without the correction the same step fails the same test, so it has the power to see that.
    """
    low, high = (0.0, -0.5), (1.0, 1.5)
    exact = stats.truncnorm(0.0, 2.0, scale=0.5)
    rng = np.random.default_rng(3)
    start = np.stack([exact.rvs(20_000, random_state=rng), rng.uniform(-0.5, 1.5, 20_000)], -1)[:, None]
    for metropolis in (True, False):
        sampler = langevin.make(jnp.full(1, 0.1), low, high, metropolis=metropolis)
        chains, infos, _ = run(sampler, start, energy=truncated)
        moved = np.asarray(chains.action)[:, 0]
        assert (stats.kstest(moved[:, 0], exact.cdf).pvalue > 1e-6) == metropolis
        assert (stats.kstest(moved[:, 1], stats.uniform(-0.5, 2.0).cdf).pvalue > 1e-6) == metropolis
        assert (infos.acceptance < 1).all() == metropolis
    np.testing.assert_allclose(chains.energy, truncated(jnp.ones((1, 2)), chains.action), rtol=1e-6)


def test_acceptance_falls_with_the_step_and_states_stay_consistent():
    start = MEAN + STD * np.random.default_rng(0).standard_normal((400, 2, 2))
    for size, low, high in ((1e-6, 0.97, 1.0), (0.5, 0.0, 0.2)):
        sampler = langevin.make(jnp.full(20, size), *WIDE, metropolis=True)
        chains, infos, _ = run(sampler, start)
        assert (infos.acceptance >= low).all() and (infos.acceptance <= high).all()
        energy, gradient = base.energy_and_gradient(gaussian, jnp.ones((2, 2)), chains.action)
        np.testing.assert_allclose(chains.energy, energy, rtol=1e-5)
        np.testing.assert_allclose(chains.gradient, gradient, rtol=1e-4, atol=1e-4)


def test_temperature_of_the_metropolis_target_is_the_noise_scale_squared():
    """On exact draws of ``exp(-E / 4)`` a step changes nothing; on draws of ``exp(-E)`` it does."""
    rng = np.random.default_rng(5)
    sampler = langevin.make(jnp.full(1, 5e-3), *WIDE, noise_scale=2.0, metropolis=True)
    for spread in (2.0, 1.0):
        start = MEAN + spread * STD * rng.standard_normal((20_000, 1, 2))
        moved = np.asarray(run(sampler, start)[0].action)[:, 0]
        pvalue = stats.kstest((moved[:, 0] - MEAN[0]) / (spread * STD[0]), stats.norm.cdf).pvalue
        assert (pvalue > 1e-6) == (spread == 2.0)


def test_a_row_alone_ends_where_it_ends_in_a_batch_and_nothing_leaves_the_box():
    rng = np.random.default_rng(1)
    obs, start = rng.uniform(0.3, 1.0, (3, 2)), rng.uniform(-0.5, 1.0, (5, 3, 2))
    sampler = langevin.make(langevin.polynomial_schedule(0.5, 1e-2, 2, 8), *BOX, noise="ibc", delta_clip=0.5)
    together, infos, path = run(sampler, start, obs, energy=quartic, trace=lambda chains: chains.action)
    keys = collectives.row_keys(jax.random.key(0), 3)
    for row in range(3):
        only = slice(row, row + 1)
        alone = run(sampler, start[:, only], obs[only], keys[only], energy=quartic)[0]
        np.testing.assert_allclose(alone.action[:, 0], together.action[:, row], atol=1e-6)
    path = np.asarray(path)
    assert (path >= BOX[0]).all() and (path <= BOX[1]).all()
    assert infos.energy.shape == (8, 3) and 0 < infos.clip_share.mean() < 1


def test_clip_share_is_0_where_nothing_is_clipped_and_1_where_all_is():
    start = MEAN + np.zeros((3, 1, 2))
    for delta_clip, share in ((10.0, 0.0), (1e-9, 1.0)):
        sampler = langevin.make(jnp.full(4, 1e-2), (-100.0,) * 2, (100.0,) * 2, delta_clip=delta_clip)
        np.testing.assert_array_equal(run(sampler, start)[1].clip_share, np.full((4, 1), share))


def test_gradients_flow_through_the_chain():
    """Noise-free on ``s |a|^2 / 2``: the end is ``(1 - step s)^T`` times the start."""
    sampler = langevin.make(jnp.full(5, 0.1), *WIDE, noise_scale=0.0)
    keys, start = collectives.row_keys(jax.random.key(0), 1), jnp.ones((1, 1, 2))

    def end(stiffness):
        def energy(obs, action):
            return stiffness * jnp.sum(action**2, -1) / 2

        return jnp.sum(base.run(keys, sampler, energy, jnp.ones((1, 2)), start)[0].action)

    value, slope = jax.value_and_grad(end)(2.0)
    assert value == pytest.approx(2 * 0.8**5, rel=1e-5)
    assert slope == pytest.approx(-2 * 5 * 0.1 * 0.8**4, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "euler"}, "noise='euler': expected one of langevin"),
        ({"noise": "ibc", "metropolis": True}, "take 'langevin'"),
        ({"delta_clip": 0.1, "metropolis": True}, "set delta_clip=None"),
    ],
)
def test_what_cannot_be_sampled_is_said(settings, message):
    with pytest.raises(InputError, match=message):
        langevin.make(jnp.ones(3), *BOX, **settings)
    with pytest.raises(InputError, match="at least 1 step"):
        langevin.polynomial_schedule(0.1, 0.01, 2, 0)
