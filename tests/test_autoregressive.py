"""The autoregressive search against the joint one, and IBC with an energy for each coordinate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ebgan_mdn_jax.methods import ibc
from ebgan_mdn_jax.methods.implicit import LangevinConfig
from ebgan_mdn_jax.samplers import autoregressive, derivative_free, negatives
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-2.0, 0.0, -1.0), (2.0, 1.0, 1.0))


def valley(slope, centre):
    """``slope^2 |a - centre|^2`` over the coordinates up to the given one."""

    def prefix_energy(index, obs, action):
        seen = jnp.broadcast_to(jnp.arange(action.shape[-1]) <= index, action.shape)
        return jnp.sum(jnp.where(seen, slope * (action - jnp.full_like(action, centre)), 0) ** 2, axis=-1)

    return prefix_energy


def test_in_one_dimension_it_is_the_joint_search():
    energy, box = valley(5.0, 0.3), ((-1.0,), (1.0,))
    sizes = 200, 3, 0.33, 0.5
    ours = autoregressive.search(jax.random.key(0), energy, jnp.zeros(1), *box, *sizes)
    joint = derivative_free.search(
        jax.random.key(0), lambda obs, action: energy(0, obs, action), jnp.zeros(1), *box, *sizes
    )
    np.testing.assert_array_equal(ours.action, joint.action)
    np.testing.assert_array_equal(ours.energy, joint.energy)


def test_goes_where_the_joint_search_does_not_arrive():
    """In 16 dimensions, with a fixed number of candidates; the returned energy is that of all coordinates."""
    energy, dim, sizes = valley(10.0, 0.3), 16, (2048, 3, 0.33, 0.5)
    box = ((-1.0,) * dim, (1.0,) * dim)
    ours = autoregressive.search(jax.random.key(0), energy, jnp.zeros(1), *box, *sizes)
    joint = derivative_free.search(
        jax.random.key(0), lambda obs, action: energy(dim - 1, obs, action), jnp.zeros(1), *box, *sizes
    )
    np.testing.assert_allclose(ours.energy, energy(dim - 1, jnp.zeros((1, 1)), ours.action), rtol=1e-5)
    assert np.all(np.abs(ours.action) <= 1)
    assert np.min(ours.energy) < 0.05 * np.min(joint.energy)


@pytest.mark.parametrize(("num_iterations", "powers"), [(0, (0, 0)), (1, (2, 1)), (2, (4, 2))])
def test_population_has_the_spread_of_repeated_reweighting(num_iterations, powers):
    """A coordinate is reweighted once for each that follows it and for itself; Kolmogorov-Smirnov of 5,000, false-fail rate 1e-6."""
    slope = 2.0
    sizes = 400_000, num_iterations, 1e-4, 0.5
    box = (-1.0, -1.0), (1.0, 1.0)
    found = autoregressive.search(jax.random.key(1), valley(slope, 0.2), jnp.zeros(1), *box, *sizes).action
    found = np.random.default_rng(0).choice(np.asarray(found), 5_000, replace=False)
    for coordinate, power in enumerate(powers):
        if power == 0:
            law = stats.uniform(-1, 2)
        else:
            deviation = 1 / np.sqrt(2 * power * slope**2)
            law = stats.truncnorm(-1.2 / deviation, 0.8 / deviation, 0.2, deviation)
        assert stats.kstest(found[:, coordinate], law.cdf).pvalue > 1e-6


def make(**fields):
    return ibc.make(ibc.Config(energy_hidden=(8,), autoregressive=True, **fields), SPEC, Horizon(2000, 1))


def test_the_loss_is_the_sum_over_coordinates_of_the_same_negatives():
    """Each seen with the coordinates after it cut off: in NumPy, from energies where those are anything else."""
    method = make(num_negatives=5)
    state = method.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    obs, action = rng.uniform(-1, 1, (6, 1)), rng.uniform(0, 1, (6, 3))
    batch = Batch(jnp.asarray(obs, jnp.float32), jnp.asarray(action, jnp.float32))
    _, info = jax.jit(method.step)(state, batch, method.hyper)
    drawn = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 5, 0)
    weights = jax.tree.map(np.asarray, state.params.energy["params"]["MLP_0"])
    total = 0.0
    for index in range(3):

        def energy(actions, index=index):
            seen = np.where(np.arange(3) <= index, actions, 0)
            x = np.concatenate([np.broadcast_to(obs, (*actions.shape[:-1], 1)), seen], axis=-1)
            first, last = weights["Dense_0"], weights["Dense_1"]
            hidden = np.maximum(x @ first["kernel"][index] + first["bias"][index], 0)
            return (hidden @ last["kernel"][index] + last["bias"][index])[..., 0]

        positive, negative = energy(action), energy(np.asarray(drawn))
        total -= np.log(np.exp(-positive) / (np.exp(-positive) + np.exp(-negative).sum(0))).mean()
    np.testing.assert_allclose(info.energy_loss, total, rtol=1e-5)
    assert weights["Dense_0"]["kernel"].shape == (3, 4, 8)
    assert not np.array_equal(weights["Dense_0"]["kernel"][0], weights["Dense_0"]["kernel"][1])
    np.testing.assert_allclose(method.energy(state.params, batch.obs, batch.action), energy(action), rtol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"derivative_free_share": 0.5}])
def test_learns_actions_that_depend_on_the_observation(fields):
    """Regression on a curve in three dimensions: the mean error falls under a tenth of the box's half extents."""
    method = ibc.make(
        ibc.Config(
            energy_hidden=(64, 64), autoregressive=True, num_negatives=32, num_candidates=512, decay_every=60, **fields
        ),
        SPEC,
        Horizon(300, 1),
    )
    obs = jnp.linspace(-1, 1, 64)[:, None]
    action = jnp.concatenate([1.5 * obs, obs**2, -0.5 * obs], axis=-1)

    def step(state, _):
        return method.step(state, Batch(obs, action), method.hyper._replace(learning_rate=3e-3))[0], ()

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, length=300))(method.init(jax.random.key(0)))
    found = jax.jit(method.act)(jax.random.key(1), state.params, obs)
    assert np.mean(np.abs(np.asarray(found - action)) / np.array([2.0, 0.5, 1.0])) < 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"langevin_share": 1.0}, "needs method.langevin_share=0"),
        ({"search": "langevin"}, "needs method.search=derivative_free"),
        ({"gradient_penalty": "inf"}, "needs method.gradient_penalty=none"),
        ({"loss": "max_entropy"}, "needs method.loss=info_nce"),
        ({"replay_buffer": 10, "langevin": LangevinConfig(noise="langevin")}, "needs method.replay_buffer=0"),
    ],
)
def test_what_needs_one_energy_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        make(**fields)
