"""Rollouts of chunks that are planned anew are what plain loops give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.tasks import replanning
from ebgan_mdn_jax.tasks.base import Conditional
from ebgan_mdn_jax.types import InputError

H, T = 5, replanning.NUM_STEPS
LAYOUT = env.make_layout("radial", 8, T)
TASK = replanning.VARIANTS["replan_5"]


def deterministic(position):
    """A chunk that turns with the position, with steps that change along it: ``[R, H, 2]``."""
    angle = 7.0 * position[:, :1] - 3.0 * position[:, 1:]
    ahead = 0.003 * (1.0 + np.arange(H)) ** 1.5
    return position[:, None] + np.stack([np.cos(angle) * ahead, np.sin(angle) * ahead], axis=-1)


def policy(key, obs, num_samples):
    angle = 7.0 * obs[:, :1] - 3.0 * obs[:, 1:]
    ahead = jnp.asarray(0.003 * (1.0 + np.arange(H)) ** 1.5, obs.dtype)[None]
    chunk = obs[:, None] + jnp.stack([jnp.cos(angle) * ahead, jnp.sin(angle) * ahead], axis=-1)
    return jnp.broadcast_to(chunk.reshape(1, len(obs), -1), (num_samples, len(obs), 2 * H))


def roll(sample, **settings):
    config = dataclasses.replace(TASK.evaluation, **settings)
    run = jax.jit(lambda key: replanning.rollouts(key, Conditional(sample, None), 3, LAYOUT, H, config))
    return jax.tree.map(np.asarray, run(jax.random.key(0)))


@pytest.mark.parametrize("execute", [1, 3, 5])
def test_so_many_steps_of_each_chunk_are_executed(execute):
    points, ends = roll(policy, execute=execute)
    position, expected, expected_ends = np.full((1, 2), 0.5), [np.full((1, 2), 0.5)], []
    while len(expected) < T + 1:
        chunk = deterministic(position)
        expected += [chunk[:, step] for step in range(execute)]
        expected_ends.append(chunk[:, -1])
        position = chunk[:, execute - 1]
    np.testing.assert_allclose(points, np.repeat(expected[: T + 1], 3, axis=1), atol=2e-5)
    np.testing.assert_allclose(ends, np.repeat(expected_ends, 3, axis=1), atol=2e-5)
    if execute == H:
        np.testing.assert_array_equal(points, roll(policy).points)


def test_an_ensemble_goes_to_the_weighted_average_for_now():
    points = roll(policy, ensemble=True).points
    position, expected, plans = np.full((1, 2), 0.5), [np.full((1, 2), 0.5)], []
    for now in range(T):
        plans.append(deterministic(position))
        oldest = max(0, now - H + 1)
        weights = np.exp(-0.01 * np.arange(now - oldest + 1))  # the oldest first
        position = sum(w * plans[made][:, now - made] for w, made in zip(weights, range(oldest, now + 1), strict=True))
        position = position / weights.sum()
        expected.append(position)
    np.testing.assert_allclose(points, np.repeat(expected, 3, axis=1), atol=2e-5)


def test_disturbances_are_of_the_given_size():
    still = roll(lambda key, obs, num: jnp.full((num, len(obs), 2 * H), 0.5), disturbance=0.01).points[1:]
    # 360 normal numbers: a deviation off by more than 20 % once in 10^6.
    assert np.std(still - 0.5) == pytest.approx(0.01, rel=0.2) and len(np.unique(still)) > 350


def test_changes_of_mind_are_counted_where_the_ways_have_parted():
    far = jnp.asarray(LAYOUT.paths[:, -1], jnp.float32)
    ends = jnp.stack([far[jnp.array([0, 0, 3])], far[jnp.array([0, 1, 3])], far[jnp.array([0, 1, 4])]])  # [P, R, 2]
    assert float(replanning.switches(ends, LAYOUT)) == pytest.approx(100 * 2 / 6)
    near = jnp.full((4, 2, 2), 0.5) + 0.002 * jax.random.normal(jax.random.key(0), (4, 2, 2))
    assert float(replanning.switches(near, LAYOUT)) == 0.0  # nothing is decided at the centre
    assert float(replanning.switches(jnp.concatenate([ends[:1], near[:1, :1].repeat(3, 1), ends[:1]]), LAYOUT)) == 0.0


def test_windows_end_with_the_last_position():
    paths = np.arange(2 * (T + 1) * 2, dtype=float).reshape(2, T + 1, 2)
    windows = np.asarray(replanning.windows(jnp.asarray(paths), H)).reshape(2, T, H, 2)
    np.testing.assert_array_equal(windows[:, 10], paths[:, 11:16])
    np.testing.assert_array_equal(windows[:, T - 2], paths[:, [T - 1, T, T, T, T]])


def test_demonstrations_and_exact_draws_have_one_law():
    """Next positions, and whether the last two agree, for demonstrations against exact draws at their observations."""
    batch = jax.jit(TASK.demonstrations, static_argnums=1)(jax.random.key(1), 4000)
    drawn = jax.jit(TASK.conditional.sample, static_argnums=2)(jax.random.key(2), batch.obs, 1)[0]
    radius = [np.linalg.norm(np.asarray(x).reshape(-1, H, 2) - 0.5, axis=-1) for x in (batch.action, drawn)]
    for step in (0, H - 1):
        assert scipy.stats.ks_2samp(radius[0][:, step], radius[1][:, step]).pvalue > 1e-4
    at_end = [np.isclose(r[:, -1], r[:, -2], atol=1e-7).mean() for r in radius]
    assert at_end[0] == pytest.approx((H - 1) / T, abs=0.02) and at_end[1] == pytest.approx(at_end[0], abs=0.03)
    at_start = np.all(np.asarray(batch.obs) == 0.5, axis=1)
    angles = [np.arctan2(*(np.asarray(x).reshape(-1, H, 2)[at_start, -1] - 0.5).T) for x in (batch.action, drawn)]
    for angle in angles:  # all spokes are taken from the start, and none twice as often as another, but for chance
        counts = np.bincount(np.round(angle / (np.pi / 4)).astype(int) % 8, minlength=8)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_the_truth_succeeds_and_one_way_covers_one():
    run = jax.jit(lambda key: TASK.evaluate(key, TASK.conditional, None, TASK.evaluation))
    metrics = {name: float(value) for name, value in run(jax.random.key(0)).items()}
    assert metrics["success"] > 97 and metrics["valid_mode_hits@S=200"] == 100 and metrics["mode_switches"] < 2
    assert metrics["behaviour_entropy@S=200"] > 97

    def along(key, obs, num):  # always the first spoke, from where it is
        chunk = jnp.clip(obs[:, :1] + 0.4 / T * (1 + jnp.arange(H))[None], 0, 0.9)
        return jnp.stack([chunk, jnp.full_like(chunk, 0.5)], -1).reshape(1, len(obs), -1).repeat(num, 0)

    run = jax.jit(lambda key: TASK.evaluate(key, Conditional(along, None), None, TASK.evaluation))
    metrics = {name: float(value) for name, value in run(jax.random.key(0)).items()}
    assert metrics["success"] == 100 and metrics["valid_mode_hits@S=200"] == 12.5
    assert metrics["behaviour_entropy@S=200"] == metrics["mode_switches"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"execute": 6}, "chunks have 5 steps"), ({"execute": 3, "ensemble": True}, "executes one step")],
)
def test_settings_that_do_not_fit_are_told(settings, message):
    config = dataclasses.replace(TASK.evaluation, **settings)
    with pytest.raises(InputError, match=message):
        TASK.evaluate(jax.random.key(0), TASK.conditional, None, config)


def test_chunks_are_no_longer_than_the_way():
    with pytest.raises(InputError, match="chunk=61"):
        replanning.make(61)
