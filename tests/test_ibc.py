"""IBC: its loss, what an energy of known minimum and density makes it choose, and that the search is not part of training."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from ebgan_mdn_jax import collectives, networks
from ebgan_mdn_jax.methods import counter_examples, ibc, implicit, joint, marginal
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.samplers import base, derivative_free, langevin, negatives
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
    params = valley(slope)
    params = params._replace(hyper=params.hyper._replace(sigma=jnp.asarray(sigma)))
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


@pytest.mark.parametrize("penalty", ["none", "inf"])
def test_dropout_is_of_the_loss_alone(penalty):
    """Neither of the chains that find negatives nor of the policy; of every row on its own."""
    fields = {"num_negatives": 3, "langevin_share": 1.0, "gradient_penalty": penalty, "num_candidates": 8}
    plain = ibc.make(ibc.Config(**fields), SPEC, Horizon(10, 1), optax.identity())
    dropped = ibc.make(ibc.Config(**fields, energy_dropout=0.5), SPEC, Horizon(10, 1), optax.identity())
    state = plain.init(jax.random.key(0))
    batch = Batch(jnp.linspace(-1, 1, 4)[:, None], jnp.ones((4, 1)))
    (_, without), (after, info) = (jax.jit(method.step)(state, batch, plain.hyper) for method in (plain, dropped))
    assert without.energy_loss != info.energy_loss and without.negative_distance == info.negative_distance
    np.testing.assert_array_equal(
        plain.act(jax.random.key(1), state.params, batch.obs), dropped.act(jax.random.key(1), state.params, batch.obs)
    )
    halves = jax.tree.map(lambda rows: rows.reshape(2, 2, 1), batch)
    split, _ = jax.jit(jax.vmap(lambda rows: dropped.step(state, rows, plain.hyper, "batch"), axis_name="batch"))(
        halves
    )
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], split.params), after.params, rtol=1e-4, atol=1e-6)


def test_the_search_is_no_part_of_training():
    batch = Batch(jnp.zeros((4, 1)), jnp.ones((4, 1)))
    states = []
    for fields in (
        {},
        {"num_candidates": 7, "num_iterations": 1, "sample_by": "argmin"},
        {"search": "langevin", "second_pass": True},
    ):
        method = make(**fields)
        states.append(jax.jit(method.step)(method.init(jax.random.key(0)), batch, method.hyper)[0].params)
    chex.assert_trees_all_equal(*states)


@pytest.mark.parametrize("field", ["num_negatives", "num_candidates"])
def test_values_that_cannot_work_are_refused(field):
    with pytest.raises(InputError, match=f"method.{field}=0: needs at least 1"):
        ibc.Config(**{field: 0})
    with pytest.raises(InputError, match="method.num_iterations=-1: needs at least 0"):
        ibc.Config(num_iterations=-1)
    with pytest.raises(InputError, match="method.langevin_share=1.5: needs a share from 0 to 1"):
        ibc.Config(langevin_share=1.5)
    with pytest.raises(InputError, match="= 1.5: shares of the negatives, at most 1 together"):
        ibc.Config(num_negatives=8, data_share=0.5, marginal_share=1.0)
    with pytest.raises(InputError, match="method.data_share=0.1 of method.num_negatives=8 is none"):
        ibc.Config(num_negatives=8, data_share=0.1)
    with pytest.raises(InputError, match="set method.marginal_loss=contrastive_divergence"):
        ibc.Config(num_negatives=8, marginal_share=0.125)
    assert ibc.Config(num_negatives=7, langevin_share=0.5, data_share=0.5).negative_counts == (3, 0, 3, 0)
    with pytest.raises(InputError, match="importance_nll needs negatives of known density: set method.langevin_share"):
        ibc.Config(loss="importance_nll", data_share=0.5)
    with pytest.raises(InputError, match="set method.langevin.noise=langevin"):
        ibc.LangevinConfig(metropolis=True)
    with pytest.raises(InputError, match="method.replay_buffer=9: then all negatives are pairs of it; set method.lang"):
        ibc.Config(replay_buffer=9, data_share=0.5)
    with pytest.raises(InputError, match="importance_nll needs negatives of known density"):
        ibc.Config(loss="importance_nll", replay_buffer=9)


# Langevin


LANGEVIN = {"search": "langevin", "num_candidates": 512}


def with_hyper(params, **values):
    """The parameters with scalars of the search replaced."""
    return params._replace(hyper=params.hyper._replace(**{name: jnp.asarray(v) for name, v in values.items()}))


def test_langevin_search_finds_the_minimum():
    """With IBC's chain the population ends narrow, and its lowest energy is at the minimum; a second pass goes on from there."""
    params = with_hyper(valley(5.0), step_size=0.1)
    spreads = []
    for second_pass in (False, True):
        method = make(**LANGEVIN, langevin=ibc.LangevinConfig(100), second_pass=second_pass)
        action = jax.jit(method.act)(jax.random.key(1), params, jnp.zeros((20, 1)))
        assert np.max(np.abs(action - CENTRE)) < 2e-3
        draws = jax.jit(method.sample, static_argnums=3)(jax.random.key(1), params, jnp.zeros((1, 1)), 400)
        spreads.append(np.std(draws))
    assert spreads[0] < 0.05 and spreads[1] != spreads[0]


def test_searches_take_float32_rows_in_float64():
    with jax.enable_x64(True):
        for search in ("langevin", "derivative_free"):
            method = make(search=search, num_candidates=8, langevin=ibc.LangevinConfig(3))
            params = method.init(jax.random.key(0)).params
            action = jax.jit(method.act)(jax.random.key(1), params, jnp.zeros((2, 1), jnp.float32))
            assert action.shape == (2, 1) and np.all(np.isfinite(action))


def test_langevin_draws_have_the_density_of_the_energy():
    """With Metropolis correction: rows are independent, one draw of each of 500; Kolmogorov-Smirnov, false-fail rate 1e-6.

    In half extents of the box, of 2, the chain moves by ``sqrt(2 * 0.05)`` at a time, so 200 steps forget where they began.
    """
    slope = 3.0
    chain = ibc.LangevinConfig(200, "langevin", metropolis=True)
    method = make(search="langevin", num_candidates=4, langevin=chain)
    params = with_hyper(valley(slope), step_size=0.05, last_step_size=0.05)
    draws = jax.jit(method.sample, static_argnums=3)(jax.random.key(2), params, jnp.zeros((500, 1)), 1)[0, :, 0]
    truth = stats.laplace(CENTRE, 1 / slope)
    low, high = truth.cdf(-2), truth.cdf(2)
    assert stats.kstest(np.asarray(draws), lambda a: (truth.cdf(a) - low) / (high - low)).pvalue > 1e-6


def test_langevin_negatives_go_downhill_in_units_of_the_box():
    """Without noise on the energy ``slope |a - CENTRE|`` each step moves ``step / 2 * slope * 2`` half extents, which are 2."""
    chain = ibc.LangevinConfig(3)
    fields = {"num_negatives": 6, "langevin": chain}
    batch = Batch(jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    optimizer = optax.GradientTransformation(lambda params: (), lambda grads, state, params: (grads, state))
    hyper = ibc.Hyper(learning_rate=0.0, step_size=0.01, last_step_size=0.01, noise_scale=0.0, delta_clip=0.5)
    distances = []
    for share in (0.0, 0.5, 1.0):
        method = ibc.make(
            ibc.Config(energy_hidden=(2,), langevin_share=share, **fields), SPEC, Horizon(10, 1), optimizer
        )
        state = method.init(jax.random.key(0))._replace(params=valley(2.0))
        _, info = jax.jit(method.step)(state, batch, hyper)
        assert (info.acceptance, info.clip_share) == (1.0, 0.0)
        distances.append(info.negative_energy)
    drawn = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 6, 0)[..., 0]
    away = np.abs(np.asarray(drawn, np.float64) - CENTRE)
    # The slope is 4 in half extents; three steps of 0.01 / 2 * 4 are 0.06 half extents, 0.12 in units of the action. No start is nearer.
    assert away.min() > 0.12
    expected = [2 * away.mean(), 2 * (away.mean() - 0.12 / 2), 2 * (away.mean() - 0.12)]
    np.testing.assert_allclose(distances, expected, rtol=1e-4)


def test_chains_are_no_part_of_the_gradient_and_the_penalty_is():
    """The update equals that of a loss with the chain's ends given as constants, and with a penalty worked out from the known slope."""
    keep = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), lambda g, s, p: (g, g))
    batch = Batch(jnp.zeros((4, 1)), jnp.full((4, 1), -1.0))
    config = ibc.Config(energy_hidden=(2,), num_negatives=3, langevin_share=1.0, gradient_penalty="inf")
    method = ibc.make(config, SPEC, Horizon(10, 1), keep)
    state = method.init(jax.random.key(0))._replace(params=valley(2.0))
    silent = method.hyper._replace(penalty_weight=0.0)
    with_penalty, info = jax.jit(method.step)(state, batch, method.hyper)
    without, _ = jax.jit(method.step)(state, batch, silent)
    np.testing.assert_allclose(info.penalty, (4.0 - 1.0) ** 2, rtol=1e-5)  # slope 2 in half extents of 2
    last = lambda state: state.opt_state["params"]["MLP_0"]["Dense_1"]["kernel"][:, 0]  # noqa: E731
    # The slope in half extents is twice the sum over active units of first-layer weight times last-layer weight. One unit is active at
    # every action, so each action adds d (s - 1)^2 / d weight = 2 (s - 1) 2 to one of the two, on average over actions.
    np.testing.assert_allclose(np.sum(last(with_penalty) - last(without)), 2 * 3 * 2, rtol=1e-4)


@pytest.mark.parametrize("one_chain", [False, True])
def test_the_penalty_can_hold_all_along_the_chains(one_chain):
    """Its mean is over every state of every chain, from start to end, and the demonstrated action."""
    chain = ibc.LangevinConfig(num_steps=4, one_chain=one_chain)
    fields = {"energy_hidden": (8,), "num_negatives": 3, "langevin_share": 1.0, "langevin": chain}
    config = ibc.Config(**fields, gradient_penalty="2", penalty_points="chains")
    method = ibc.make(config, SPEC, Horizon(10, 1))
    state = method.init(jax.random.key(0))
    hyper = method.hyper._replace(step_size=1.0, penalty_margin=0.0)
    batch = Batch(jnp.linspace(-1, 1, 4)[:, None], jnp.full((4, 1), -1.0))
    _, info = jax.jit(method.step)(state, batch, hyper)

    def energy_fn(obs, action):
        return method.energy(state.params, obs, unit_box(SPEC).action_to_data(action))

    key = jax.random.fold_in(state.key, 0)
    sampler = implicit.make_chain(chain, hyper, 1, (hyper.step_size, hyper.last_step_size), "ibc", hyper.noise_scale)
    starts = unit_box(SPEC).action(negatives.draw(key, batch.action, SPEC, 3, 0))[: 1 if one_chain else 3]
    keys = collectives.row_keys(jax.random.fold_in(key, counter_examples._CHAINS), 4)
    _, _, states = base.run(keys, sampler, energy_fn, batch.obs, starts, lambda chains: chains.action)
    points = jnp.concatenate([unit_box(SPEC).action(batch.action)[None], starts, states.reshape(-1, 4, 1)])
    slopes = jax.grad(lambda points: jnp.sum(energy_fn(batch.obs, points)))(points)
    np.testing.assert_allclose(info.penalty, np.mean(np.asarray(slopes) ** 2), rtol=1e-5)
    with pytest.raises(InputError, match="method.penalty_points=chains: needs a penalty and chains"):
        ibc.Config(**fields, penalty_points="chains")


@pytest.mark.parametrize("loss", ["importance_nll", "contrastive_divergence", "max_entropy"])
def test_other_losses_train_and_are_logged(loss):
    """On the energies of the step's own negatives."""
    config = ibc.Config(num_negatives=5, loss=loss)
    method = ibc.make(config, SPEC, Horizon(10, 1))
    state = method.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = Batch(*(jnp.asarray(rng.uniform(-1, 1, (6, 1)), jnp.float32) for _ in range(2)))
    after, info = jax.jit(method.step)(state, batch, method.hyper._replace(positive_weight=1.0))
    drawn = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 5, 0)
    positive = method.energy(state.params, batch.obs, batch.action)
    negative = method.energy(state.params, batch.obs, drawn)
    expected = {
        "importance_nll": positive + np.log(4 * np.exp(-np.asarray(negative)).mean(0)),  # the box is 4 long
        "contrastive_divergence": positive - negative.mean(0),
        "max_entropy": positive - negative.mean(0) + 0.5 * negative.var(0),
    }[loss]
    np.testing.assert_allclose(info.energy_loss, expected.mean(), rtol=1e-4, atol=1e-5)
    lower = jnp.mean(method.energy(after.params, batch.obs, batch.action)) - jnp.mean(positive)
    assert lower < jnp.mean(method.energy(after.params, batch.obs, drawn)) - jnp.mean(negative)


CHAIN = {
    "langevin_share": 1.0,
    "num_negatives": 3,
    "loss": "contrastive_divergence",
    "langevin": ibc.LangevinConfig(num_steps=4),
}


def by_hand(method, weights, state, batch, start):
    """Four noiseless steps in half extents (2) of the box from ``start [N, B, 1]``: all states ``[T, N, B, 1]``."""
    states, at = [], start
    for size in langevin.polynomial_schedule(0.1, 1e-5, 2.0, 4):
        energy = lambda at: jnp.sum(method.energy(state.params._replace(energy=weights), batch.obs, at))  # noqa: E731
        at = jnp.clip(at - 2 * jnp.clip(0.5 * size * 2 * jax.grad(energy)(at), -0.1, 0.1), -2, 2)
        states.append(at)
    return jnp.stack(states)


@pytest.mark.parametrize("backpropagate", [False, True])
def test_the_gradient_goes_through_chains_only_if_asked_to(backpropagate):
    fields = CHAIN | {"langevin": ibc.LangevinConfig(num_steps=4, backpropagate=backpropagate)}
    method = ibc.make(ibc.Config(**fields), SPEC, Horizon(10, 1), optax.identity())
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.linspace(-1, 1, 4)[:, None], jnp.ones((4, 1)))
    hyper = method.hyper._replace(noise_scale=0.0, learning_rate=1.0)
    after = jax.jit(method.step)(state, batch, hyper)[0].params.energy
    start = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 3, 0)

    def loss(weights):
        ends = by_hand(method, weights, state, batch, start)[-1]
        ends = ends if backpropagate else jax.lax.stop_gradient(ends)
        params = state.params._replace(energy=weights)
        return jnp.mean(method.energy(params, batch.obs, batch.action)) - jnp.mean(
            method.energy(params, batch.obs, ends)
        )

    taken = jax.tree.map(jnp.subtract, state.params.energy, after)
    chex.assert_trees_all_close(taken, jax.jit(jax.grad(loss))(state.params.energy), rtol=1e-3, atol=1e-6)


def test_negatives_of_one_chain_are_its_last_states():
    fields = CHAIN | {"langevin": ibc.LangevinConfig(num_steps=4, one_chain=True)}
    method = ibc.make(ibc.Config(**fields), SPEC, Horizon(10, 1), optax.identity())
    state = method.init(jax.random.key(0))
    batch = Batch(jnp.linspace(-1, 1, 4)[:, None], jnp.ones((4, 1)))
    _, info = jax.jit(method.step)(state, batch, method.hyper._replace(noise_scale=0.0))
    start = negatives.draw(jax.random.fold_in(state.key, 0), batch.action, SPEC, 3, 0)
    states = by_hand(method, state.params.energy, state, batch, start[:1])[-3:, 0]
    np.testing.assert_allclose(
        info.negative_energy, jnp.mean(method.energy(state.params, batch.obs, states)), rtol=1e-5
    )
    np.testing.assert_allclose(info.negative_distance, jnp.mean(jnp.abs(states - 1.0)) / 2, rtol=1e-5)
    with pytest.raises(InputError, match="one_chain=True: 4 steps have too few states for 5 negatives"):
        ibc.Config(**fields | {"num_negatives": 5})
    with pytest.raises(InputError, match="backpropagate=True: there are no chains in training"):
        ibc.Config(langevin=ibc.LangevinConfig(backpropagate=True))


def test_temperature_divides_the_energies():
    method = make(num_negatives=4)
    state = method.init(jax.random.key(0))._replace(params=valley(2.0))
    batch = Batch(jnp.zeros((3, 1)), jnp.full((3, 1), -1.0))
    _, warm = jax.jit(method.step)(state, batch, method.hyper._replace(temperature=2.0))
    _, cool = jax.jit(method.step)(state._replace(params=valley(1.0)), batch, method.hyper)
    np.testing.assert_allclose(warm.energy_loss, cool.energy_loss, rtol=1e-5)


def test_negatives_of_a_split_batch_are_those_of_the_whole():
    """``vmap(axis_name=...)`` stands in for two devices with half of the rows each."""
    shares = {"langevin_share": 0.25, "derivative_free_share": 0.25, "data_share": 0.25, "marginal_share": 0.25}
    config = ibc.Config(energy_hidden=(8,), num_negatives=8, **shares, gradient_penalty="2")
    method = ibc.make(config, SPEC, Horizon(10, 1), optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = Batch(*(jnp.asarray(rng.uniform(-1, 1, (6, 1)), jnp.float32) for _ in range(2)))
    whole, info = jax.jit(method.step)(state, batch, method.hyper)
    halves = jax.tree.map(lambda rows: rows.reshape(2, 3, 1), batch)
    step = jax.vmap(lambda rows: method.step(state, rows, method.hyper, "batch"), axis_name="batch")
    split, split_info = jax.jit(step)(halves)
    parts = (split.params, split.extra), (whole.params, whole.extra)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], parts[0]), parts[1], rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], split_info), info, rtol=1e-4)


# Other negatives


def mean_energy_of_negatives(batch, slope=2.0, **fields):
    """What a step logs of the energy ``slope |a - CENTRE|`` at its four negatives, and its key."""
    method = make(num_negatives=4, **fields)
    state = jax.jit(method.init)(jax.random.key(0))._replace(params=valley(slope))
    _, info = jax.jit(method.step)(state, batch, method.hyper)
    return info.negative_energy, jax.random.fold_in(state.key, 0), method.hyper


def test_searched_and_data_negatives_are_those_of_their_sampler():
    """Half of them, worked out from the same keys, beside two uniform ones."""
    rng = np.random.default_rng(0)
    batch = Batch(jnp.zeros((3, 1)), jnp.asarray(rng.uniform(-1, 1, (3, 1)), jnp.float32))
    energy = lambda action: 2.0 * np.abs(np.asarray(action, np.float64) - CENTRE)  # noqa: E731

    value, key, hyper = mean_energy_of_negatives(batch, derivative_free_share=0.5, search_iterations=2)
    uniform = negatives.draw(key, batch.action, SPEC, 2, 0)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, counter_examples._SEARCH), jnp.arange(3))
    scored = lambda obs, action: 2.0 * jnp.abs(action[..., 0] - CENTRE)  # noqa: E731
    box = (SPEC.action_low, SPEC.action_high)
    found = [
        derivative_free.search(one, scored, batch.obs[0], *box, 2, 2, hyper.sigma, hyper.shrink).action for one in keys
    ]
    np.testing.assert_allclose(value, (energy(uniform).mean() + energy(found).mean()) / 2, rtol=1e-5)

    value, key, _ = mean_energy_of_negatives(batch, data_share=0.5)
    drawn = np.asarray(negatives.draw(key, batch.action, SPEC, 2, 2))
    assert np.isin(drawn[2:], batch.action).all() and not np.any(drawn[2:] == np.asarray(batch.action))
    np.testing.assert_allclose(value, energy(drawn).mean(), rtol=1e-5)


def test_marginal_sampler_learns_the_density_of_actions():
    """Actions are N(0.5, 0.2) in half extents of the box; draws have their mean and deviation."""
    sampler = marginal.make((16, 16), "torch", "contrastive_divergence", 1, optax.scale_by_adam())
    chain = langevin.make(langevin.polynomial_schedule(0.05, 0.002, 2, 20), (-1.0,), (1.0,))
    action = jnp.asarray(np.random.default_rng(0).normal(0.5, 0.2, (64, 1)), jnp.float32)

    def draw(state, key):
        return sampler.draw(jax.random.split(key, 64), chain, state, 4)[0]

    def step(index, state):
        draws = draw(state, jax.random.fold_in(jax.random.key(0), index))
        return sampler.step(state, action, draws, 0.01)[0]

    state = jax.jit(lambda state: jax.lax.fori_loop(0, 300, step, state))(sampler.init(jax.random.key(0)))
    draws = np.asarray(jax.jit(draw)(state, jax.random.key(1)))
    assert abs(draws.mean() - 0.5) < 0.1 and 0.7 < draws.std() / 0.2 < 1.5


def test_marginal_negatives_know_nothing_of_observations():
    batch = Batch(jnp.zeros((4, 1)), jnp.asarray([[-1.0], [0.5], [1.0], [1.5]]))
    method = make(num_negatives=4, marginal_share=0.5, langevin=ibc.LangevinConfig(3))
    step = jax.jit(method.step)
    start = jax.jit(method.init)(jax.random.key(0))
    one, info = step(start, batch, method.hyper)
    two, other = step(start, batch._replace(obs=batch.action), method.hyper)
    chex.assert_trees_all_equal(one.extra, two.extra)
    assert info.negative_distance == other.negative_distance and info.marginal_loss == other.marginal_loss
    assert info.negative_energy != other.negative_energy
    assert info.clip_share > 0.1  # the textbook's noise under IBC's clip
    assert "marginal_loss" in method.losses and "marginal_loss" not in make().losses


def test_marginal_step_is_that_of_maximum_entropy_on_draws_held_constant():
    """With the gradient of maximum entropy, written out."""
    sampler = marginal.make((4,), "torch", "max_entropy", 1, optax.identity())
    start = sampler.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    action, draws = (jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32) for shape in ((5, 1), (3, 5, 1)))

    def loss_fn(weights):
        value = lambda action: networks.EnergyMLP((4,)).apply(weights, jnp.zeros((5, 0)), action)  # noqa: E731
        negative = value(draws)
        square = jnp.mean((negative - jnp.broadcast_to(jnp.mean(negative, 0), (3, 5))) ** 2)
        return jnp.mean(value(action)) - jnp.mean(negative) + 0.5 * square

    after, loss = jax.jit(sampler.step)(start, action, draws, 0.1)
    expected, grads = jax.jit(jax.value_and_grad(loss_fn))(start.energy)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    moved = jax.tree.map(lambda new, old: (old - new) / 0.1, after.energy, start.energy)
    chex.assert_trees_all_close(moved, grads, rtol=1e-3, atol=1e-5)


# Spectral normalisation


def test_spectral_energies_train_and_carry_their_directions():
    config = ibc.Config(energy_hidden=(8, 8), energy_spectral=True, num_negatives=4, gradient_penalty="2")
    method = ibc.make(config, SPEC, Horizon(1_000, 1))
    state = jax.jit(method.init)(jax.random.key(0))
    batch = Batch(jnp.zeros((4, 1)), jnp.full((4, 1), 1.0))
    step = jax.jit(method.step)
    leaves = lambda state: jax.tree.leaves(state.params.energy["spectral"])  # noqa: E731
    before = leaves(state)
    assert (
        len(before) == 3 and len(jax.tree.leaves(state.opt_state)) == 1 + 2 * 6
    )  # count, and two moments of six arrays
    for _ in range(300):
        state, info = step(state, batch, method.hyper._replace(learning_rate=0.01))
    assert all(np.any(old != new) for old, new in zip(before, leaves(state), strict=True))
    assert info.energy_loss < 1.4  # from log 5 = 1.6; the best of slope 1, |a - 1|, has 0.95 on average
    grid = jnp.linspace(-2, 2, 101)[:, None, None]
    slope = jax.grad(lambda action: jnp.sum(method.energy(state.params, jnp.zeros((1, 1)), action)))(grid)
    assert 0.1 < np.abs(slope).max() < 1.01
    halves = jax.tree.map(lambda rows: rows.reshape(2, 2, 1), batch)
    whole, _ = step(state, batch, method.hyper)
    split, _ = jax.jit(jax.vmap(lambda rows: method.step(state, rows, method.hyper, "batch"), axis_name="batch"))(
        halves
    )
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], split.params), whole.params, rtol=1e-4, atol=1e-6)


# Joint energy


def pair_energy(obs, action):
    """A narrow bowl at ``obs = 0.5, action = -1``, the latter half of an extent below 0."""
    return 50 * jnp.sum((obs - 0.5) ** 2 + (action + 0.5) ** 2, axis=-1)


def pairs_of(step, buffer, num_rows=2, num_draws=3, restart=0.0, size=0.0, **kwargs):
    chain = langevin.make(jnp.full(5, size), (-1.0,) * 2, (1.0,) * 2, noise_scale=0.0)
    sampler = joint.make(buffer.shape[0], SPEC)
    sizes = num_rows, num_draws, restart
    return sampler.draw(jax.random.key(step), chain, pair_energy, buffer, jnp.asarray(step), *sizes, **kwargs)


def test_the_replay_buffer_is_taken_in_turn_and_put_back():
    buffer = joint.make(14, SPEC).init(jax.random.key(0))
    assert buffer.shape == (14, 2) and np.all(np.abs(buffer) <= 1)
    for step, first in ((0, 0), (1, 6), (2, 0)):  # 6 pairs a step; the last two of 14 are never reached
        obs, action, after, _ = pairs_of(step, buffer)
        taken = np.asarray(buffer)[first : first + 6].reshape(2, 3, 2)
        np.testing.assert_allclose(np.moveaxis(obs, 0, 1)[..., 0], taken[..., 0], atol=1e-6)
        np.testing.assert_allclose(np.moveaxis(action, 0, 1)[..., 0], 2 * taken[..., 1], atol=1e-6)
        np.testing.assert_array_equal(after, buffer)
    _, _, after, _ = pairs_of(1, buffer, size=0.005)
    moved = np.any(np.asarray(after != buffer), axis=1)
    np.testing.assert_array_equal(moved, [False] * 6 + [True] * 6 + [False] * 2)
    distance = lambda pairs: np.linalg.norm(np.asarray(pairs)[6:12] - np.asarray([0.5, -0.5]), axis=1)  # noqa: E731
    assert np.all(distance(after) < 0.1 * distance(buffer))  # each of 5 steps halves it
    _, _, fresh, _ = pairs_of(0, buffer, restart=1.0)
    assert not np.any(np.isin(fresh[:6], buffer)) and np.all(np.abs(fresh) <= 1)
    with pytest.raises(InputError, match="method.replay_buffer=5: cannot hold the 6 pairs of a step; raise it"):
        pairs_of(0, buffer[:5])


def test_joint_step_is_that_of_contrastive_divergence_on_pairs():
    """With the gradient of ``E(o, a) - mean E(pairs)``, written out; a split batch takes the step of the whole."""
    config = ibc.Config(energy_hidden=(4,), num_negatives=3, replay_buffer=40, loss="contrastive_divergence")
    keep = optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), lambda g, s, p: (g, g))
    method = ibc.make(config, SPEC, Horizon(10, 1), keep)
    state = jax.jit(method.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = Batch(*(jnp.asarray(rng.uniform(-1, 1, (6, 1)), jnp.float32) for _ in range(2)))
    after, info = jax.jit(method.step)(state, batch, method.hyper)
    pairs = jnp.moveaxis(after.extra[:18].reshape(6, 3, 2), 1, 0)

    def loss_fn(weights):
        value = lambda obs, action: networks.EnergyMLP((4,)).apply(weights, obs, action)  # noqa: E731
        return jnp.mean(value(batch.obs, batch.action)) - jnp.mean(value(pairs[..., :1], 2 * pairs[..., 1:]))

    loss, grads = jax.jit(jax.value_and_grad(loss_fn))(state.params.energy)
    np.testing.assert_allclose(info.energy_loss, loss, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(after.opt_state, grads, rtol=1e-3, atol=1e-5)
    halves = jax.tree.map(lambda rows: rows.reshape(2, 3, 1), batch)
    step = jax.vmap(lambda rows: method.step(state, rows, method.hyper, "batch"), axis_name="batch")
    split, _ = jax.jit(step)(halves)
    chex.assert_trees_all_close(split.extra[1], after.extra, atol=1e-5)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], split.params), after.params, rtol=1e-4, atol=1e-6)
