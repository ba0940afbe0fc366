"""Networks against a plain row-major forward pass in NumPy, and initialisers against their distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import mixture_outputs, networks
from ebgan_mdn_jax.types import InputError

FALSE_FAIL = 1e-6


def forward(layers, x):
    """``x [rows, in]`` through ``Dense_0, Dense_1, ...`` with ReLU between."""
    x = np.asarray(x, np.float64)
    for index in range(len(layers)):
        layer = layers[f"Dense_{index}"]
        x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
        x = np.maximum(x, 0) if index < len(layers) - 1 else x
    return x


def rows(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@pytest.mark.parametrize("lead", [(6,), (2, 3), ()])
def test_mlp_is_the_row_major_network(hidden, lead):
    network = networks.MLP(hidden, 4)
    x = rows(*lead, 3)
    params = network.init(jax.random.key(0), x)
    out = network.apply(params, x)
    assert out.shape == (*lead, 4)
    np.testing.assert_allclose(
        np.reshape(out, (-1, 4)), forward(params["params"], np.reshape(x, (-1, 3))), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("residual", ["preactivation", "original"])
def test_residual_network_is_the_row_major_one(residual):
    network = networks.MLP((6, 6, 6, 6), 4, residual=residual)
    x = rows(5, 3)
    params = network.init(jax.random.key(0), x)
    layers = [
        {name: np.asarray(value, np.float64) for name, value in params["params"][f"Dense_{index}"].items()}
        for index in range(6)
    ]
    affine = lambda index, x: x @ layers[index]["kernel"] + layers[index]["bias"]  # noqa: E731
    hidden = affine(0, np.asarray(x, np.float64))
    for first in (1, 3):
        if residual == "preactivation":
            hidden = hidden + affine(first + 1, np.maximum(affine(first, np.maximum(hidden, 0)), 0))
        else:
            hidden = np.maximum(hidden + affine(first + 1, np.maximum(affine(first, hidden), 0)), 0)
    np.testing.assert_allclose(network.apply(params, x), affine(5, hidden), rtol=1e-4, atol=1e-5)


def test_residual_energies_have_as_many_parameters_as_ibcs_code():
    """Particle in two dimensions, two frames of 8 observations: 136,705, counted there."""
    network = networks.EnergyMLP((256, 256), residual="preactivation")
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16)), jnp.zeros((1, 2)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 136_705


def test_bottleneck_blocks_are_the_row_major_ones():
    network = networks.MLP((8, 8), 4, residual="bottleneck")
    x = rows(5, 3)
    params = network.init(jax.random.key(0), x)
    layers = [params["params"][f"Dense_{index}"] for index in range(8)]
    affine = lambda index, x: x @ np.asarray(layers[index]["kernel"]) + np.asarray(layers[index]["bias"])  # noqa: E731
    hidden = affine(0, np.asarray(x))
    for first in (1, 4):
        inner = hidden
        for index in range(first, first + 3):
            inner = affine(index, np.maximum(inner, 0))
        hidden = hidden + inner
    assert layers[1]["kernel"].shape == (8, 2) and layers[2]["kernel"].shape == (2, 2)
    np.testing.assert_allclose(network.apply(params, x), affine(7, hidden), rtol=1e-4, atol=1e-5)


def test_value_head_has_as_many_parameters_as_ibcs_code():
    """Behind an encoder of 256 features, for actions of two dimensions: 857,601, counted there."""
    network = networks.EnergyMLP((1024,), residual="bottleneck")
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 256)), jnp.zeros((1, 2)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 857_601


def test_dropout_drops_its_share_of_units_and_scales_up_the_others():
    """One layer of 1,000 units that are all 1, and a sum: binomial, other units for every row, the same ones for the same key."""
    width, rate, num = 1000, 0.3, 400
    network = networks.MLP((width,), 1, dropout=rate)
    params = network.init(jax.random.key(0), jnp.zeros((1, 1)))
    first = {"kernel": jnp.zeros((1, width)), "bias": jnp.ones(width)}
    params = {"params": {"Dense_0": first, "Dense_1": {"kernel": jnp.ones((width, 1)), "bias": jnp.zeros(1)}}}
    x, keys = jnp.zeros((num, 1)), jax.random.split(jax.random.key(1), num)
    kept = np.asarray(network.apply(params, x, keys))[:, 0] * (1 - rate)
    error = np.sqrt(width * rate * (1 - rate) / num)
    assert abs(kept.mean() - width * (1 - rate)) < 5 * error
    assert kept.std() == pytest.approx(error * np.sqrt(num), rel=0.25)
    np.testing.assert_allclose(network.apply(params, x[:3], keys[5:8])[:, 0] * (1 - rate), kept[5:8], rtol=1e-6)
    np.testing.assert_array_equal(network.apply(params, x), width)  # without keys nothing is dropped


@pytest.mark.parametrize("residual", ["none", "preactivation", "original", "bottleneck"])
def test_every_kind_of_network_drops_units_of_its_own_layers(residual):
    network = networks.EnergyMLP((8, 8), residual=residual, dropout=0.5)
    obs, action = rows(3, 2), jnp.broadcast_to(rows(3, 1), (6, 3, 1))
    params = network.init(jax.random.key(0), obs, action)
    keys = jax.random.split(jax.random.key(1), 3)
    energy = network.apply(params, obs, action, keys)
    assert len(np.unique(energy[:, 0])) > 3  # other units for every action
    np.testing.assert_allclose(
        network.apply(params, obs[1:2], action[:, 1:2], keys[1:2])[:, 0], energy[:, 1], rtol=1e-5
    )
    assert len(np.unique(network.apply(params, obs, action)[:, 0])) == 1


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_blocks_need_pairs_of_one_width(hidden):
    with pytest.raises(InputError, match="pairs of layers of one width"):
        networks.require_residual(hidden, "original")
    with pytest.raises(InputError, match="a multiple of 4, such as"):
        networks.require_residual((6,), "bottleneck")
    with pytest.raises(InputError, match="method.dropout=1.0: needs a share"):
        networks.require_dropout("method.dropout", 1.0)


def test_spectral_layers_divide_by_the_largest_singular_value():
    """After enough power iterations; the direction moves only where its collection is mutable, and has no gradient of its own."""
    layer = networks.Dense(5, "torch", spectral=True)
    x = rows(7, 3).T @ rows(7, 4, seed=1)  # [3, 4]
    weights = layer.init(jax.random.key(0), x)
    start = weights["spectral"]["direction"]
    assert start.shape == (5,) and np.ptp(start) > 0
    kernel, bias = (np.asarray(weights["params"][name], np.float64) for name in ("kernel", "bias"))
    apply = jax.jit(lambda weights: layer.apply(weights, x, mutable=["spectral"]))
    out, after = apply(weights)
    left = kernel @ np.asarray(start, np.float64)
    left /= np.linalg.norm(left)
    right = left @ kernel / np.linalg.norm(left @ kernel)
    np.testing.assert_allclose(after["spectral"]["direction"], right, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out, (kernel / (left @ kernel @ right)).T @ x + bias[:, None], rtol=1e-4, atol=1e-5)
    for _ in range(100):
        weights = weights | apply(weights)[1]
    scale = np.linalg.svd(kernel, compute_uv=False)[0]
    np.testing.assert_allclose(layer.apply(weights, x), (kernel / scale).T @ x + bias[:, None], rtol=1e-4, atol=1e-5)


def test_a_spectral_energy_is_nowhere_steeper_than_one():
    network = networks.EnergyMLP((16, 16), "normal_0.05", spectral=True)
    obs, action = rows(50, 3), 3 * rows(50, 2, seed=1)
    weights = network.init(jax.random.key(0), obs, action)
    for _ in range(50):
        weights = weights | network.apply(weights, obs, action, mutable=["spectral"])[1]
    slope = jax.grad(lambda action: jnp.sum(network.apply(weights, obs, action)))(action)
    steepest = np.linalg.norm(slope, axis=-1).max()
    assert 0.01 < steepest < 1 + 1e-4


def test_energy_of_many_actions_is_that_of_each_one():
    network = networks.EnergyMLP((8, 8))
    obs, action = rows(5, 3), rows(4, 5, 2, seed=1)
    params = network.init(jax.random.key(0), obs, action)
    energy = network.apply(params, obs, action)
    assert energy.shape == (4, 5)
    for n in range(4):
        np.testing.assert_allclose(network.apply(params, obs, action[n]), energy[n], rtol=1e-4, atol=1e-5)
        inputs = np.concatenate([obs, action[n]], -1)  # obs first
        expected = forward(params["params"]["MLP_0"], inputs)[:, 0]
        np.testing.assert_allclose(energy[n], expected, rtol=1e-4, atol=1e-5)
    assert network.apply(params, obs, rows(2, 4, 5, 2)).shape == (2, 4, 5)


@pytest.mark.parametrize("covariance", ["isotropic", "diagonal", "shared", "fixed", "full"])
def test_mixture_network_reads_its_mlp(covariance):
    network = networks.MixtureMLP((6,), 3, 2, covariance, fixed_scale=0.4)
    x = rows(5, 1)
    params = network.init(jax.random.key(0), x, 0.0)
    out = network.apply(params, x, 0.2)
    outputs = forward(params["params"]["MLP_0"], x)
    expected = mixture_outputs.from_outputs(jnp.asarray(outputs, jnp.float32), 3, 2, covariance, 0.2, 0.4)
    assert type(out) is type(expected)
    for value, reference in zip(out, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-4, atol=1e-5)
    spread = np.diagonal(out[2], axis1=-2, axis2=-1) if covariance == "full" else out[2]
    assert np.all(spread > 0.2)


@pytest.mark.parametrize(
    ("init", "kernel", "bias"),
    [
        ("torch", scipy.stats.uniform(-0.1, 0.2), scipy.stats.uniform(-0.1, 0.2)),
        ("normal_0.05", scipy.stats.norm(0, 0.05), scipy.stats.norm(0, 0.05)),
        # Cut at two deviations and rescaled to variance 1 / fan_in.
        ("lecun", scipy.stats.truncnorm(-2, 2, scale=0.1 / 0.87962566), None),
    ],
)
def test_initialisers_follow_their_distributions(init, kernel, bias):
    params = networks.MLP((), 500, init).init(jax.random.key(0), jnp.zeros((1, 100)))["params"]["Dense_0"]
    values = np.asarray(params["kernel"]).ravel()
    assert scipy.stats.kstest(values, kernel.cdf).pvalue > FALSE_FAIL
    if bias is None:
        np.testing.assert_array_equal(params["bias"], np.zeros(500))
    else:
        assert scipy.stats.kstest(np.asarray(params["bias"]), bias.cdf).pvalue > FALSE_FAIL


def test_each_layer_uses_its_own_fan_in():
    params = networks.MLP((400,), 3, "torch").init(jax.random.key(0), jnp.zeros((1, 4)))["params"]
    assert params["Dense_0"]["kernel"].shape == (4, 400) and params["Dense_1"]["kernel"].shape == (400, 3)
    for layer, bound in (("Dense_0", 0.5), ("Dense_1", 0.05)):
        largest = np.max(np.abs(params[layer]["kernel"]))
        assert 0.95 * bound < largest <= bound


def test_parameters_follow_jax_precision():
    network, x = networks.MLP((3,), 1), np.zeros((1, 2))
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(network.init(jax.random.key(0), jnp.asarray(x))))
    with jax.enable_x64(True):
        assert all(p.dtype == jnp.float64 for p in jax.tree.leaves(network.init(jax.random.key(0), jnp.asarray(x))))
