"""MDN: known answers, and the noise of its latent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax.methods import mdn
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.types import Batch, Horizon, Spec

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
