"""Encoders of images against NumPy, and what cannot be encoded."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax import encoders, networks
from ebgan_mdn_jax.methods import ebgan_mdn, generator, mdn
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec


def rows(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def encoder(pooling="spatial_softmax", channels=(4,), coordinates=False, shape=(6, 8, 1)):
    return encoders.ImageEncoder(shape, pooling, channels, coordinates)


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
    assert encoders.make(encoders.EncoderConfig(), Spec(*box)) is None
    made = encoders.make(encoders.EncoderConfig("average", (4, 4)), Spec(*box, (6, 8, 1)))
    assert made == encoder("average", (4, 4))
    with pytest.raises(InputError, match="encoder.kind=average: observations of this task are no images"):
        encoders.make(encoders.EncoderConfig("average"), Spec(*box))
    with pytest.raises(InputError, match="halve an image of 6 x 8 pixels 3 times; take fewer"):
        encoders.make(encoders.EncoderConfig("average", (4, 4, 4)), Spec(*box, (6, 8, 1)))
    with pytest.raises(InputError, match="encoder.kind='max': expected one of"):
        encoders.EncoderConfig("max")
    with pytest.raises(InputError, match="encoder.channels"):
        encoders.EncoderConfig("average", (0,))
    with pytest.raises(InputError, match="needs at least one layer"):
        encoders.EncoderConfig("average", ())


def test_a_network_behind_an_encoder_sees_its_features_after_what_stands_before_the_image():
    network = networks.MLP((8,), 2, encoder=encoder())
    x = rows(3, 5 + 48)
    params = network.init(jax.random.key(0), x)["params"]
    features = encoder().apply({"params": params["encoder"]}, x[:, 5:])
    plain = {name: value for name, value in params.items() if name != "encoder"}
    expected = networks.MLP((8,), 2).apply({"params": plain}, jnp.concatenate([x[:, :5], features], axis=-1))
    np.testing.assert_allclose(network.apply({"params": params}, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("module", "latent_dim"), [(mdn, 0), (mdn, 2), (ebgan_mdn, 0)])
def test_mixtures_of_images_train(module, latent_dim):
    """Every weight of the encoders gets a gradient; the two of EBGAN-MDN are not the same."""
    spec = Spec((0.0,) * 48, (1.0,) * 48, (-1.0,), (1.0,), (6, 8, 1))
    shape = generator.GeneratorConfig(
        num_components=2,
        hidden=(8,),
        latent_dim=latent_dim,
        encoder=encoders.EncoderConfig("spatial_softmax", (4,)),
    )
    method = module.make(module.Config(generator=shape), spec, Horizon(10, 1), optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    batch = Batch(jax.random.uniform(jax.random.key(1), (4, 48)), jnp.linspace(-1, 1, 4)[:, None])
    after, _ = jax.jit(method.step)(state, batch, method.hyper)

    def of_encoders(params):
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return [leaf for path, leaf in leaves if "encoder" in jax.tree_util.keystr(path)]

    before, now = of_encoders(state.params), of_encoders(after.params)
    assert len(before) == 3 * (1 + (module is ebgan_mdn))  # kernel, bias and temperature
    assert all(np.any(old != new) for old, new in zip(before, now, strict=True))
    kernels = [leaf for leaf in before if leaf.ndim > 1]
    assert len(kernels) == 1 or not np.array_equal(*kernels)
    draws = jax.jit(method.sample, static_argnums=3)(jax.random.key(2), after.params, batch.obs, 3)
    assert draws.shape == (3, 4, 1) and np.all(np.isfinite(draws))
