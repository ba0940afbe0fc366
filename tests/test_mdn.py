"""MDN: known answers, and the noise of its latent."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax import mixture
from ebgan_mdn_jax.methods import mdn
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


@pytest.mark.parametrize("family", ["gaussian", "laplace"])
def test_one_component_finds_the_maximum_likelihood(family):
    """Where actions do not depend on the observation: mean and deviation of the rows, or median and mean absolute deviation."""
    rows = np.random.default_rng(0).gumbel(0.2, 0.1, (256, 1)).astype(np.float32)  # skewed: mean and median differ
    method = mdn.make(
        mdn.Config(GeneratorConfig(num_components=1, family=family, hidden=(8,)), decay_every=1),
        SPEC,
        Horizon(1500, 300),
    )
    batch = Batch(jnp.zeros((256, 1)), jnp.asarray(rows))
    hyper = method.hyper._replace(learning_rate=1e-2)
    train = jax.jit(lambda s: jax.lax.fori_loop(0, 1500, lambda _, s: method.step(s, batch, hyper)[0], s))
    mixture = method.mixture(train(method.init(jax.random.key(0))).params, jnp.zeros((1, 1)))
    if family == "gaussian":
        centre, scale = rows.mean(), rows.std()
    else:
        centre, scale = np.median(rows), np.abs(rows - np.median(rows)).mean()
    assert abs(float(mixture.means.squeeze()) - centre) < 0.003
    assert abs(float(mixture.scales.squeeze()) / scale - 1) < 0.03


def test_every_step_draws_its_own_latent():
    method = mdn.make(mdn.Config(GeneratorConfig(latent_dim=2)), SPEC, Horizon(10, 1), optax.identity())
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    step = jax.jit(lambda state: method.step(state, batch, method.hyper)[1].nll)
    assert step(state) == step(state)
    assert step(state) != step(state._replace(step=state.step + 1))
    assert step(state) != step(state._replace(key=jax.random.key(1)))


def test_tempering_changes_what_is_drawn_and_its_density_but_not_training():
    """Weights squared and normalised, scales cubed."""
    settings = {"generator": GeneratorConfig(3, hidden=(8,))}
    plain, sharp = (
        mdn.make(mdn.Config(**settings, **changes), SPEC, Horizon(10, 1))
        for changes in ({}, {"temperature": 0.5, "scale_exponent": 3.0})
    )
    obs = jnp.asarray([[0.3], [-0.7]])
    state = plain.init(jax.random.key(0))
    one, two = (jax.jit(method.mixture)(state.params, obs) for method in (plain, sharp))
    weights = np.exp(np.asarray(one.log_weights, np.float64)) ** 2
    np.testing.assert_allclose(np.exp(two.log_weights), weights / weights.sum(-1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(two.scales, np.asarray(one.scales, np.float64) ** 3, rtol=1e-5)
    np.testing.assert_array_equal(two.means, one.means)
    action = jnp.asarray([[0.1], [0.2]])
    np.testing.assert_allclose(
        jax.jit(sharp.log_prob)(state.params, obs, action), mixture.log_prob(two, action), rtol=1e-5
    )
    drawn = jax.jit(sharp.sample, static_argnums=3)(jax.random.key(1), state.params, obs, 7)
    expected = mixture.sample(jax.random.split(jax.random.key(1))[1], two, 7)
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-6)
    batch = Batch(obs, action)
    losses = [jax.jit(method.step)(state, batch, method.hyper)[1].nll for method in (plain, sharp)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "method.temperature=0.0: needs a positive number"),
        ({"scale_exponent": 2.0, "generator": GeneratorConfig(latent_dim=1)}, "set method.generator.latent_dim=0"),
        (
            {"scale_exponent": 2.0, "generator": GeneratorConfig(covariance="full")},
            "a covariance of the axes, such as diagonal",
        ),
    ],
)
def test_tempering_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        mdn.Config(**changes)


@pytest.mark.parametrize("start", ["data", "clusters"])
def test_a_start_happens_once_and_does_not_depend_on_the_split(start):
    method = mdn.make(
        mdn.Config(GeneratorConfig(3, hidden=(8,), start=start, start_scale=0.1)),
        SPEC,
        Horizon(10, 1),
        optax.identity(),
    )
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.zeros((4, 1)), jnp.asarray([[-0.9], [-0.2], [0.3], [0.8]]))
    hyper = method.hyper._replace(learning_rate=0.0)  # the start alone
    after, _ = jax.jit(method.step)(state, batch, hyper)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), after.params.generator, state.params.generator)["params"]
    last = {"bias": True, "kernel": start == "clusters"}
    assert moved == {"MLP_0": {"Dense_0": {"bias": False, "kernel": False}, "Dense_1": last}}
    later, _ = jax.jit(method.step)(after, batch, hyper)
    chex.assert_trees_all_equal(later.params, after.params)
    halves = jax.tree.map(lambda x: x.reshape(2, 2, 1), batch)
    split = jax.jit(jax.vmap(lambda b: method.step(state, b, hyper, "batch")[0].params, axis_name="batch"))(halves)
    for device in range(2):
        chex.assert_trees_all_close(jax.tree.map(lambda x, at=device: x[at], split), after.params, rtol=1e-6)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, after)  # of two members one has started
    both = jax.jit(jax.vmap(method.step, (0, None, None)))(states, batch, hyper)[0].params
    for member in range(2):
        chex.assert_trees_all_close(jax.tree.map(lambda x, at=member: x[at], both), after.params, rtol=1e-6)
