"""Units: maps to the unit box and back, and densities that still integrate to one after a change of units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import normalization
from ebgan_mdn_jax.methods import ebgan_mdn, mdn
from ebgan_mdn_jax.methods import generator as generators
from ebgan_mdn_jax.methods.base import in_data_units
from ebgan_mdn_jax.types import Batch, Horizon, Spec

SPEC = Spec((40.0, -1.0), (110.0, -1.0), (0.0, -3.0), (6.0, 1.0))


def test_unit_box_maps_the_corners():
    n = normalization.unit_box(SPEC)
    low, high = n.obs(jnp.asarray([SPEC.obs_low])), n.obs(jnp.asarray([SPEC.obs_high]))
    # The second observation has no extent: shifted to 0, not divided by 0.
    np.testing.assert_allclose(low, [[-1.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(high, [[1.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(n.action(jnp.asarray([SPEC.action_low, SPEC.action_high])), [[-1, -1], [1, 1]])
    assert n.spec(SPEC) == Spec((-1.0, 0.0), (1.0, 0.0), (-1.0, -1.0), (1.0, 1.0))


@pytest.mark.parametrize("lead", [(), (5,), (3, 5)])
def test_actions_return_to_data_units(lead):
    n = normalization.unit_box(SPEC)
    action = jax.random.normal(jax.random.key(0), (*lead, 2))
    np.testing.assert_allclose(n.action_to_data(n.action(action)), action, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(n.action(action)[..., 0], (action[..., 0] - 3) / 3, rtol=1e-5, atol=1e-6)


def test_identity_changes_nothing():
    n = normalization.identity(SPEC)
    batch = Batch(jnp.ones((3, 2)), jnp.full((3, 2), 2.0))
    jax.tree.map(np.testing.assert_array_equal, n.batch(batch), batch)
    assert n.log_volume == 0.0 and n.spec(SPEC) == SPEC


def test_log_volume_is_the_jacobian_of_the_actions():
    n = normalization.unit_box(SPEC)
    assert n.log_volume == pytest.approx(np.log(3.0 * 2.0))
    jacobian = jax.jacobian(n.action_to_data)(jnp.zeros(2))
    assert n.log_volume == pytest.approx(float(jnp.linalg.slogdet(jacobian)[1]), rel=1e-6)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_a_method_in_data_units_has_a_density_in_data_units(covariance):
    n = normalization.unit_box(SPEC)
    config = mdn.Config(generators.GeneratorConfig(2, covariance, hidden=()))
    inner = mdn.make(config, n.spec(SPEC), Horizon(10, 1))
    method = in_data_units(inner, n)
    params = jax.jit(inner.init)(jax.random.key(0)).params
    obs, action = jnp.asarray([[55.0, -1.0], [80.0, -1.0]]), jnp.asarray([[2.0, 0.0], [4.5, -2.0]])

    # The mixture in data units, evaluated by SciPy, is the method's log density.
    q = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.jit(method.mixture)(params, obs))
    log_prob = jax.jit(method.log_prob)(params, obs, action)
    for row in range(2):
        density = 0.0
        for weight, mean, spread in zip(np.exp(q[0][row]), q[1][row], q[2][row], strict=True):
            tril = spread if covariance == "full" else np.diag(spread)
            density += weight * scipy.stats.multivariate_normal(mean, tril @ tril.T).pdf(action[row])
        assert log_prob[row] == pytest.approx(np.log(density), abs=1e-4)
    # Samples come from that mixture: the first moment, within 5 standard errors.
    draws = np.asarray(jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, obs, 4_000))
    error = draws.std(0) / np.sqrt(4_000)
    assert np.all(np.abs(draws.mean(0) - np.einsum("bk,bkd->bd", np.exp(q[0]), q[1])) < 5.5 * error)


def test_a_method_in_data_units_shows_its_networks_normalized_arrays():
    n = normalization.unit_box(SPEC)
    config = ebgan_mdn.Config(generators.GeneratorConfig(2, hidden=()), energy_hidden=(4,), act_by="mode")
    inner = ebgan_mdn.make(config, n.spec(SPEC), Horizon(10, 1))
    method = in_data_units(inner, n)
    params = jax.jit(inner.init)(jax.random.key(0)).params
    obs, action = jnp.asarray([[55.0, -1.0]]), jnp.asarray([[2.0, 0.0]])
    unit_obs, unit_action = n.obs(obs), n.action(action)
    np.testing.assert_array_equal(method.energy(params, obs, action), inner.energy(params, unit_obs, unit_action))
    key = jax.random.key(1)
    action_in_units = n.action(jax.jit(method.act)(key, params, obs))
    np.testing.assert_allclose(action_in_units, jax.jit(inner.act)(key, params, unit_obs), rtol=1e-4)
    state = jax.jit(inner.init)(key)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        jax.jit(method.step)(state, Batch(obs, action), method.hyper)[1],
        jax.jit(inner.step)(state, Batch(unit_obs, unit_action), inner.hyper)[1],
    )
