"""Networks whose Lipschitz constant is set: certified in float64 for any weights, and attained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from ebgan_mdn_jax import orthonormal, theory
from ebgan_mdn_jax.types import InputError

LIPSCHITZ = 3.0


def norm(kernel):
    return np.linalg.norm(np.asarray(kernel, np.float64), 2)


@pytest.mark.parametrize("shape", [(64, 64), (3, 64), (64, 5), (1, 1)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_norms_are_bounded_whatever_the_kernel(shape, scale):
    rng = np.random.default_rng(0)
    rank_one = np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))
    for kernel in (rng.normal(size=shape), rank_one, np.zeros(shape)):
        kernel = jnp.asarray(scale * kernel, jnp.float32)
        assert norm(orthonormal.orthonormal(kernel)) <= 1
        assert norm(kernel) <= float(orthonormal.norm_bound(kernel)) * (1 + orthonormal.MARGIN)
        assert norm(orthonormal.capped(kernel, LIPSCHITZ)) <= LIPSCHITZ


def test_norm_bound_is_the_schatten_norm_and_small_kernels_are_left_alone():
    kernel = np.random.default_rng(1).normal(size=(6, 9)) / 10
    values = np.linalg.svd(kernel, compute_uv=False)
    assert float(orthonormal.norm_bound(jnp.asarray(kernel))) == pytest.approx(np.sum(values**16) ** (1 / 16), rel=1e-5)
    np.testing.assert_allclose(orthonormal.capped(jnp.asarray(kernel), LIPSCHITZ), kernel, rtol=2e-5)


def test_kernels_near_orthonormal_go_to_their_polar_factor():
    rng = np.random.default_rng(2)
    for shape in ((32, 32), (4, 32), (32, 6)):
        kernel = 5 * (np.eye(*shape) + 0.05 * rng.normal(size=shape) / np.sqrt(max(shape)))
        expected = scipy.linalg.polar(kernel)[0]
        np.testing.assert_allclose(orthonormal.orthonormal(jnp.asarray(kernel)), expected, atol=2e-4)


def test_networks_begin_orthonormal():
    weights = orthonormal.LipschitzMLP((64, 64), 5).init(jax.random.key(0), jnp.zeros((1, 3)), LIPSCHITZ)
    for index in range(3):
        values = np.linalg.svd(weights["params"][f"kernel_{index}"], compute_uv=False)
        np.testing.assert_allclose(values, 1.0, atol=1e-4)


def weights_of(network, scale, seed=0):
    """Drawn anew, far from the initial ones."""
    start = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 3)), 1.0)
    leaves, structure = jax.tree.flatten(start)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(
        structure, [jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_no_weights_make_the_network_steeper_than_its_constant(scale):
    """The product of exact norms in float64, secants near and far, and Jacobians."""
    network = orthonormal.LipschitzMLP((16, 16, 8), 5)
    weights = weights_of(network, scale)
    kernels = orthonormal.effective_kernels(weights, LIPSCHITZ)
    assert theory.certified_lipschitz(kernels) <= LIPSCHITZ
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), weights)
        apply = jax.jit(lambda x: network.apply(exact, x, LIPSCHITZ))
        rng = np.random.default_rng(3)
        for distance in (1e-3, 1.0, 30.0):
            x = rng.normal(size=(500, 3))
            y = x + distance * rng.normal(size=x.shape)
            slopes = np.linalg.norm(apply(y) - apply(x), axis=1) / np.linalg.norm(y - x, axis=1)
            assert 0 < slopes.max() <= LIPSCHITZ
        local = jax.jit(
            lambda x: theory.local_lipschitz(
                jax.random.key(0), lambda z: network.apply(exact, z[None], LIPSCHITZ)[0], x
            )
        )
        assert np.max(local(x)) <= LIPSCHITZ


def test_the_output_is_that_of_the_effective_kernels():
    """By a row-major pass in NumPy, which also shows where biases and sorting stand."""
    network = orthonormal.LipschitzMLP((6, 4), 2)
    weights = weights_of(network, 1.0)
    x = np.random.default_rng(4).normal(size=(2, 7, 3)).astype(np.float32)
    hidden = x.astype(np.float64)
    for index, kernel in enumerate(orthonormal.effective_kernels(weights, LIPSCHITZ)):
        hidden = hidden @ np.asarray(kernel, np.float64) + np.asarray(weights["params"][f"bias_{index}"], np.float64)
        if index < 2:
            first, second = np.split(hidden, 2, axis=-1)
            hidden = np.concatenate([np.maximum(first, second), np.minimum(first, second)], axis=-1)
    np.testing.assert_allclose(network.apply(weights, x, LIPSCHITZ), hidden, atol=1e-5)


def test_the_clipped_linear_map_is_such_a_network():
    """It attains the isoperimetric bound for two modes; here ``L min(max(z, -c), c)``, with the limit itself as its slope."""
    clip = 0.4
    first, second, last = np.eye(1, 4), np.eye(4)[:, [0, 2, 1, 3]], 100 * np.eye(4)[:, 2:3]
    biases = [[0, 0, -clip, 0], [0, 0, clip, 0], [0]]  # sorted with unit i + 2: (z, -c), then (the greater of them, c)
    kernels = {f"kernel_{i}": jnp.asarray(kernel, jnp.float32) for i, kernel in enumerate((first, second, last))}
    weights = {"params": kernels | {f"bias_{i}": jnp.asarray(bias, jnp.float32) for i, bias in enumerate(biases)}}
    noise = np.linspace(-3, 3, 101, dtype=np.float32)[:, None]
    out = orthonormal.LipschitzMLP((4, 4), 1).apply(weights, noise, LIPSCHITZ)
    np.testing.assert_allclose(out, LIPSCHITZ * np.clip(noise, -clip, clip), atol=1e-3)
    assert theory.certified_lipschitz(orthonormal.effective_kernels(weights, LIPSCHITZ)) == pytest.approx(
        LIPSCHITZ, rel=1e-3
    )


def test_odd_widths_are_refused():
    with pytest.raises(InputError, match=r"hidden=\(4, 5\): units are sorted in pairs"):
        orthonormal.require_even("hidden", (4, 5))
