"""Measured steepness: of linear maps with known spectra, and in the order that lower and upper bounds must have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import theory
from ebgan_mdn_jax.networks import MLP


def linear_map(spectrum, num_outputs, seed=0):
    """A matrix with these singular values, between random orthonormal bases."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((num_outputs, num_outputs)))[0][:, : len(spectrum)]
    right = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))[0]
    return jnp.asarray(left * spectrum @ right.T, jnp.float32)


def test_power_iteration_finds_the_largest_singular_value():
    matrix = linear_map(np.array([3.0, 2.0, 0.5, 0.1]), 7)
    points = jax.random.normal(jax.random.key(0), (5, 4))
    measure = jax.jit(lambda key, points: theory.local_lipschitz(key, lambda x: matrix @ x, points))
    np.testing.assert_allclose(measure(jax.random.key(1), points), 3.0, rtol=1e-5)
    few = theory.local_lipschitz(jax.random.key(1), lambda x: matrix @ x, points, 1)
    assert np.all(few <= 3.0 + 1e-5) and np.any(few < 2.99)


def test_power_iteration_is_local():
    """Of ``x^2`` per coordinate the Jacobian is ``diag(2 x)``."""
    points = jnp.asarray([[1.0, -2.0], [0.25, 0.1]])
    np.testing.assert_allclose(theory.local_lipschitz(jax.random.key(0), lambda x: x**2, points), [4.0, 0.5], rtol=1e-5)


def test_secants_find_a_jump_in_the_middle_of_a_segment():
    """A ramp of slope 8 and width 1/8 between two plateaus, found from far away on both sides."""

    def ramp(x):
        return jnp.clip(8 * (x - 0.3), 0.0, 1.0)

    start, end = jnp.asarray([[-1.0], [2.0]]), jnp.asarray([[1.5], [-3.0]])
    slope = jax.jit(lambda a, b: theory.secant_lipschitz(ramp, lambda y: (y[0] > 0.5).astype(int), a, b))(start, end)
    np.testing.assert_allclose(slope, 8.0, rtol=1e-3)
    coarse = theory.secant_lipschitz(ramp, lambda y: (y[0] > 0.5).astype(int), start, end, 0)
    np.testing.assert_allclose(coarse, [1 / 2.5, 1 / 5])


def test_local_and_secant_are_below_what_the_layers_certify():
    network = MLP((24, 24), 2)
    params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 3)))
    layers = params["params"]
    kernels = [np.asarray(layers[f"Dense_{index}"]["kernel"]) for index in range(3)]
    certified = theory.certified_lipschitz(kernels)
    assert certified == pytest.approx(np.prod([np.linalg.svd(k, compute_uv=False)[0] for k in kernels]), rel=1e-6)

    def fn(x):
        return network.apply(params, x[None])[0]

    start, end = jax.random.normal(jax.random.key(1), (2, 40, 3))

    @jax.jit
    def measure(start, end):
        secant = theory.secant_lipschitz(fn, lambda y: (y[0] > 0).astype(int), start, end)
        return secant, theory.local_lipschitz(jax.random.key(2), fn, start), jax.vmap(jax.jacobian(fn))(start)

    secant, local, jacobian = measure(start, end)
    np.testing.assert_allclose(local, np.linalg.norm(jacobian, 2, axis=(1, 2)), rtol=2e-3)
    assert np.all(secant < certified) and np.all(local < certified)


def test_langevin_steps_on_a_concave_quadratic_attain_their_bound():
    """By the Jacobian of the steps in start and noises."""
    step_size, curvature, num_steps = 0.1, 2.0, 5

    def end(start_and_noise):
        action = start_and_noise[0]
        for noise in start_and_noise[1:]:
            slope = jax.grad(lambda action: -0.5 * curvature * action**2)(action)
            action = action - step_size * slope + jnp.sqrt(2 * step_size) * noise
        return action

    row = jax.jit(jax.grad(end))(jnp.zeros(num_steps + 1))
    assert theory.langevin_lipschitz(step_size, curvature, num_steps) == pytest.approx(np.linalg.norm(row))
    assert theory.langevin_lipschitz(step_size, curvature, 0) == 1.0
