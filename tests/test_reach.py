"""An arm among obstacles: its distances, its motion, its demonstrator and the rollouts are what plain geometry and loops give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.envs import arm as env
from ebgan_mdn_jax.envs import arm_planner
from ebgan_mdn_jax.tasks import TASKS, reach
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import InputError

SCENES = {name: env.make_scene(name) for name in ("two_link", "ur5")}
CHUNK = reach.CHUNK
NUM_PROBLEMS = 24

every_scene = pytest.mark.parametrize("name", SCENES)


def random_joints(name, num, seed=0):
    scene = SCENES[name]
    return np.random.default_rng(seed).uniform(scene.low, scene.high, (num, scene.num_joints)).astype(np.float32)


@pytest.fixture(scope="module")
def problems():
    made = {}

    def of(name):
        if name not in made:
            run = jax.jit(lambda key: arm_planner.problems(key, SCENES[name], NUM_PROBLEMS))
            made[name] = jax.tree.map(np.asarray, run(jax.random.key(0)))
        return made[name]

    return of


@every_scene
def test_clearance_is_the_distance_of_points_along_the_arm(name):
    scene, joints = SCENES[name], random_joints(name, 40)
    points = np.asarray(scene.links(joints), np.float64)
    share = np.linspace(0, 1, 4001)[:, None]
    expected = []
    for arm in points:
        along = np.concatenate([a + share * (b - a) for a, b in zip(arm[:-1], arm[1:], strict=True)])
        least = [np.min(np.linalg.norm(along - o[:-1], axis=1)) - o[-1] for o in scene.obstacles]
        if scene.floor is not None:
            least.append(np.min(arm[2:, 2]) - scene.floor)
        expected.append(min(least) - scene.thickness)
    found = np.asarray(env.clearance(scene, jnp.asarray(joints)))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (found < 0).any() and (found > 0).any()


def test_links_of_the_ur5_have_the_manufacturers_lengths_and_end_at_the_tool():
    from ebgan_mdn_jax.kinematics import universal_robots as arms

    joints = random_joints("ur5", 20)
    points = np.asarray(arms.links(arms.UR5, joints))
    lengths = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    expected = [np.hypot(d, a) for d, a in zip(arms.UR5.d, arms.UR5.a, strict=True)]
    np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), atol=1e-6)
    np.testing.assert_allclose(points[:, -1], arms.forward(arms.UR5, joints).position, atol=1e-6)


@every_scene
def test_no_joint_moves_a_point_further_than_its_reach(name):
    """The bound that ways are known to be free by."""
    scene, joints = SCENES[name], jnp.asarray(random_joints(name, 200))
    per_joint = jax.vmap(jax.jacfwd(scene.links))(joints)  # [num, P, D, J]
    speed = np.linalg.norm(per_joint, axis=2).max(axis=(0, 1))
    assert np.all(speed <= np.asarray(scene.reach) * (1 + 1e-5))
    # Not idle either. Links that joints fold, as those of the UR5's wrist, reach less than stretched out.
    assert np.all(speed[:3] >= 0.5 * np.asarray(scene.reach[:3]))


def test_an_arm_moves_at_most_so_fast_stays_within_its_limits_and_stops_at_a_touch():
    scene = SCENES["two_link"]
    state = env.reset(scene, jnp.zeros((1, 2)), jnp.asarray([[0.0, 4.0]]))
    moved = env.step(scene, state, jnp.asarray([[0.0, 0.1]]))
    np.testing.assert_allclose(moved.joints, [[0.0, 0.1]], atol=1e-7)
    assert float(moved.length[0]) == pytest.approx(0.1)
    fast = env.step(scene, state, jnp.asarray([[3.0, 4.0]]))  # clipped to the limit of 2.8, then to the speed
    direction = np.asarray([3.0, 2.8]) / np.hypot(3.0, 2.8)
    np.testing.assert_allclose(fast.joints, scene.speed * direction[None], atol=1e-6)
    # A straight arm that turns left touches the disc around (2.6, 2.6): seen from the base it covers asin(0.6 / 3.68) on either side of 45
    # degrees.
    for _ in range(10):
        state = env.step(scene, state, state.joints + jnp.asarray([[0.1, 0.0]]))
    touch = np.pi / 4 - np.arcsin(0.6 / np.hypot(2.6, 2.6))
    assert bool(state.collided[0]) and float(state.clearance[0]) < 0
    assert touch - 0.1 <= float(state.joints[0, 0]) <= touch
    assert float(state.length[0]) == pytest.approx(float(state.joints[0, 0]), rel=1e-5)
    stopped = env.step(scene, state, jnp.asarray([[-1.0, 0.0]]))
    np.testing.assert_array_equal(stopped.joints, state.joints)
    assert not bool(env.success(scene, state._replace(target=env.tip(scene, state.joints)))[0])
    assert bool(env.success(scene, moved._replace(target=env.tip(scene, moved.joints)))[0])


@every_scene
def test_ways_lead_to_the_target_free_and_within_limits(name, problems):
    scene = SCENES[name]
    starts, targets, ways = problems(name)
    # None is a copy, as if too few had been solvable.
    assert len(np.unique(targets[:, 0])) == NUM_PROBLEMS and np.isfinite(ways.length).any(axis=1).all()
    found = np.isfinite(ways.length)
    corners, owner = ways.corners[found], np.nonzero(found)[0]
    np.testing.assert_array_equal(corners[:, 0], starts[owner])
    np.testing.assert_allclose(env.tip(scene, jnp.asarray(corners[:, 2])), targets[owner], atol=1e-4)
    np.testing.assert_allclose(
        ways.length[found], np.linalg.norm(np.diff(corners, axis=1), axis=-1).sum(axis=1), rtol=1e-5
    )
    # Far more points than the demonstrator looked at.
    share = np.linspace(0, 1, 1000, dtype=np.float32)[:, None, None, None]
    dense = corners[:, :-1] + share * np.diff(corners, axis=1)
    clear = jax.jit(lambda joints: env.clearance(scene, joints))(dense)
    assert float(clear.min()) >= arm_planner.MARGIN - 1e-4
    assert not np.any(env.beyond_limits(scene, jnp.asarray(corners)))


def test_ways_are_the_shortest_over_all_settings_that_they_may_lead_over(problems):
    """By a plain loop over them and the straight way."""
    scene = SCENES["two_link"]
    starts, targets, ways = problems("two_link")
    vias = np.asarray(arm_planner._vias(scene))
    is_free = jax.jit(lambda a, b: arm_planner._is_free(scene, a, b))
    checked = 0
    for problem in range(6):
        goals, _ = scene.goals(jnp.asarray(targets[problem]))
        for goal, length in zip(np.asarray(goals), ways.length[problem], strict=True):
            start, ends = starts[problem], np.broadcast_to(goal, vias.shape)
            free = np.asarray(is_free(np.broadcast_to(start, vias.shape), vias) & is_free(vias, ends))
            over = np.linalg.norm(vias - start, axis=1) + np.linalg.norm(goal - vias, axis=1)
            lengths = [total for total, ok in zip(over, free, strict=True) if ok]
            if bool(is_free(start[None], goal[None])[0]):
                lengths.append(np.linalg.norm(goal - start))
            shortest = min(lengths, default=np.inf)
            longest = scene.speed * (env.NUM_STEPS - 5)
            assert length == pytest.approx(shortest if shortest <= longest else np.inf, rel=1e-5)
            checked += np.isfinite(length)
    assert checked >= 6


def test_a_leg_is_not_free_if_an_obstacle_fits_between_its_points():
    """Both ends of a quarter turn of the straight arm are far from the disc at 45 degrees; the sum of their clearances tells."""
    scene = SCENES["two_link"]._replace(num_points=2)
    start, past, near = (jnp.asarray([[angle, 0.0]]) for angle in (0.0, 0.5 * np.pi, -0.02))
    assert np.all(np.asarray(env.clearance(scene, jnp.concatenate([start, past, near]))) > 1.0)
    assert not bool(arm_planner._is_free(scene, start, past)[0])
    assert bool(arm_planner._is_free(scene, start, near)[0])
    assert not bool(arm_planner._is_free(scene._replace(high=(-0.01, 2.8)), near, start)[0])  # beyond a limit


def test_positions_along_a_way_are_at_equal_distances():
    corners = jnp.asarray([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    at = arm_planner.along(corners, jnp.asarray([0.0, 1.5, 3.0, 3.5, 9.0]))
    np.testing.assert_allclose(at, [[0, 0], [1.5, 0], [3, 0], [3, 0.5], [3, 1]], atol=1e-6)
    straight = arm_planner.along(jnp.asarray([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]]), jnp.asarray([0.5]))
    np.testing.assert_allclose(straight, [[0.5, 0.0]], atol=1e-6)


def test_short_ways_are_preferred_by_the_exponential_of_their_length():
    length = jnp.broadcast_to(jnp.asarray([1.0, 2.0, jnp.inf]), (20_000, 3))
    ways = arm_planner.Ways(jnp.zeros((20_000, 3, 3, 2)), length)
    chosen = np.bincount(arm_planner.choose(jax.random.key(0), ways), minlength=3)
    share = 1 / (1 + np.exp(-1.0 / arm_planner.TEMPERATURE))
    assert chosen[2] == 0
    assert abs(chosen[0] / 20_000 - share) < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_rows_are_windows_of_ways_to_the_target():
    task, scene = TASKS["reach_two_link"], SCENES["two_link"]
    batch = jax.tree.map(
        np.asarray, jax.jit(task.demonstrations, static_argnums=1)(jax.random.key(3), 2 * reach.ROWS + 5)
    )
    obs = batch.obs[: 2 * reach.ROWS].reshape(2, reach.ROWS, -1)
    ahead = batch.action[: 2 * reach.ROWS].reshape(2, reach.ROWS, CHUNK, 2)
    joints, target, way = obs[..., :2], obs[..., 2:4], obs[..., 4:]
    np.testing.assert_allclose(target - way, scene.links(jnp.asarray(joints))[..., -1, :], atol=1e-5)
    assert np.all(target == target[:, :1]) and np.all(np.abs(joints[:, 0] - scene.home) <= arm_planner.START_NOISE)
    # Steps are as long as the speed but for corners and the end, where the arm rests on its target.
    steps = np.linalg.norm(np.diff(np.concatenate([np.zeros_like(ahead[:, :, :1]), ahead], axis=2), axis=2), axis=-1)
    assert steps.max() <= scene.speed + 1e-5 and np.median(steps[:, :20]) == pytest.approx(scene.speed, rel=1e-4)
    np.testing.assert_allclose(ahead[:, -1], 0.0, atol=1e-6)
    np.testing.assert_allclose(way[:, -1], 0.0, atol=1e-5)


def test_demonstrators_do_not_always_take_the_shortest_way():
    scene = SCENES["two_link"]
    batch = jax.jit(TASKS["reach_two_link"].demonstrations, static_argnums=1)(
        jax.random.key(4), NUM_PROBLEMS * reach.ROWS
    )
    last = np.asarray(batch.obs)[reach.ROWS - 1 :: reach.ROWS, :2]
    planned = jax.jit(lambda *problem: arm_planner.plan_all(scene, *problem))(
        *env.parts(scene, batch.obs[:: reach.ROWS])
    )
    shortest = np.asarray(planned.corners)[np.arange(NUM_PROBLEMS), np.argmin(planned.length, axis=1), 2]
    others = np.mean(np.abs(last - shortest).max(axis=1) > 0.1)
    # Of two goals the farther one has a chance of e^-1 for each radian more, 0.2 on average.
    assert 0.0 < others < 0.6


def test_no_corner_that_a_step_cuts_leads_through_an_obstacle():
    """What the demonstrator certifies is legs; its set-points cut their corners."""
    scene = SCENES["two_link"]
    batch = jax.jit(TASKS["reach_two_link"].demonstrations, static_argnums=1)(
        jax.random.key(4), NUM_PROBLEMS * reach.ROWS
    )
    ahead = batch.action.reshape(-1, CHUNK, 2)
    points = np.concatenate([batch.obs[:, None, :2], batch.obs[:, None, :2] + ahead], axis=1)
    share = np.linspace(0, 1, 20, dtype=np.float32)[:, None, None, None]
    clear = jax.jit(lambda joints: env.clearance(scene, joints))(points[:, :-1] + share * np.diff(points, axis=1))
    assert float(clear.min()) > 0


def policy(scene):
    """Chunks that turn with the observation, and lead beyond the limit of the second joint."""

    def act(key, obs):
        towards = 0.3 * jnp.sin(obs[:, : scene.num_joints] + obs[:, -1:])
        drift = jnp.broadcast_to(jnp.asarray([0.0, 1.2]), towards.shape)
        return jnp.concatenate([(towards + drift) * (i + 1) / CHUNK for i in range(CHUNK)], axis=1)

    return Conditional(None, None, act=act)


@pytest.mark.parametrize("execute", [1, 3, 8])
def test_so_many_steps_of_each_chunk_are_executed(execute):
    scene = SCENES["two_link"]
    start = env.reset(scene, jnp.asarray([[-1.0, 0.3], [2.0, -1.0]]), jnp.asarray([[1.0, 4.0], [-2.0, -2.0]]))
    run = jax.jit(lambda key: reach.rollouts(key, policy(scene), scene, start, execute))
    final, beyond = run(jax.random.key(0))
    state, done, over = start, 0, []
    step = jax.jit(lambda state, set_point: env.step(scene, state, set_point))
    while done < env.NUM_STEPS:
        chunk = policy(scene).act(None, env.observe(scene, state.joints, state.target)).reshape(2, CHUNK, 2)
        points = np.asarray(state.joints[:, None] + chunk)
        for i in range(execute):
            over.append(np.any((points[:, i] < scene.low) | (points[:, i] > scene.high), axis=1))
            state = step(state, jnp.asarray(points[:, i]))
            done += 1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), final, state)
    assert 0 < float(beyond) < 1 and float(beyond) == pytest.approx(np.mean(over))


def test_an_arm_that_passes_through_something_in_one_step_has_touched_it():
    """A small ball half-way; both ends of the step are free of it."""
    scene = SCENES["two_link"]._replace(obstacles=((6.0, 0.0, 0.01),), speed=0.2, thickness=0.01)
    state = env.reset(scene, jnp.asarray([[-0.1, 0.0]]), jnp.asarray([[6.0, 0.0]]))
    after = env.step(scene, state, jnp.asarray([[0.1, 0.0]]))
    ends = env.clearance(scene, jnp.asarray([[-0.1, 0.0], [0.1, 0.0]]))
    assert np.all(np.asarray(ends) > 0.1) and bool(after.collided[0])


@pytest.mark.slow
@every_scene
def test_the_planner_succeeds_and_a_policy_that_rests_does_not(name):
    task = TASKS[f"reach_{name}"]
    rows = jax.jit(task.demonstrations, static_argnums=1)(jax.random.key(1), 10 * reach.ROWS)
    data = Data(rows, rows, jnp.ones(len(rows.obs), bool))
    rest = Conditional(None, None, act=lambda key, obs: jnp.zeros((len(obs), task.spec.action_dim)))
    run = jax.jit(lambda key: [task.evaluate(key, who, data, task.evaluation) for who in (task.baseline[1], rest)])
    planner, resting = run(jax.random.key(0))
    assert float(planner["success"]) == 100.0 and float(planner["collision"]) == float(planner["limits"]) == 0.0
    assert 0.5 < float(planner["path_ratio"]) <= 1.001 and float(planner["clearance"]) > 0
    assert float(resting["success"]) == 0.0 and np.isnan(resting["path_ratio"]) and np.isnan(resting["clearance"])
    assert float(resting["tip_error"]) > SCENES[name].tolerance


def test_what_cannot_be_executed_is_refused_before_training():
    task = TASKS["reach_ur5"]
    for settings, said in (
        ({"execute": CHUNK + 1}, "evaluation.execute=9"),
        ({"ensemble": True}, "evaluation.ensemble=True"),
        ({"disturbance": 0.1}, "evaluation.disturbance=0.1"),
    ):
        with pytest.raises(InputError, match=said):
            task.require(dataclasses.replace(task.evaluation, **settings))
    with pytest.raises(InputError, match="expected one of two_link, ur5"):
        env.make_scene("ur3")
