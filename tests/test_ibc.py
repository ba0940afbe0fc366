"""IBC: its loss, what an energy of known minimum and density makes it choose, and that the search is not part of training."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from ebgan_mdn_jax.methods import ibc
from ebgan_mdn_jax.samplers import negatives
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-2.0,), (2.0,))
CENTRE = 0.5


def make(**fields):
    return ibc.make(ibc.Config(energy_hidden=(2,), **fields), SPEC, Horizon(10, 1))


def valley(slope):
    """Parameters for the energy ``slope |a - CENTRE|``: two hidden units."""
    params = make().init(jax.random.key(0)).params
    first = {"kernel": jnp.asarray([[0.0, 0.0], [1.0, -1.0]]), "bias": jnp.asarray([-CENTRE, CENTRE])}
    last = {"kernel": jnp.asarray([[slope], [slope]]), "bias": jnp.zeros(1)}
    mlp = params.energy["params"]["MLP_0"]
    assert mlp["Dense_0"]["kernel"].shape == (2, 2)
    return params._replace(energy={"params": {"MLP_0": {"Dense_0": first, "Dense_1": last}}})


def test_first_loss_is_cross_entropy_against_the_negatives_of_the_step():
    """In NumPy, from the energies of the same negatives."""
    method = ibc.make(ibc.Config(num_negatives=5), SPEC, Horizon(10, 1), optax.identity())
    state = method.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = Batch(*(jnp.asarray(rng.uniform(-1, 1, (6, 1)), jnp.float32) for _ in range(2)))
    _, info = jax.jit(method.step)(state, batch, method.hyper)
    drawn = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 5, 0)
    positive = np.asarray(method.energy(state.params, batch.obs, batch.action), np.float64)
    negative = np.asarray(method.energy(state.params, batch.obs, drawn), np.float64)
    share = np.exp(-positive) / (np.exp(-positive) + np.exp(-negative).sum(0))
    np.testing.assert_allclose(info.energy_loss, -np.log(share).mean(), rtol=1e-5)
    np.testing.assert_allclose(info.positive_energy, positive.mean(), rtol=1e-5)
    np.testing.assert_allclose(info.negative_energy, negative.mean(), rtol=1e-5)


def test_act_finds_the_minimum():
    """Better by far than the noise of the last iteration, 0.33 * 2 * 0.25: an arbitrary member of the population would be off by it."""
    action = jax.jit(make().act)(jax.random.key(1), valley(5.0), jnp.zeros((20, 1)))
    assert np.max(np.abs(action - CENTRE)) < 2e-3


@pytest.mark.parametrize(("num_iterations", "sigma", "power"), [(0, 0.33, 1), (1, 1e-4, 2), (2, 1e-4, 3)])
def test_samples_have_the_density_of_the_energy_to_a_power(num_iterations, sigma, power):
    """``exp(-(t + 1) E)`` for next to no noise. Rows are independent: one draw of each of 500; Kolmogorov-Smirnov, false-fail rate 1e-6."""
    slope = 3.0
    params = valley(slope)._replace(sigma=jnp.asarray(sigma))
    method = make(num_iterations=num_iterations, num_candidates=4096)
    draws = jax.jit(method.sample, static_argnums=3)(jax.random.key(2), params, jnp.zeros((500, 1)), 1)[0, :, 0]
    truth = stats.laplace(CENTRE, 1 / (slope * power))
    low, high = truth.cdf(-2), truth.cdf(2)
    assert stats.kstest(np.asarray(draws), lambda a: (truth.cdf(a) - low) / (high - low)).pvalue > 1e-6


def test_draws_of_a_row_come_from_one_population():
    """And rows of the same observation from populations of their own."""
    method = make(num_candidates=3, num_iterations=0)
    draws = jax.jit(method.sample, static_argnums=3)(jax.random.key(3), valley(0.1), jnp.zeros((4, 1)), 50)[..., 0]
    values = [set(np.asarray(draws[:, row]).tolist()) for row in range(4)]
    assert all(len(row) == 3 for row in values) and len(set.union(*values)) == 12
    lowest = make(sample_by="argmin", num_candidates=3, num_iterations=0)
    assert np.unique(lowest.sample(jax.random.key(3), valley(0.1), jnp.zeros((1, 1)), 9)).size == 1


def test_the_search_is_no_part_of_training():
    batch = Batch(jnp.zeros((4, 1)), jnp.ones((4, 1)))
    states = []
    for fields in ({}, {"num_candidates": 7, "num_iterations": 1, "sample_by": "argmin"}):
        method = make(**fields)
        states.append(jax.jit(method.step)(method.init(jax.random.key(0)), batch, method.hyper)[0].params)
    chex.assert_trees_all_equal(*states)


@pytest.mark.parametrize("field", ["num_negatives", "num_candidates"])
def test_values_that_cannot_work_are_refused(field):
    with pytest.raises(InputError, match=f"method.{field}=0: needs at least 1"):
        ibc.Config(**{field: 0})
    with pytest.raises(InputError, match="method.num_iterations=-1: needs 0"):
        ibc.Config(num_iterations=-1)
