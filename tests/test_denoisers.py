"""Networks that see a time: against NumPy, and properties of attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import denoisers
from ebgan_mdn_jax.types import InputError, Spec

OBS, ROWS, DIM = 3, 5, 6
SPEC = Spec((-1.0,) * OBS, (1.0,) * OBS, (-1.0,) * DIM, (1.0,) * DIM)
SMALL = {"num_frequencies": 3, "hidden": (8, 7), "num_tokens": 3, "width": 8, "num_layers": 2, "num_heads": 2}


def inputs(*lead):
    generator = np.random.default_rng(0)
    shapes = (ROWS, OBS), (*lead, ROWS, DIM), (*lead, ROWS)
    return [jnp.asarray(generator.uniform(0, 1, shape), jnp.float32) for shape in shapes]


def make(kind, **changes):
    network = denoisers.make(denoisers.DenoiserConfig(kind, **SMALL | changes), SPEC)
    return network, jax.jit(network.init)(jax.random.key(0), *inputs())


def test_time_features_are_waves_of_equal_ratios():
    time = jnp.linspace(0, 1, 7)
    frequencies = np.array([1.0, 10.0, 100.0])
    phase = np.asarray(time, np.float64)[:, None] * frequencies
    expected = np.concatenate([np.sin(phase), np.cos(phase)], -1)
    np.testing.assert_allclose(denoisers.time_features(time, 3), expected, atol=1e-5)


def test_mlp_is_the_row_major_network_with_the_action_past_it():
    network, weights = make("mlp")
    obs, action, time = inputs()
    features = np.asarray(denoisers.time_features(time, 3), np.float64)
    affine = lambda layer, x: x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])  # noqa: E731
    layers = weights["params"]["MLP_0"]
    x = np.concatenate([obs, features, action], axis=1)
    for index in range(3):
        x = affine(layers[f"Dense_{index}"], x)
        x = np.maximum(x, 0) if index < 2 else x
    expected = x + affine(weights["params"]["Dense_0"], features) * np.asarray(action)
    np.testing.assert_allclose(network.apply(weights, obs, action, time), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_every_action_is_taken_alone(kind):
    """With the observation of its row and its own time, whatever axes are in front."""
    network, weights = make(kind)
    obs, action, time = inputs(2, 4)
    apply = jax.jit(network.apply)
    out = apply(weights, obs, action, time)
    assert out.shape == action.shape
    for n in range(4):
        one = apply(weights, obs[2:3], action[1, n, 2:3], time[1, n, 2:3])
        np.testing.assert_allclose(out[1, n, 2:3], one, rtol=1e-4, atol=1e-5)
    for changed in ((obs + 1, action, time), (obs, action + 1, time), (obs, action, time + 1)):
        assert np.all(np.any(np.abs(apply(weights, *changed) - out) > 1e-4, axis=-1))


def test_transformer_tells_tokens_apart_by_their_embedding_alone():
    network, weights = make("transformer")
    obs, action, time = inputs()
    order = np.array([2, 0, 1])

    def shuffled(values):
        return values.reshape(ROWS, 3, 2)[:, order].reshape(ROWS, DIM)

    apply = jax.jit(network.apply)

    def differences(weights):
        out = apply(weights, obs, action, time)
        return np.max(np.abs(apply(weights, obs, shuffled(action), time) - shuffled(out)))

    assert differences(weights) > 1e-3
    position = jnp.zeros_like(weights["params"]["position"])
    assert differences({"params": weights["params"] | {"position": position}}) < 1e-5


def test_every_token_attends_to_every_other():
    network, weights = make("transformer")
    obs, action, time = inputs()
    jacobian = jax.jit(jax.jacobian(lambda a: network.apply(weights, obs[:1], a[None], time[:1])[0]))(action[0])
    assert np.all(np.abs(jacobian) > 0)


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_weights_follow_the_precision(kind):
    with jax.enable_x64(True):
        network = denoisers.make(denoisers.DenoiserConfig(kind, **SMALL), SPEC)
        weights = jax.eval_shape(network.init, jax.random.key(0), *inputs())
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(weights))


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="num_tokens=4 does not divide the 6 dimensions of an action"):
        make("transformer", num_tokens=4)
    with pytest.raises(InputError, match="denoiser.width=8 does not divide into denoiser.num_heads=3"):
        make("transformer", num_heads=3)
    with pytest.raises(InputError, match="denoiser.kind='unet': expected one of"):
        make("unet")
    with pytest.raises(InputError, match="denoiser.num_frequencies=0"):
        make("mlp", num_frequencies=0)
