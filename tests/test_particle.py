"""The particle against the numbers of IBC's code and an independent NumPy version."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.envs import particle
from ebgan_mdn_jax.methods import nearest_neighbour
from ebgan_mdn_jax.methods.base import in_data_units
from ebgan_mdn_jax.normalization import identity
from ebgan_mdn_jax.tasks import particle as task
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Horizon


def ibc_reset(seed, num_dimensions):
    """Position and goals as IBC's environment draws them from a seed."""
    state = np.random.RandomState(seed)
    return [state.rand(num_dimensions).astype(np.float32) for _ in range(3)]


def rollout(start, choose):
    """All states of an episode, ``[51, ...]``; ``choose(memory, state) -> (memory, action)``."""

    def advance(carry, _):
        memory, state = carry
        memory, action = choose(memory, state)
        after = particle.step(state, action)
        return (memory, after), after

    memory = jnp.zeros(start.position.shape[:-1], bool)
    _, states = jax.jit(lambda carry: jax.lax.scan(advance, carry, None, particle.NUM_STEPS))((memory, start))
    return jax.tree.map(lambda first, rest: np.concatenate([first[None], rest]), start, states)


def test_first_steps_of_seed_0():
    """The specification's numbers, measured with IBC's code."""
    position, first, second = ibc_reset(0, 2)
    np.testing.assert_allclose(position, [0.5488135, 0.7151893], rtol=1e-6)
    np.testing.assert_allclose(np.stack([first, second]), [[0.6027634, 0.5448832], [0.4236548, 0.6458941]], rtol=1e-6)
    state = particle.step(particle.from_arrays(*map(jnp.asarray, (position, first, second))), jnp.asarray([1.0, 0.0]))
    np.testing.assert_allclose(state.position, [0.5535598, 0.707666], rtol=1e-6)
    np.testing.assert_allclose(state.velocity, [0.2012143, -0.3189509], rtol=1e-6)


@pytest.mark.parametrize("num_dimensions", [1, 3])
def test_episodes_agree_with_numpy(num_dimensions):
    """A loop over sub-steps in float32, with random set-points."""
    actions = np.random.default_rng(0).random((particle.NUM_STEPS, num_dimensions), np.float32)
    position, first, second = ibc_reset(3, num_dimensions)
    state = particle.from_arrays(*map(jnp.asarray, (position, first, second)))
    velocity, nearest = np.zeros_like(position), [np.inf, np.inf]
    step = jax.jit(particle.step)
    for action in actions:
        state = step(state, jnp.asarray(action))
        for _ in range(10):
            force = np.float32(10) * (action - position) - np.float32(5) * velocity
            position = position + velocity * np.float32(0.005)
            velocity = velocity + force * np.float32(0.005)
        nearest = [
            min(old, np.linalg.norm(position - goal)) for old, goal in zip(nearest, (first, second), strict=True)
        ]
        np.testing.assert_allclose(state.position, position, atol=1e-6)
        np.testing.assert_allclose(state.velocity, velocity, atol=1e-6)
    np.testing.assert_allclose([state.nearest_first, state.nearest_second], nearest, atol=1e-6)


@pytest.mark.parametrize("num_dimensions", [1, 2, 3, 4, 5, 6, 8, 16, 32])
def test_the_oracle_always_succeeds(num_dimensions):
    """100 fixed episodes, all in one program; it turns to the second goal by step 25, as IBC's does."""
    resets = [
        np.stack(column) for column in zip(*(ibc_reset(seed, num_dimensions) for seed in range(100)), strict=True)
    ]
    states = rollout(particle.from_arrays(*map(jnp.asarray, resets)), particle.oracle)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    assert last.success.all()
    near = np.linalg.norm(states.position - states.first_goal, axis=-1) < particle.ORACLE_DISTANCE
    switch = near.argmax(axis=0)
    assert near.any(axis=0).all() and switch.max() <= 25
    if num_dimensions in (1, 2, 8, 32):
        assert switch.mean() == pytest.approx({1: 21.1, 2: 23.1, 8: 24.7, 32: 25.0}[num_dimensions], abs=0.3)


def test_success_has_three_clauses():
    """Both goals visited, and at the second one now; the start does not count as a visit."""
    there, far = jnp.asarray([0.5]), jnp.asarray([0.9])
    visited = particle.from_arrays(there, far, there)._replace(nearest_first=jnp.asarray(0.04))
    assert not visited.success
    assert visited._replace(nearest_second=jnp.asarray(0.04)).success
    assert not visited._replace(nearest_second=jnp.asarray(0.04), nearest_first=jnp.asarray(0.06)).success
    assert not visited._replace(nearest_second=jnp.asarray(0.04), position=far).success
    assert particle.step(particle.from_arrays(there, far, there), there).nearest_second == 0.0


def test_resets_are_uniform_and_observations_in_order():
    state = particle.reset(jax.random.key(0), 3, (4_000,))
    drawn = np.stack(state[:1] + state[2:4])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert abs(drawn.mean((1, 2)) - 0.5).max() < 6 * np.sqrt(1 / 12 / 12_000)
    assert abs(np.corrcoef(drawn.reshape(3, -1))[np.triu_indices(3, 1)]).max() < 6 / np.sqrt(12_000)
    assert not state.velocity.any()
    moved = particle.step(state, state.second_goal)
    obs = particle.observe(moved)
    assert obs.shape == (4_000, 12)
    np.testing.assert_array_equal(obs, np.concatenate([moved.position, *moved[2:4], moved.velocity], -1))


# The task


def judge(act, num_dimensions, num=100, num_demonstrated=1):
    variant = task.VARIANTS[f"particle_{num_dimensions}d"]
    policy = Conditional(None, None, act=act)
    config = variant.evaluation.__class__(num_inputs=num)
    train = task.demonstrations(jax.random.key(0), num_demonstrated * task.ROWS, num_dimensions)
    return jax.jit(lambda key: variant.evaluate(key, policy, Data(train, train, jnp.ones(1, bool)), config))(
        jax.random.key(0)
    )


def test_rows_are_episodes_of_the_oracle():
    batch = jax.tree.map(np.asarray, task.episodes(jax.random.key(0), 20, 2)[0])
    assert batch.obs.shape == (20, 51, 16) and batch.action.shape == (20, 51, 2)
    before, now = batch.obs[..., :8], batch.obs[..., 8:]
    np.testing.assert_array_equal(before[:, 1:], now[:, :-1])
    np.testing.assert_array_equal(before[:, 0], now[:, 0])
    first, second = now[..., 2:4], now[..., 4:6]
    visited = np.maximum.accumulate(np.linalg.norm(now[..., :2] - first, axis=-1) < 0.01, axis=1)
    np.testing.assert_array_equal(batch.action, np.where(visited[..., None], second, first))
    rows = task.demonstrations(jax.random.key(0), 60, 2)
    np.testing.assert_array_equal(rows.obs[:51], task.episodes(jax.random.key(0), 2, 2)[0].obs[0])
    assert len(rows.obs) == 60


def test_careless_demonstrators_slip_as_often_as_they_are_careless_and_earn_less():
    batch, reward = jax.tree.map(
        np.asarray, jax.jit(task.episodes, static_argnums=(1, 2, 3))(jax.random.key(0), 400, 2, 0.8)
    )
    now = batch.obs[..., 8:]
    position, first, second = now[..., :2], now[..., 2:4], now[..., 4:6]
    visited = np.maximum.accumulate(np.linalg.norm(position - first, axis=-1) < 0.01, axis=1)[..., None]
    slips = np.any(batch.action != np.where(visited, second, first), axis=-1).mean(axis=1)
    # Uniform from 0 to 0.8, in 400 episodes of 51 steps: 6 standard errors.
    assert abs(slips.mean() - 0.4) < 6 * 0.8 / np.sqrt(12 * 400) and slips.min() < 0.1 and slips.max() > 0.6
    to_first, to_second = (np.linalg.norm(position - goal, axis=-1) for goal in (first, second))
    legs = to_first[:, :1], np.linalg.norm(first - second, axis=-1)[:, :1]
    left = np.where(visited[..., 0], to_second / legs[1], 1 + to_first / legs[0]) / 2
    np.testing.assert_allclose(reward, -left, rtol=1e-4, atol=1e-5)
    assert np.corrcoef(slips, reward.sum(axis=1))[0, 1] < -0.4


def test_returns_do_not_depend_much_on_which_leg_is_the_longer():
    batch, reward = jax.tree.map(
        np.asarray, jax.jit(task.episodes, static_argnums=(1, 2, 3))(jax.random.key(1), 2_000, 2, 0.4)
    )
    best = np.argsort(-reward.sum(axis=1))[:1_000]
    start = batch.obs[:, 0, 8:]
    legs = [np.linalg.norm(start[:, i : i + 2] - start[:, i + 2 : i + 4], axis=-1) for i in (0, 2)]
    share = legs[0] / (legs[0] + legs[1])
    # Of returns that count metres, the first leg's share correlates with 0.7 and is 0.1 larger in the best half.
    assert abs(share[best].mean() - share.mean()) < 0.06
    assert abs(np.corrcoef(share, reward.sum(axis=1))[0, 1]) < 0.4


def test_the_best_half_is_that_of_the_same_episodes():
    """Every one of its returns is above the others', and the rows are episodes as they were."""
    mixed, reward = task.episodes(jax.random.key(0), 20, 2, task.MOST_CARELESS)
    best = task.demonstrations(jax.random.key(0), 10 * task.ROWS, 2, "mixed_best").obs.reshape(10, task.ROWS, -1)
    everything = task.demonstrations(jax.random.key(0), 20 * task.ROWS, 2, "mixed").obs.reshape(20, task.ROWS, -1)
    np.testing.assert_array_equal(everything, mixed.obs)
    total = np.asarray(reward).sum(axis=1)
    taken = [i for i in range(20) if any(np.array_equal(mixed.obs[i], episode) for episode in best)]
    assert len(taken) == 10 and total[taken].min() > np.delete(total, taken).max()
    np.testing.assert_array_equal(best, np.asarray(mixed.obs)[taken])


def test_metrics_of_known_policies():
    """Each goes to one goal and stays; the set-points of the last one lie outside the cube and are clipped to its corner."""
    first = judge(lambda key, obs: obs[:, -6:-4], 2)
    assert first["first_goal"] == 100 and first["success"] < 5 and first["final_distance"] > 0.2
    second = judge(lambda key, obs: obs[:, -4:-2], 2)
    assert second["final_distance"] < 0.02 and second["first_goal"] < 40 and second["success"] == second["first_goal"]
    corner = judge(lambda key, obs: jnp.full((obs.shape[0], 2), 9.0), 2)
    again = judge(lambda key, obs: jnp.ones((obs.shape[0], 2)), 2)
    assert corner == again


@pytest.mark.parametrize("num_demonstrated", [1, 12])
def test_demonstrated_episodes_are_judged_from_where_they_began(num_demonstrated):
    """By a policy that goes to the first goal, then to the second, in the first episode alone; elsewhere it stays at the first."""
    episode = jax.tree.map(lambda rows: rows[0], task.episodes(jax.random.key(0), num_demonstrated, 2)[0])

    def act(key, obs):
        nearest = jnp.argmin(jnp.sum((obs[:, None] - episode.obs[None]) ** 2, axis=-1), axis=1)
        same = jnp.all(obs[:, 2:4] == episode.obs[:1, 2:4], axis=-1)
        return jnp.where(same[:, None], episode.action[nearest], obs[:, 2:4])

    metrics = judge(act, 2, num_demonstrated=num_demonstrated)
    assert metrics["train_success"] == pytest.approx(100 / min(num_demonstrated, 10))
    assert metrics["success"] < 5


@pytest.mark.slow
@pytest.mark.parametrize(("num_dimensions", "expected", "slack"), [(1, 86, 10), (2, 7, 6), (3, 0, 2)])
def test_nearest_neighbours_succeed_as_often_as_measured_with_ibcs_code(num_dimensions, expected, slack):
    """On raw observations of all 2,000 demonstrations."""
    variant = task.VARIANTS[f"particle_{num_dimensions}d"]
    num = variant.num_demonstrations
    rows = jax.jit(variant.demonstrations, static_argnums=1)(jax.random.key(0), num)
    spec = variant.spec._replace(obs_low=(-1.0,) * variant.spec.obs_dim, obs_high=(1.0,) * variant.spec.obs_dim)
    method = nearest_neighbour.make(nearest_neighbour.Config(capacity=num), spec, Horizon(1, 1))
    method = in_data_units(method, identity(spec))
    params = nearest_neighbour.Params(rows.obs, rows.action, jnp.asarray(float(num)), jnp.asarray(0.0))
    success = judge(lambda key, obs: method.act(key, params, obs), num_dimensions)["success"]
    assert abs(success - expected) <= slack
