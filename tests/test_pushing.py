"""Pushing: a simulator that is a pure function, and IBC's scenes, successes and demonstrators, against hand-made states and NumPy."""

import dataclasses
import functools
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.data.load import load
from ebgan_mdn_jax.envs import pushing, pushing_bullet, pushing_oracle
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.tasks import pushing as task
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig
from ebgan_mdn_jax.types import Batch, InputError

SCENES = {"single": pushing.SINGLE, "multi": pushing.MULTI, "multimodal": pushing.MULTIMODAL}
simulator = pytest.mark.skipif(
    importlib.util.find_spec("pybullet") is None, reason="needs pybullet: pip install 'ebgan_mdn_jax[pushing]'"
)
every_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)

step = jax.jit(pushing.step, static_argnums=0)


def put(blocks, targets, effector=None, yaw=0.0):
    """One episode at rest, with blocks and targets at ``[x, y]``."""
    turned = [jnp.full(len(places), angle) for places, angle in ((blocks, yaw), (targets, 0.0))]
    state = pushing.from_arrays(jnp.asarray(blocks), turned[0], jnp.asarray(targets), turned[1])
    if effector is not None:
        state = state._replace(effector=jnp.asarray(effector), effector_target=jnp.asarray(effector))
    return state


@functools.cache
def oracle_episodes(name, num=10):
    """States and actions ``[rows, num, ...]`` of the demonstrator, and what it began with; the last row is after the last action."""
    scene = SCENES[name]

    def run(key):
        key_reset, key_order = jax.random.split(key)
        start = pushing.reset(key_reset, scene, (num,))
        memory = pushing_oracle.begin(key_order, scene, start)

        def advance(carry, _):
            memory, state = carry
            memory, action = pushing_oracle.act(scene, memory, state)
            return (memory, pushing.step(scene, state, action)), (state, action)

        return memory, jax.lax.scan(advance, (memory, start), None, scene.num_steps + 1)[1]

    return jax.tree.map(np.asarray, jax.jit(run)(jax.random.key(1)))


# The simulator


@simulator
@pytest.mark.parametrize("scene", [pushing.SINGLE, pushing.MULTIMODAL], ids=["single", "multimodal"])
def test_steps_are_a_function_of_state_and_action(scene):
    """Rods push blocks here. A batch, its rows alone, in another order, vmapped and in one loop: the same bits."""
    start = pushing.reset(jax.random.key(0), scene, (6,))
    beside = start.position[:, 0, :2] - jnp.asarray([[0.0, 0.031]])
    start = start._replace(effector=beside, effector_target=beside)
    actions = jnp.asarray([[[0.01, 0.02]]]) * jnp.ones((4, 6, 1)) + 0.005 * jax.random.normal(
        jax.random.key(1), (4, 6, 2)
    )

    def rollout(start, actions):
        return jax.lax.scan(lambda state, action: (pushing.step(scene, state, action), ()), start, actions)[0]

    together = jax.jit(rollout)(start, actions)
    assert np.all(together.position[:, 0, 1] - start.position[:, 0, 1] > 0.01)
    order = jnp.asarray([3, 0, 5, 1, 2, 4])
    shuffled = jax.jit(rollout)(jax.tree.map(lambda leaf: leaf[order], start), actions[:, order])
    mapped = jax.jit(jax.vmap(rollout, in_axes=(0, 1)))(start, actions)
    cut = start
    for action in actions:
        cut = step(scene, cut, action)
    rollout_alone = jax.jit(rollout)
    for index in range(6):
        one = lambda tree: jax.tree.map(lambda leaf: leaf[index], tree)  # noqa: B023, E731
        alone = rollout_alone(one(start), actions[:, index])
        place = int(np.argmax(order == index))
        for other in (one(mapped), one(cut), alone, jax.tree.map(lambda leaf: leaf[place], shuffled)):  # noqa: B023
            jax.tree.map(np.testing.assert_array_equal, one(together), other)


@simulator
def test_one_call_of_the_engine_is_24_of_one_sub_step(monkeypatch):
    import pybullet

    state = put([[0.4, -0.2]], [[0.4, 0.2]], effector=[0.4, -0.229])
    expected = step(pushing.SINGLE, state, jnp.asarray([0.005, 0.02]))
    world = pushing_bullet._world.__wrapped__(1)
    pybullet.setPhysicsEngineParameter(fixedTimeStep=1 / 240, numSubSteps=0, physicsClientId=world.client)
    once = pybullet.stepSimulation
    monkeypatch.setattr(pybullet, "stepSimulation", lambda **on: [once(**on) for _ in range(24)])
    row = np.concatenate([np.ravel(leaf) for leaf in state[:2] + state[3:7]])
    after = pushing_bullet._advance(world, row.astype(np.float64), np.asarray(expected.effector_target, np.float64))
    ours = np.concatenate([np.ravel(leaf) for leaf in expected[:2] + expected[3:7]])
    np.testing.assert_array_equal(after.astype(np.float32), ours)


@simulator
def test_many_rows_go_to_the_simulator_in_parts():
    """Arguments of more than 100 KiB may stop a CPU device for ever. Rows that are over do not move."""
    num = 2 * pushing._MOST_ROWS + 7
    state = pushing.reset(jax.random.key(0), pushing.MULTIMODAL, (num,))
    moving = np.arange(num) % 100 == 3
    state = state._replace(over=jnp.asarray(~moving))
    action = jnp.full((num, 2), 0.02)
    after = step(pushing.MULTIMODAL, state, action)
    for before, now in zip(state, after, strict=True):
        np.testing.assert_array_equal(np.asarray(before)[~moving], np.asarray(now)[~moving])
    few = jax.tree.map(lambda leaf: leaf[moving], state)
    np.testing.assert_array_equal(step(pushing.MULTIMODAL, few, action[moving]).effector, after.effector[moving])
    assert np.all(after.num_steps == moving)


_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from ebgan_mdn_jax.envs import pushing

scene, num = pushing.MULTIMODAL, 3_000

def member(key):
    state = pushing.reset(key, scene, (num,))
    state = state._replace(over=jnp.arange(num) % 500 > 0)
    actions = 0.05 * jax.random.normal(key, (4, num, 2))
    return jax.lax.scan(lambda state, action: (pushing.step(scene, state, action), None), state, actions)[0].effector

keys = jax.random.split(jax.random.key(0), 4)
expected = [np.asarray(jax.jit(member)(key)) for key in keys]
mesh, spec = jax.sharding.Mesh(np.array(jax.devices()), "member"), jax.P("member")
for mapped in (jax.vmap(member), lambda keys: jax.lax.map(member, keys)):
    out = jax.jit(jax.shard_map(mapped, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False))(keys)
    np.testing.assert_array_equal(out, expected)
print(len(jax.devices()))
"""


@simulator
@pytest.mark.slow
def test_devices_do_not_wait_for_the_simulator_for_ever():
    """Two devices that share one thread, and more rows than are copied at once: members vmapped or in a loop are those that run alone."""
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "NPROC": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", _DEVICES], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "2" in done.stdout.split(), done.stderr[-2000:]


@simulator
def test_the_rod_follows_its_set_point_which_stays_in_the_workspace():
    state = put([[0.5, 0.3]], [[0.4, 0.2]])
    after = step(pushing.SINGLE, state, jnp.asarray([0.02, 0.03]))
    np.testing.assert_allclose(after.effector_target, [0.32, -0.37], atol=1e-6)
    left = (after.effector_target - after.effector) / jnp.asarray([0.02, 0.03])
    np.testing.assert_allclose(left, 0.9**24, atol=2e-3)  # the motor closes a tenth of the gap in each sub-step
    for action, expected in (([0.5, 0.2], [0.4, -0.3]), ([np.nan, 0.1], [0.3, -0.3])):
        after = step(pushing.SINGLE, state, jnp.asarray(action))
        np.testing.assert_allclose(after.effector_target, expected, atol=1e-6)
    for corner, bound in (([0.18, -0.45], [0.15, -0.5]), ([0.65, 0.45], [0.7, 0.5])):
        state = put([[0.4, 0.0]], [[0.4, 0.2]], effector=corner)
        out = jnp.sign(jnp.asarray(bound) - jnp.asarray(corner))
        np.testing.assert_allclose(step(pushing.SINGLE, state, 0.1 * out).effector_target, bound, atol=1e-6)


@simulator
def test_a_block_moves_when_it_is_pushed_and_not_before():
    state = put([[0.4, -0.2]], [[0.4, 0.2]], effector=[0.4, -0.26])
    moved = []
    for _ in range(6):
        state = step(pushing.SINGLE, state, jnp.asarray([0.0, 0.02]))
        moved.append(np.asarray(state.position[0]))
        if state.effector_target[1] <= -0.24:  # the rod is 1 cm off
            np.testing.assert_allclose(moved[-1], [0.4, -0.2, 0.02], atol=1e-3)
    assert moved[-1][1] > -0.13 and abs(moved[-1][0] - 0.4) < 0.01
    # Rod and block touch: half a block and the rod's radius.
    assert state.position[0, 1] - state.effector[1] == pytest.approx(0.03, abs=0.004)


@simulator
def test_a_block_at_rest_stays():
    """For three seconds."""
    start = state = put([[0.4, -0.2]], [[0.4, 0.2]], yaw=0.7)
    for _ in range(30):
        state = step(pushing.SINGLE, state, jnp.zeros(2))
    np.testing.assert_allclose(state.position, start.position, atol=5e-4)
    np.testing.assert_allclose(state.yaw, 0.7, atol=5e-3)


@simulator
def test_a_block_flies_and_slides_by_its_velocity():
    """In the air as it was thrown, with 300 = 1 + ... + 24 sub-steps of falling; on the table for ``v^2 / (2 mu g)``, 4.6 mm."""
    thrown = put([[0.4, -0.2]], [[0.4, 0.2]], yaw=0.3)
    thrown = thrown._replace(velocity=jnp.asarray([[0.3, -0.2, 0.1]]), spin=jnp.asarray([[0.0, 0.0, 3.0]]))
    after = step(pushing.SINGLE, thrown._replace(position=jnp.asarray([[0.4, -0.2, 0.2]])), jnp.zeros(2))
    np.testing.assert_allclose(after.position, [[0.43, -0.22, 0.21 - 9.8 * 300 / 240**2]], atol=2e-4)
    np.testing.assert_allclose(after.yaw, [0.6], atol=4e-3)  # a little damped
    np.testing.assert_allclose(after.spin, [[0.0, 0.0, 3.0]], atol=0.06)
    sliding = thrown._replace(velocity=jnp.asarray([[0.3, 0.0, 0.0]]), spin=jnp.zeros((1, 3)))
    after = step(pushing.SINGLE, sliding, jnp.zeros(2))
    assert after.position[0, 0] - 0.4 == pytest.approx(0.3**2 / (2 * 9.8), rel=0.2)
    np.testing.assert_allclose(after.velocity, 0.0, atol=0.01)


# Starts, observations, success


@every_scene
def test_starts_are_distributed_as_in_the_paper(scene):
    """Means within 5 standard errors; blocks and targets apart in x, on either side alike."""
    state = pushing.reset(jax.random.key(0), scene, (4_000,))
    chain = [(state.position[..., :2], -0.2, scene.apart[0]), (state.target, 0.2, scene.apart[1])]
    for places, y, apart in chain:
        places = np.asarray(places)
        assert np.all(abs(places[..., 0] - 0.4) <= 0.1 + 1e-6)
        assert abs(places[..., 0].mean() - 0.4) < 5 * 0.1 / np.sqrt(4_000)
        if places.shape[1] == 2:
            gap = places[:, 1, 0] - places[:, 0, 0]
            assert abs(gap).min() > apart - 1e-6 and abs((gap > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(4_000)
            assert abs(gap).max() > 0.195
        if scene is pushing.MULTI and y > 0:
            np.testing.assert_array_equal(places[..., 1], np.broadcast_to(np.float32([0.0, 0.4]), (4_000, 2)))
        else:
            assert np.all(abs(places[..., 1] - y) <= 0.15 + 1e-6)
            assert abs(places[..., 1].mean() - y) < 5 * 0.15 / np.sqrt(3 * 4_000)
    yaw = np.asarray(state.yaw)
    assert yaw.min() > -1e-6 and yaw.max() < np.pi + 1e-6 and abs(yaw.mean() - np.pi / 2) < 5 * 0.91 / np.sqrt(4_000)
    turned = np.asarray(state.target_yaw) % (2 * np.pi)
    assert abs(turned - np.pi).max() <= np.pi / 6 + 1e-5 and abs(np.asarray(state.target_yaw)).max() <= np.pi
    np.testing.assert_allclose(state.effector, np.broadcast_to([0.3, -0.4], (4_000, 2)), atol=1e-7)
    assert not state.over.any() and np.isinf(state.nearest).all()


def test_second_places_are_those_of_drawing_until_one_is_far_enough():
    """IBC's loop, in NumPy: quantiles of both x within 5 standard errors."""
    rng, pairs = np.random.default_rng(0), []
    while len(pairs) < 4_000:
        first = rng.uniform(0.3, 0.5)
        tries = rng.uniform(0.3, 0.5, 1_000)
        if np.any(far := abs(tries - first) > 0.15):
            pairs.append((first, tries[far][0]))
    ours = np.asarray(pushing.reset(jax.random.key(3), pushing.MULTI, (4_000,)).target[..., 0])
    theirs = np.asarray(pairs)
    for at in (0.32, 0.34, 0.46, 0.48):
        shares = [(x < at).mean(0) for x in (ours, theirs)]
        assert np.all(abs(shares[0] - shares[1]) < 5 * np.sqrt(2 * 0.25 / 4_000)), at


def test_observations_are_in_the_order_of_the_alphabet():
    state = put([[0.41, -0.21], [0.42, -0.22]], [[0.43, 0.23], [0.44, 0.24]], effector=[0.3, -0.4], yaw=0.5)
    state = state._replace(effector=jnp.asarray([0.31, -0.39]), target_yaw=jnp.asarray([3.0, -3.0]))
    expected = [0.5, 0.42, -0.22, 0.5, 0.41, -0.21, 0.3, -0.4, 0.31, -0.39, -3.0, 0.44, 0.24, 3.0, 0.43, 0.23]
    np.testing.assert_allclose(pushing.observe(state), expected, atol=1e-6)
    dims = [pushing.observe(pushing.reset(jax.random.key(0), scene)).shape for scene in SCENES.values()]
    assert dims == [(10,), (13,), (16,)] == [(scene.obs_dim,) for scene in SCENES.values()]


def test_success_is_told_from_where_blocks_are_and_were():
    def told(scene, blocks, targets, nearest=None):
        state = put(blocks, targets)
        nearest = state.distance if nearest is None else jnp.asarray(nearest)
        return [bool(x) for x in pushing.outcome(scene, state._replace(nearest=nearest))]

    near, far = [0.4, 0.019], [0.4, 0.021]
    assert told(pushing.SINGLE, [near], [[0.4, 0.0]]) == [True, True]
    assert told(pushing.SINGLE, [far], [[0.4, 0.0]]) == [False, False]
    first, second = [0.3, 0.0], [0.5, 0.4]
    assert told(pushing.MULTI, [second], [first, second]) == [False, False]
    assert told(pushing.MULTI, [second], [first, second], [[0.03, 0.0]]) == [True, True]
    assert told(pushing.MULTI, [first], [first, second], [[0.0, 0.03]]) == [False, True]  # the wrong order
    assert told(pushing.MULTI, [[0.4, 0.2]], [first, second], [[0.03, 0.05]]) == [False, False]
    for blocks in ([first, second], [second, first]):
        assert told(pushing.MULTIMODAL, blocks, [first, second]) == [True, True]
    assert told(pushing.MULTIMODAL, [first, [0.3, 0.03]], [first, second]) == [False, False]  # both in one
    assert told(pushing.MULTIMODAL, [first, [0.5, 0.35]], [first, second]) == [False, False]


# The demonstrator


@simulator
@pytest.mark.parametrize(("name", "longest"), [("single", 70), ("multi", 110), ("multimodal", 140)])
def test_the_demonstrator_succeeds(name, longest):
    _, (states, actions) = oracle_episodes(name)
    last = jax.tree.map(lambda leaf: leaf[-1], states)
    assert last.success.sum() >= (9 if name == "multimodal" else 10)
    assert last.num_steps[last.success].max() < longest
    assert 0.025 < abs(actions[~states.over]).max() < 0.0351
    after = states.over.argmax(0)
    for index, end in enumerate(after):  # nothing moves once it is over
        np.testing.assert_array_equal(states.position[end, index], last.position[index])


def numpy_oracle(states, episode, memory, num_blocks, num_targets):
    """IBC's demonstrator on recorded states: a machine with one branch per phase."""
    phase, leg, origin, behind_first, actions = "approach", 0, None, None, []
    legs = list(zip(memory.block[episode], memory.target[episode], strict=True))
    for t in range(len(states.over)):
        if states.over[t, episode]:
            break
        here = states.effector_target[t, episode]
        where = [states.position[t, episode, b, :2] for b in range(num_blocks)]
        targets = states.target[t, episode]
        if num_targets == 2 and leg == 0 and np.linalg.norm(where[legs[0][0]] - targets[legs[0][1]]) < 0.04:
            leg, phase = 1, "return" if num_blocks == 2 else phase
        block, target = where[legs[leg][0]], targets[legs[leg][1]]
        origin = here if origin is None else origin
        way = (target - block) / np.linalg.norm(target - block)
        error = np.arctan2(way[1], way[0]) - states.yaw[t, episode, legs[leg][0]]
        while error > np.pi / 4:
            error -= np.pi / 2
        while error < -np.pi / 4:
            error += np.pi / 2
        speed = 0.35
        if phase == "approach":
            delta, speed = block - 0.05 * way - here, 0.3
            if np.linalg.norm(delta) < 0.001:
                phase = "beside"
                behind_first = block - 0.05 * way if behind_first is None else behind_first
        if phase == "return":
            behind_first = origin if behind_first is None else behind_first
            delta, speed = behind_first - here, 0.3
            if np.linalg.norm(delta) < 0.001:
                phase = "home"
        if phase == "home":
            delta, speed = origin - here, 0.3
            if np.linalg.norm(delta) < 0.001:
                phase = "approach"
        if phase == "beside":
            delta = block - 0.03 * way - here
            if np.linalg.norm(delta) < 0.001:
                phase = "push"
            if abs(error) > 0.2:
                phase = "left" if error > 0 else "right"
        if phase == "push":
            delta = block - 0.01 * way - here
            if abs(error) > 0.2:
                phase = "approach"
        if phase in ("left", "right"):
            sign, speed = (1 if phase == "left" else -1), 0.15
            offset = (here - block) / np.linalg.norm(here - block)
            cos, sin = np.cos(0.2), sign * np.sin(0.2)
            delta = block + 0.025 * np.asarray([[cos, -sin], [sin, cos]]) @ offset - here
            if sign * error < 0.03:
                phase = "approach"
        actions.append(delta * min(1, speed / 10 / max(np.linalg.norm(delta), 1e-9)))
    return np.asarray(actions)


@simulator
@pytest.mark.parametrize("name", SCENES)
def test_the_demonstrator_agrees_with_numpy(name):
    memory, (states, actions) = oracle_episodes(name)
    states = states._replace(**{field: np.asarray(value, np.float64) for field, value in states._asdict().items()})
    phases = set()
    for episode in range(actions.shape[1]):
        expected = numpy_oracle(states, episode, memory, SCENES[name].num_blocks, SCENES[name].num_targets)
        np.testing.assert_allclose(actions[: len(expected), episode], expected, atol=1e-5)
        phases.add(tuple(memory.block[episode]) + tuple(memory.target[episode]))
    assert len(phases) == (1 if name != "multimodal" else 4)  # every order, of 10 episodes


# The task


@simulator
@pytest.mark.parametrize("name", ["push_single", "push_multimodal"])
def test_demonstrations_are_rows_of_successful_episodes(name):
    variant = TASKS[name]
    scene = variant.evaluate.keywords["scene"]
    draw = jax.jit(variant.demonstrations, static_argnums=1)
    batch = jax.tree.map(np.asarray, draw(jax.random.key(0), 300))
    before, now = np.split(batch.obs[::-1], 2, axis=1)  # in time, of the last episode first; that has no beginning
    assert now.shape == (300, scene.obs_dim) and np.all(np.isfinite(batch.obs))
    first = np.all(before == now, axis=1)
    np.testing.assert_array_equal(
        first, np.all(now[:, -3 * scene.num_targets - 2 :][:, :2] == np.float32([0.3, -0.4]), 1)
    )
    np.testing.assert_array_equal(before[1:][~first[1:]], now[:-1][~first[1:]])
    ends = np.append(np.flatnonzero(first) - 1, len(now) - 1)
    assert len(ends) >= 2 and abs(batch.action).max() < 0.0351
    if name == "push_single":
        arrived = np.linalg.norm(now[:, 1:3] - now[:, -2:], axis=1) < 0.01
        assert arrived[ends].all() and not arrived[ends - 1].any()
        few = draw(jax.random.key(0), 8)
        np.testing.assert_array_equal(few.obs, batch.obs[:8])
        np.testing.assert_array_equal(few.action, batch.action[:8])


@simulator
def test_episodes_that_fail_are_no_demonstrations():
    """Some end within 33 actions, some do not; rows of the others go up to the first one within 2 cm."""
    scene = dataclasses.replace(pushing.SINGLE, num_steps=33)
    batch, kept = jax.tree.map(
        np.asarray, jax.jit(task.episodes, static_argnums=1)(jax.random.split(jax.random.key(2), 8), scene)
    )
    assert batch.obs.shape == (8, 34, 20) and batch.action.shape == (8, 34, 2)
    distance = np.linalg.norm(batch.obs[..., 11:13] - batch.obs[..., 18:20], axis=-1)
    arrived = distance < scene.tolerance
    assert 0 < arrived.any(1).sum() < 8
    first = np.where(arrived.any(1), arrived.argmax(1), -1)
    np.testing.assert_array_equal(kept, np.arange(34)[None] <= first[:, None])


def judge(name, act, num=4, **changes):
    variant = TASKS[name]
    scene = dataclasses.replace(variant.evaluate.keywords["scene"], **changes)
    nothing = Batch(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    data = Data(nothing, nothing, jnp.ones(1, bool))
    run = functools.partial(task.evaluate, policy=Conditional(None, None, act=act), data=data, scene=scene)
    metrics = jax.jit(lambda key: run(key, config=EvaluationConfig(num_inputs=num)))(jax.random.key(0))
    return {metric: float(value) for metric, value in metrics.items()}


@simulator
@pytest.mark.parametrize("name", ["push_single", "push_multi", "push_multimodal"])
def test_metrics_of_known_policies(name):
    """One that stays fails in as many steps as there are, unless every place counts as the target; then one step is enough."""
    stay = lambda key, obs: jnp.zeros((len(obs), 2))  # noqa: E731
    failed = judge(name, stay, num_steps=7)
    assert failed["success"] == 0 and failed["length"] == 7 and 0.2 < failed["goal_distance"] < 0.8
    assert ("targets_visited" in failed) == (name != "push_single") and not failed.get("targets_visited")
    if name == "push_multi":
        at_once = judge(name, stay, num_steps=7, tolerance=1.0)
        assert at_once["length"] == 1 and at_once["success"] == at_once["targets_visited"] == 100


@simulator
def test_a_policy_sees_two_steps_and_pushes_the_block():
    """Straight at the block from below, as far as the rod's own history says that it has moved."""
    seen = []

    def act(key, obs):
        before, now = jnp.split(obs, 2, axis=1)
        seen.append(obs.shape)
        return jnp.where(jnp.all(before == now, axis=1, keepdims=True), 0.01, 0.03) * jnp.asarray([[0.0, 1.0]])

    start = jax.tree.map(lambda leaf: leaf[None], put([[0.3, -0.2]], [[0.3, 0.0]]))
    final = jax.jit(
        lambda key: task.rollouts(
            key, Conditional(None, None, act=act), dataclasses.replace(pushing.SINGLE, num_steps=15), start
        )
    )(jax.random.key(0))
    assert seen == [(1, 20)] and final.success.all() and 12 <= final.num_steps[0] <= 15


def test_without_the_extra_one_line_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^pushing needs pybullet, .*: pip install 'ebgan_mdn_jax\[pushing\]'$"):
        load("push_single", tmp_path / "data")
    assert not list(tmp_path.iterdir())
