"""Networks against a plain row-major forward pass in NumPy, and initialisers against their distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import mixture, networks
from ebgan_mdn_jax.types import InputError, Spec

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


@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_blocks_need_pairs_of_one_width(hidden):
    with pytest.raises(InputError, match="pairs of layers of one width"):
        networks.require_residual(hidden, "original")


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


# Images


def encoder(pooling="spatial_softmax", channels=(4,), coordinates=False, shape=(6, 8, 1)):
    return networks.ImageEncoder(shape, pooling, channels, coordinates)


def test_encoder_has_as_many_parameters_as_ibcs_code():
    """Two frames of three channels: 389,280, counted there."""
    network = encoder("average", (32, 64, 128, 256), shape=(180, 240, 6))
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 180 * 240 * 6)))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 389_280


@pytest.mark.parametrize("coordinates", [False, True])
def test_average_encoder_is_convolution_maximum_and_mean(coordinates):
    network, image = encoder("average", coordinates=coordinates, shape=(5, 6, 1)), rows(3, 30)
    params = network.init(jax.random.key(0), image)
    x = np.asarray(image, np.float64).reshape(3, 5, 6, 1)
    if coordinates:
        row, column = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 6), indexing="ij")
        x = np.concatenate([x, np.broadcast_to(np.stack([row, column], -1), (3, 5, 6, 2))], -1)
    layer = params["params"]["Convolution_0"]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    maps = np.zeros((3, 5, 6, 4)) + np.asarray(layer["bias"])
    for i in range(3):
        for j in range(3):
            maps += padded[:, i : i + 5, j : j + 6] @ np.asarray(layer["kernel"], np.float64)[i, j]
    halves = np.max([maps[:, i:4:2, j:6:2] for i in range(2) for j in range(2)], axis=0)  # the fifth row is left out
    expected = np.maximum(halves, 0).mean((1, 2))
    np.testing.assert_allclose(jax.jit(network.apply)(params, image), expected, rtol=1e-4, atol=1e-5)


def test_spatial_softmax_says_where_a_map_is_high():
    """One channel that copies the image, whose bright pixel is in the second of three rows and the last of four columns, halved."""
    network = encoder(channels=(1,))
    image = jnp.zeros((1, 6, 8)).at[0, 3, 6].set(200.0).reshape(1, 48)
    params = jax.tree.map(jnp.zeros_like, network.init(jax.random.key(0), image))["params"]
    params["Convolution_0"]["kernel"] = params["Convolution_0"]["kernel"].at[1, 1].set(1.0)
    at = lambda temperature: network.apply({"params": params | {"log_temperature": jnp.log(temperature)}}, image)  # noqa: E731
    np.testing.assert_allclose(at(1.0), [[0.0, 1.0]], atol=1e-5)
    weight = np.exp(2.0) / (np.exp(2.0) + 11)  # the other 11 pixels are alike
    np.testing.assert_allclose(at(100.0), [[0.0, weight - (1 - weight) / 11]], atol=1e-5)


def test_energy_of_an_image_is_that_of_its_code():
    network = networks.EnergyMLP((8,), encoder=encoder())
    obs, action = rows(5, 48), rows(4, 5, 2, seed=1)
    params = network.init(jax.random.key(0), obs, action)
    code = network.apply(params, obs, method="encode")
    assert code.shape == (5, 8)
    whole, of_code = network.apply(params, obs, action), network.apply(params, code, action, method="of_code")
    np.testing.assert_allclose(whole, of_code, rtol=1e-6)
    assert np.ptp(np.asarray(whole)[:, 0]) > 0 and not np.allclose(whole[0], network.apply(params, -obs, action)[0])


def test_encoders_that_cannot_be_are_refused():
    box = (0.0,) * 48, (1.0,) * 48, (0.0,), (1.0,)
    assert networks.make_encoder(networks.EncoderConfig(), Spec(*box)) is None
    made = networks.make_encoder(networks.EncoderConfig("average", (4, 4)), Spec(*box, (6, 8, 1)))
    assert made == encoder("average", (4, 4))
    with pytest.raises(InputError, match="method.encoder.kind=average: observations of this task are no images"):
        networks.make_encoder(networks.EncoderConfig("average"), Spec(*box))
    with pytest.raises(InputError, match="halve an image of 6 x 8 pixels 3 times; take fewer"):
        networks.make_encoder(networks.EncoderConfig("average", (4, 4, 4)), Spec(*box, (6, 8, 1)))
    with pytest.raises(InputError, match="method.encoder.kind='max': expected one of"):
        networks.EncoderConfig("max")
    with pytest.raises(InputError, match="method.encoder.channels"):
        networks.EncoderConfig("average", (0,))
    with pytest.raises(InputError, match="needs at least one layer"):
        networks.EncoderConfig("average", ())


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
    expected = mixture.from_outputs(jnp.asarray(outputs, jnp.float32), 3, 2, covariance, 0.2, 0.4)
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
