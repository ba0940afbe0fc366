"""A generator trained by the energy score: it finds the scale of a Gaussian, tells modes apart, and keeps to its constant."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax import orthonormal, theory
from ebgan_mdn_jax.methods import energy_score
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


def trained(config, batch, num_steps, **hyper):
    method = energy_score.make(config, SPEC, Horizon(num_steps, num_steps // 50))
    hyper = method.hyper._replace(**hyper)
    run = jax.jit(lambda s: jax.lax.scan(lambda s, _: method.step(s, batch, hyper), s, length=num_steps))
    state, infos = run(method.init(jax.random.key(0)))
    return method, state.params, infos


def test_a_linear_generator_finds_mean_and_scale_of_a_gaussian():
    """Actions are ``N(2 o - 0.3, 0.5^2)``; the loss at the optimum is the CRPS of a Gaussian, ``0.5 / sqrt(pi)``."""
    rng = np.random.default_rng(0)
    obs, noise = rng.uniform(-1, 1, (4000, 1)), rng.normal(size=(4000, 1))
    action = 2 * obs - 0.3 + 0.5 * (noise - noise.mean()) / noise.std()
    batch = Batch(jnp.asarray(obs, jnp.float32), jnp.asarray(action, jnp.float32))
    config = energy_score.Config(hidden=(), latent_dim=1, num_draws=4)
    _, params, infos = trained(config, batch, 300, learning_rate=0.05)
    layer = params.generator["params"]["Dense_0"]
    assert abs(float(layer["kernel"][0, 0])) == pytest.approx(0.5, abs=0.03)
    assert float(layer["kernel"][1, 0]) == pytest.approx(2.0, abs=0.05)
    assert float(layer["bias"][0]) == pytest.approx(-0.3, abs=0.03)
    assert np.mean(infos.energy_score[-50:]) == pytest.approx(0.5 / np.sqrt(np.pi), rel=0.05)
    assert np.mean(infos.spread[-50:]) == pytest.approx(0.5 * 2 / np.sqrt(np.pi), rel=0.05)


@pytest.mark.parametrize("network", ["mlp", "lipschitz"])
def test_a_steep_generator_tells_two_modes_apart_and_a_flat_one_cannot(network):
    """Actions are +-0.5 at every observation: at L = 1 most mass is between, as the bound for a gap of 0.8 has it, and 16 is enough."""
    sign = np.random.default_rng(0).choice([-0.5, 0.5], (256, 1)).astype(np.float32)
    batch = Batch(jnp.linspace(-1, 1, 256)[:, None], jnp.asarray(sign))
    config = energy_score.Config(network, (32, 32), num_draws=4, decay_every=10)
    for lipschitz in (16.0, 1.0):
        method, params, _ = trained(config, batch, 800, learning_rate=0.01, lipschitz=lipschitz)
        draws = np.asarray(
            jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, jnp.zeros((1, 1)), 20_000)
        )
        masses = [np.mean(np.abs(draws - mode) < 0.1) for mode in (-0.5, 0.5)]
        if network == "mlp" or lipschitz > 1:
            assert sum(masses) > 0.75 and min(masses) > 0.3
        if network == "mlp":
            break
        assert float(params.lipschitz) == lipschitz
        assert theory.certified_lipschitz(orthonormal.effective_kernels(params.generator, lipschitz)) <= lipschitz
    else:
        # Of 20,000 draws; a standard error of either is 0.005 at most.
        assert 1 - sum(masses) > float(theory.bridge_mass_bound(2, 0.8, 1.0)) - 0.02
        assert float(theory.isoperimetric_sum(masses, 0.8, 1.0)) < 1.02


def test_without_a_latent_it_has_one_action():
    method = energy_score.make(energy_score.Config(latent_dim=0), SPEC, Horizon(1, 1), optax.identity())
    state = method.init(jax.random.key(0))
    state, info = jax.jit(method.step)(state, Batch(jnp.zeros((4, 1)), jnp.ones((4, 1))), method.hyper)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(state.params))
    assert float(info.spread) < 1e-6
    assert np.ptp(method.sample(jax.random.key(1), state.params, jnp.zeros((1, 1)), 5)) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"latent_dim": -1},
        {"num_draws": 1},
        {"hidden": (0,)},
        {"hidden": (3,), "network": "lipschitz"},
        {"decay_every": -1},
    ],
)
def test_wrong_settings_are_refused(fields):
    with pytest.raises(InputError, match=f"method.{next(iter(fields))}="):
        energy_score.Config(**fields)
