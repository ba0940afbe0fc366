"""Planar chunks: layouts by their own geometry, demonstrations by statistics, and metrics of policies with known faults.

Statistical tests fail falsely once in a million (5 standard errors, p-values above 1e-6).
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import theory
from ebgan_mdn_jax.encoders import EncoderConfig
from ebgan_mdn_jax.envs import planar as env
from ebgan_mdn_jax.envs import planar_image
from ebgan_mdn_jax.evaluation import chunks
from ebgan_mdn_jax.methods import ebgan_mdn, mdn
from ebgan_mdn_jax.methods.base import in_data_units
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.normalization import unit_box
from ebgan_mdn_jax.tasks import planar, planar_law, planar_metrics
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Latents

SETTINGS = [
    ("circle", None),
    ("sequential", None),
    ("avoiding", None),
    ("radial", 8),
    ("radial", 16),
    ("corridor", 8),
    ("corridor", 16),
]


def world_of(task):
    return task.evaluate.keywords["world"]


def draw(task, seed, num):
    return jax.tree.map(np.asarray, jax.jit(task.demonstrations, static_argnums=1)(jax.random.key(seed), num))


@functools.cache
def layout_of(name, num_modes, chunk=60):
    return env.make_layout(name, num_modes, chunk)


def nearest_mode(layout, positions):
    """By mean distance, ``[rows]`` of ``[rows, H, 2]``."""
    return np.argmin(np.linalg.norm(positions[:, None] - layout.chunks, axis=-1).mean(-1), axis=1)


# Layouts


@pytest.mark.parametrize(("name", "num_modes"), SETTINGS)
def test_modes_start_together_walk_evenly_and_hit_nothing(name, num_modes):
    layout = layout_of(name, num_modes)
    np.testing.assert_allclose(layout.paths[:, 0] - layout.paths[:1, 0], 0.0, atol=1e-15)
    steps = np.linalg.norm(np.diff(layout.paths, axis=1), axis=-1)
    if name in ("circle", "radial"):
        np.testing.assert_allclose(steps, steps.mean(1, keepdims=True).repeat(60, 1), rtol=1e-9)
    assert np.all(steps <= steps.max(1, keepdims=True) * (1 + 1e-9)) and np.all(steps.min(1) > 0.6 * steps.max(1))
    assert not np.any(env.collides(jnp.asarray(layout.paths, jnp.float32), jnp.asarray(layout.obstacles, jnp.float32)))
    assert np.all((layout.paths >= 0) & (layout.paths <= 1))


def test_circles_are_clockwise_loops_of_radius_a_fifth():
    layout = layout_of("circle", None)
    for path, centre in zip(layout.paths, ((0.5, 0.3), (0.5, 0.7)), strict=True):
        np.testing.assert_allclose(np.linalg.norm(path - centre, axis=1), 0.2)
        np.testing.assert_allclose(path[[0, -1]], 0.5)
        x, y = path.T
        assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2 == pytest.approx(-np.pi * 0.04, rel=0.01)  # clockwise


def test_forks_lead_to_four_ends():
    layout = layout_of("sequential", None)
    np.testing.assert_allclose(layout.paths[:, -1], [[0.1, 1], [0.4, 1], [0.6, 1], [0.9, 1]], atol=1e-12)
    for path, side in zip(layout.paths, (0.25, 0.25, 0.75, 0.75), strict=True):
        np.testing.assert_allclose(path[path[:, 1] <= 0.4, 0], 0.5)
        np.testing.assert_allclose(path[(path[:, 1] >= 0.45) & (path[:, 1] <= 0.7), 0], side)


def test_ways_past_three_rows_are_all_24():
    """Told apart as D3IL does: by the side of each row's obstacles on which the path crosses it."""
    layout = layout_of("avoiding", None)
    middles = (layout.obstacles[:, :2] + layout.obstacles[:, 2:]) / 2
    codes = set()
    for path in layout.paths:
        rows = (middles[:1], middles[1:3], middles[3:])
        x = [np.interp(row[0, 1], path[:, 1], path[:, 0]) for row in rows]
        codes.add(tuple(int(np.sum(row[:, 0] < at)) for row, at in zip(rows, x, strict=True)))
    assert codes == set(itertools.product(range(2), range(3), range(4)))
    np.testing.assert_allclose(np.diff(middles[:, 0])[[1, 3, 4]] * 0.7, 0.15)  # metres
    np.testing.assert_allclose(np.diff(middles[[0, 1, 3], 1]) * 0.7, 0.18)
    np.testing.assert_allclose(layout.paths[:, -1, 1], 0.95)


def test_spokes_and_gaps():
    layout = layout_of("radial", 8)
    np.testing.assert_allclose(np.linalg.norm(layout.paths[:, -1] - 0.5, axis=1), 0.4)
    angles = np.unwrap(np.arctan2(*(layout.paths[:, -1] - 0.5).T[::-1]))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / 8)
    # Corners of the squares keep 3 deviations or more from every spoke, and one of them hardly more.
    corners = layout.obstacles[:, [[0, 1], [0, 3], [2, 1], [2, 3]]].reshape(-1, 2) - 0.5
    from_spokes = np.abs(corners @ np.stack([-np.sin(angles), np.cos(angles)]))
    assert from_spokes.min() >= 3 * layout.noise - 1e-12 and len(layout.obstacles) == 8
    assert layout_of("radial", 64).obstacles.shape == (0, 4)
    layout = layout_of("corridor", 8)
    for index, path in enumerate(layout.paths):
        inside = (path[:, 0] >= 0.48) & (path[:, 0] <= 0.52)
        assert inside.any() and path[inside, 1] == pytest.approx((index + 1) / 9)
        np.testing.assert_allclose(path[-1], (0.95, 0.5))
    gaps = layout.obstacles[1:, 1] - layout.obstacles[:-1, 3]
    np.testing.assert_allclose(gaps, 1 / 18)


def test_styles_are_waves_within_the_gap():
    plain, styled = layout_of("corridor", 8), env.make_layout("corridor", 8, styles=2)
    assert styled.paths.shape == (16, 61, 2)
    wave = styled.paths - plain.paths.repeat(2, 0)
    assert np.all(wave[..., 0] == 0) and 0.001 < np.abs(wave[..., 1]).max() <= 1 / 18 / 8
    for style, crossings in enumerate((1, 3)):  # of 0, in one period and in two
        side = wave[style, :, 1][np.abs(wave[style, :, 1]) > 1e-9] > 0
        assert np.sum(side[1:] != side[:-1]) == crossings


@pytest.mark.parametrize(
    ("name", "num_modes", "hits"),
    [
        ("circle", None, False),
        ("sequential", None, True),
        ("radial", 8, False),
        ("corridor", 8, True),
        ("corridor", 16, True),
    ],
)
def test_what_the_mean_path_does(name, num_modes, hits):
    layout = layout_of(name, num_modes)
    mean = layout.paths.mean(0)
    assert bool(env.collides(jnp.asarray(mean, jnp.float32), jnp.asarray(layout.obstacles, jnp.float32))) == hits
    if not hits:  # it stands still
        np.testing.assert_allclose(mean, 0.5, atol=1e-9)


def test_collisions_are_those_of_points_along_every_step():
    rng = np.random.default_rng(0)
    points, low = rng.random((300, 3, 2)), rng.random((4, 2)) * 0.8
    obstacles = np.concatenate([low, low + 0.02 + 0.2 * rng.random((4, 2))], axis=1)
    t = np.linspace(0, 1, 2_001)[:, None, None, None]
    along = (1 - t) * points[:, :-1] + t * points[:, 1:]
    inside = [np.all((along >= o[:2]) & (along <= o[2:]), axis=-1).any((0, 2)) for o in obstacles]
    ours = jax.jit(env.collides)(jnp.asarray(points, jnp.float32), jnp.asarray(obstacles, jnp.float32))
    expected = np.any(inside, axis=0)
    assert 0.1 < expected.mean() < 0.9
    assert np.sum(np.asarray(ours) != expected) <= 1  # a corner cut by less than a two-thousandth of a step
    leap = jnp.asarray([[0.4, 0.5], [0.6, 0.5]])  # over the wall, level with its middle part
    assert bool(env.collides(leap, jnp.asarray(layout_of("corridor", 8).obstacles, jnp.float32))) is True
    vertical = jnp.asarray([[0.5, 0.0], [0.5, 1.0]])
    assert bool(env.collides(vertical, jnp.asarray([[0.45, 0.4, 0.55, 0.5]])))
    assert not bool(env.collides(vertical, jnp.asarray([[0.51, 0.4, 0.55, 0.5]])))


def test_tubes_do_not_meet():
    """With the default noise up to 44 spokes and 20 gaps; beyond, noise is less."""
    for name, last, beyond in (("radial", 44, (45, 64)), ("corridor", 20, (22, 32))):
        default = layout_of(name, 8).noise
        layout = layout_of(name, last)
        assert layout.noise == default and 2 * layout.tube < env.closest_modes(layout.paths) < 2 * layout.tube * 1.02
        for num_modes in beyond:
            layout, forced = layout_of(name, num_modes), env.make_layout(name, num_modes, noise=default)
            closest = env.closest_modes(layout.paths)
            assert layout.noise == pytest.approx(closest / 10.4) and 2 * layout.tube < closest < 2 * forced.tube
            assert np.all(
                np.asarray(chunks.tube_gaps(jnp.asarray(layout.chunks), layout.tube))[~np.eye(num_modes, dtype=bool)]
                > 0
            )


@pytest.mark.parametrize("chunk", [1, 16, 60])
def test_tubes_hold_999_of_1000_chunks(chunk):
    layout = env.make_layout("radial", 8, chunk)
    per_step = scipy.stats.rayleigh.cdf(layout.tube, scale=layout.noise)
    assert per_step**chunk == pytest.approx(0.999, rel=1e-9)
    if chunk == 60:
        assert layout.tube / layout.noise == pytest.approx(4.7, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "spiral"}, "expected one of circle"),
        ({"name": "circle", "num_modes": 3}, "circle has 2"),
        ({"name": "radial", "num_modes": 1}, "at least 2"),
        ({"name": "corridor", "num_modes": 7}, "even number"),
        ({"name": "circle", "chunk": 1}, "too few steps"),
        ({"name": "corridor", "num_modes": 16, "chunk": 4}, "cuts through an obstacle"),
        ({"name": "radial", "styles": 2}, "only the corridor"),
        ({"name": "radial", "noise": 0.0}, "positive number"),
        ({"name": "radial", "actions": "velocity"}, "'position' or 'displacement'"),
        ({"name": "circle", "weights": (0.5, 0.4)}, "expected 2 positive numbers"),
        ({"name": "circle", "flip": 1.5}, "flip=1.5"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        planar.make(**arguments)


# Demonstrations


@pytest.mark.parametrize(
    ("name", "num_modes", "actions"), [("circle", None, "position"), ("corridor", 16, "displacement")]
)
def test_demonstrations_have_the_noise_of_the_layout(name, num_modes, actions):
    task = planar.make(name, num_modes, actions=actions)
    layout, num = world_of(task).layout, 960
    batch = jax.jit(task.demonstrations, static_argnums=1)(jax.random.key(0), num)
    batch = jax.tree.map(np.asarray, batch)
    np.testing.assert_array_equal(batch.obs, np.broadcast_to(np.float32(layout.paths[0, 0]), (num, 2)))
    outside = np.clip(batch.action, task.spec.action_low, task.spec.action_high) != batch.action
    assert np.mean(outside) < 1e-4
    positions = np.asarray(env.positions(batch.obs[0], batch.action, actions), np.float64)
    mode = nearest_mode(layout, positions[:, 1:])
    np.testing.assert_array_equal(np.bincount(mode), num // len(layout.paths))
    assert not np.all(np.diff(mode) >= 0)  # in random order
    residual = positions[:, 1:] - layout.chunks[mode]
    samples = residual.size
    assert residual.std() == pytest.approx(
        layout.noise, rel=5 / np.sqrt(2 * samples) + (0.01 if name == "corridor" else 0)
    )
    lag = np.mean(residual[:, 1:] * residual[:, :-1]) / residual.var()
    assert abs(lag) < 5 / np.sqrt(samples) + (0.01 if name == "corridor" else 0)
    if actions == "displacement":
        steps = np.asarray(batch.action).reshape(num, -1, 2) - np.diff(layout.paths, axis=1)[mode]
        assert steps[:, 1:].std() == pytest.approx(np.sqrt(2) * layout.noise, rel=0.02)
        assert np.mean(steps[:, 2:] * steps[:, 1:-1]) / steps[:, 1:].var() == pytest.approx(-0.5, abs=0.02)
        assert steps[:, 0].std() == pytest.approx(layout.noise, rel=5 / np.sqrt(4 * num))
    assert not np.any(env.collides(jnp.asarray(positions), jnp.asarray(layout.obstacles, jnp.float32)))


def test_rejection_is_needed_and_bounded():
    """Without it some 16-gap paths hit the wall; where nothing fits, 50 tries end with what was drawn last."""
    layout = layout_of("corridor", 16)
    mode = jnp.arange(1_600) % 16
    free = layout._replace(obstacles=np.zeros((0, 4)))
    keys = jax.random.split(jax.random.key(1), 2)
    first = np.asarray(jax.jit(functools.partial(planar_law.follow, layout=free))(keys[0], mode=mode))
    alone = jax.jit(functools.partial(planar_law.follow, layout=layout))
    mended = np.asarray(alone(keys[0], mode=mode))
    hit = np.asarray(env.collides(jnp.asarray(first), jnp.asarray(layout.obstacles, jnp.float32)))
    assert 0.005 < hit.mean() < 0.2
    np.testing.assert_array_equal(first[~hit], mended[~hit])  # what hits nothing stays as it is drawn
    assert not np.any(env.collides(jnp.asarray(mended), jnp.asarray(layout.obstacles, jnp.float32)))
    together = jax.jit(jax.vmap(lambda key: planar_law.follow(key, layout, mode)))(keys)
    for index, key in enumerate(keys):  # the one that needs fewer tries waits for the other
        np.testing.assert_allclose(together[index], alone(key, mode=mode), atol=1e-6)
    blocked = layout._replace(obstacles=np.array([[0.0, 0.0, 1.0, 1.0]]))
    assert np.all(np.isfinite(planar_law.follow(jax.random.key(1), blocked, mode[:4])))


def test_clipping_leaves_atoms_at_the_ends_of_the_forks_only():
    for name, expected in (("sequential", True), ("circle", False), ("corridor", False), ("radial", False)):
        task = planar.make(name)
        assert planar_law.is_clipped(world_of(task).layout) == expected == (task.conditional.log_prob is None)
    action = draw(planar.VARIANTS["planar_sequential"], 0, 400).action.reshape(400, -1, 2)
    assert np.mean(action[:, -1, 1] == 1.0) == pytest.approx(0.5, abs=5 * 0.5 / 20)


def test_weights_are_kept_to_the_row():
    task = planar.make("radial", 3, chunk=4, weights=(0.6, 0.3, 0.1))
    batch = draw(task, 0, 51)
    mode = nearest_mode(world_of(task).layout, np.asarray(batch.action).reshape(51, 4, 2))
    np.testing.assert_array_equal(np.bincount(mode), [31, 15, 5])  # shares 30.6, 15.3, 5.1
    draws = jax.jit(task.conditional.sample, static_argnums=2)(jax.random.key(1), batch.obs[:1], 3_000)[:, 0]
    count = np.bincount(nearest_mode(world_of(task).layout, np.asarray(draws).reshape(-1, 4, 2)))
    assert scipy.stats.chisquare(count, [1_800, 900, 300]).pvalue > 1e-6


def test_densities_are_those_of_independent_noise():
    position, displacement = (
        planar.make("radial", 4, chunk=3, actions=a, weights=(0.4, 0.3, 0.2, 0.1)) for a in ("position", "displacement")
    )
    layout, obs = world_of(position).layout, jnp.full((2, 2), 0.5)
    rng = np.random.default_rng(0)
    points = layout.chunks[rng.integers(0, 4, (5, 2))] + layout.noise * rng.standard_normal((5, 2, 3, 2))
    densities = [
        w * np.prod(scipy.stats.norm.pdf(points, path, layout.noise), axis=(-2, -1))
        for w, path in zip((0.4, 0.3, 0.2, 0.1), layout.chunks, strict=True)
    ]
    action = jnp.asarray(points.reshape(5, 2, 6), jnp.float32)
    np.testing.assert_allclose(jax.jit(position.conditional.log_prob)(obs, action), np.log(sum(densities)), atol=2e-2)
    start = np.broadcast_to([0.5, 0.5], (5, 2, 1, 2))
    steps = jnp.asarray(np.diff(np.concatenate([start, points], axis=2), axis=2).reshape(5, 2, 6), jnp.float32)
    np.testing.assert_allclose(
        jax.jit(displacement.conditional.log_prob)(obs, steps), np.log(sum(densities)), atol=2e-2
    )


def test_demonstrations_are_as_likely_as_the_entropy_says():
    task = planar.VARIANTS["planar_circle"]
    batch = draw(task, 2, 1_000)
    surprise = -np.asarray(jax.jit(task.conditional.log_prob)(*batch), np.float64)
    entropy = np.log(2) + 120 * scipy.stats.norm.entropy(scale=0.008)
    assert surprise.mean() == pytest.approx(entropy, abs=5 * np.sqrt(60 / 1_000))


def test_modes_are_the_noise_free_chunks_and_maxima_of_the_density():
    for actions in ("position", "displacement"):
        task = planar.make("radial", 8, chunk=5, actions=actions)
        obs = jnp.full((3, 2), 0.5)
        modes, mask = task.modes(obs)
        assert modes.shape == (8, 3, 10) and np.all(mask)
        np.testing.assert_allclose(
            env.positions(obs[0], modes[:, 0], actions)[:, 1:], world_of(task).layout.chunks, atol=1e-6
        )
        slope = jax.jit(jax.grad(lambda a, task=task, obs=obs: jnp.sum(task.conditional.log_prob(obs, a))))(modes)
        assert np.max(np.abs(slope)) * world_of(task).layout.noise < 1e-2


@pytest.mark.parametrize(("flip", "weights"), [(0.0, (0.5, 0.5)), (0.3, (0.8, 0.2))])
def test_a_context_tells_the_mode_as_often_as_it_is_right(flip, weights):
    task, num = planar.make("circle", chunk=8, flip=flip, weights=weights), 4_000
    batch = jax.jit(task.demonstrations, static_argnums=1)(jax.random.key(0), num)
    mode = nearest_mode(world_of(task).layout, np.asarray(batch.action).reshape(num, 8, 2))
    context = np.argmax(np.asarray(batch.obs[:, 2:]), axis=1)
    np.testing.assert_array_equal(np.sum(batch.obs[:, 2:], axis=1), 1.0)
    assert np.mean(mode != context) == pytest.approx(flip, abs=5 * np.sqrt(0.25 / num) * (flip > 0))
    for one in (0, 1):  # Bayes
        right, wrong = weights[one] * (1 - flip), weights[1 - one] * flip
        share = right / (right + wrong)
        rows = context == one
        assert np.mean(mode[rows] == one) == pytest.approx(share, abs=5 * np.sqrt(0.25 / rows.sum()) * (flip > 0))
        assert world_of(task).weights[one, one] == pytest.approx(share)
    obs = jnp.asarray(world_of(task).inputs, jnp.float32)
    draws = np.asarray(jax.jit(task.conditional.sample, static_argnums=2)(jax.random.key(1), obs, 2_000))
    for one in (0, 1):
        drawn = nearest_mode(world_of(task).layout, np.asarray(draws[:, one]).reshape(-1, 8, 2))
        assert np.mean(drawn == one) == pytest.approx(world_of(task).weights[one, one], abs=5 * np.sqrt(0.25 / 2_000))
    _, mask = task.modes(obs)
    np.testing.assert_array_equal(mask, np.eye(2, dtype=bool) if flip == 0 else np.ones((2, 2), bool))


def test_an_exact_sampler_is_not_said_to_miss_its_rarest_mode():
    """Half of its share or fewer of the draws that tasks ask for at each context, once in 300,000 at most."""
    seldom_wrong = {"seldom wrong": planar.make("circle", chunk=8, flip=0.01)}
    for name, task in (planar.VARIANTS | seldom_wrong).items():
        world, num = world_of(task), task.evaluation.num_draws
        rarest = world.weights[world.weights > 0].min()
        assert scipy.stats.binom.cdf(np.ceil(0.5 * rarest * num) - 1, num, rarest) < 1 / 300_000, name


# Images


def test_images_show_obstacles_and_where_discs_are():
    """Areas and centres of mass to a part of a pixel, and the top of the square in the first row."""
    obstacles = np.array([(0.1, 0.2, 0.335, 0.61), (0.7, 0.05, 0.9, 0.1)])
    points, marks = np.array([(0.31, 0.77), (0.52, 0.433)]), np.array([[(0.2, 0.9)], [(0.8, 0.123)]])
    images = jax.jit(planar_image.render)(*(jnp.asarray(at, jnp.float32) for at in (points, marks, obstacles)))
    np.testing.assert_allclose(planar_image.render(points, marks, obstacles, np), images, atol=1e-4)
    assert images.shape == (2, np.prod(planar_image.SHAPE)) and 0 <= images.min() and images.max() <= 1
    images = np.asarray(images).reshape(2, *planar_image.SHAPE)
    x, y = (np.arange(64) + 0.5) / 64, 1 - (np.arange(64) + 0.5) / 64
    areas = images.sum((1, 2)) / 64**2
    np.testing.assert_allclose(areas[:, 0], [np.prod(obstacles[:, 2:] - obstacles[:, :2], axis=1).sum()] * 2, rtol=1e-5)
    np.testing.assert_allclose(areas[:, 1:], np.pi * planar_image.RADIUS**2, rtol=0.02)
    for channel, centres in ((1, points), (2, marks[:, 0])):
        mass = images[..., channel] / images[..., channel].sum((1, 2), keepdims=True)
        np.testing.assert_allclose((mass.sum(1) @ x), centres[:, 0], atol=1e-3)
        np.testing.assert_allclose((mass.sum(2) @ y), centres[:, 1], atol=1e-3)
    assert images[0, 32, 10, 0] == 1 and images[0, 5, 10, 0] == 0 and images[0, 60, 51, 0] > 0  # inside, outside


def test_a_context_is_seen_in_an_image():
    task, plain = (planar.make("circle", chunk=8, flip=0.0, image=image) for image in (True, False))
    assert task.spec.obs_shape == (64, 64, 3) and task.spec.obs_dim == 64 * 64 * 3
    images, given = (jax.jit(t.demonstrations, static_argnums=1)(jax.random.key(0), 20) for t in (task, plain))
    np.testing.assert_array_equal(images.action, given.action)
    up = np.asarray(images.obs).reshape(20, *planar_image.SHAPE)[:, :32, :, 2].sum((1, 2)) > 0
    np.testing.assert_array_equal(up, given.obs[:, 3])  # the second mode is the upper loop
    draws = [t.conditional.sample(jax.random.key(1), batch.obs, 2) for t, batch in ((task, images), (plain, given))]
    np.testing.assert_array_equal(*draws)
    with pytest.raises(InputError, match="image=True: some ways of sequential share their middle"):
        planar.make("sequential", flip=0.0, image=True)
    without = planar.make("radial", 8, chunk=8, image=True)
    image = world_of(without).inputs.reshape(planar_image.SHAPE)
    assert image[..., 0].sum() > 0 and image[..., 2].sum() == 0


@pytest.mark.slow
def test_a_mixture_learns_the_way_from_an_image():
    task = planar.make("circle", chunk=8, flip=0.0, image=True)
    encoder = EncoderConfig("spatial_softmax", (4, 4))
    config = mdn.Config(GeneratorConfig(num_components=2, hidden=(16,), encoder=encoder))
    normalization = unit_box(task.spec)
    method = in_data_units(mdn.make(config, normalization.spec(task.spec), Horizon(150, 1)), normalization)
    batch = task.demonstrations(jax.random.key(0), 16)
    hyper = method.hyper._replace(learning_rate=0.01)
    run = jax.jit(lambda state: jax.lax.fori_loop(0, 150, lambda _, s: method.step(s, batch, hyper)[0], state))
    params = run(method.init(jax.random.key(0))).params
    inputs = jnp.asarray(world_of(task).inputs)
    draws = np.asarray(method.sample(jax.random.key(1), params, inputs, 50)).reshape(50, 2, 8, 2)
    assert np.mean(draws[:, 1, 3:5, 1] > 0.5) > 0.95 and np.mean(draws[:, 0, 3:5, 1] < 0.5) > 0.95


# What mixtures keep


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "actions", "generator", "rate", "kept"),
    [
        (mdn, "position", {"start": "data", "start_scale": 0.1}, 0.002, True),
        (ebgan_mdn, "position", {"start": "clusters"}, 0.0005, True),
        (mdn, "position", {"start": "data", "start_scale": 0.1, "independent_steps": 8}, 0.002, False),
        (mdn, "displacement", {"start": "data", "start_scale": 0.1}, 0.002, False),
        (mdn, "displacement", {"start": "clusters", "covariance": "tied"}, 0.0002, True),
    ],
    ids=["mdn", "ebgan_mdn", "steps", "displacements", "tied"],
)
def test_heads_that_keep_four_spokes_and_heads_that_do_not(method, actions, generator, rate, kept):
    """Chunks of 8, 1,000 steps; what a head cannot hold, its chunks leave the tubes by."""
    task = planar.make("radial", 4, chunk=8, actions=actions)
    normalization = unit_box(task.spec)
    config = method.Config(GeneratorConfig(num_components=8, hidden=(32,), **generator))
    if method is ebgan_mdn:
        config = dataclasses.replace(config, energy_hidden=(32, 32), num_negatives=8, num_generated=8, energy_steps=1)
    trained = in_data_units(method.make(config, normalization.spec(task.spec), Horizon(1_000, 1)), normalization)
    batch = task.demonstrations(jax.random.key(0), 500)
    name = "learning_rate" if method is mdn else "generator_learning_rate"
    hyper = trained.hyper._replace(**{name: rate})

    @jax.jit
    def metrics():
        def step(i, state):
            rows = jax.random.randint(jax.random.fold_in(jax.random.key(1), i), (128,), 0, 500)
            return trained.step(state, jax.tree.map(lambda leaf: leaf[rows], batch), hyper)[0]

        params = jax.lax.fori_loop(0, 1_000, step, trained.init(jax.random.key(2))).params
        policy = Conditional(
            lambda key, obs, num: trained.sample(key, params, obs, num),
            lambda obs, action: trained.log_prob(params, obs, action),
        )
        return task.evaluate(jax.random.key(3), policy, Data(batch, batch, jnp.ones(500, bool)), task.evaluation)

    found = metrics()
    if kept:
        assert found["share_coverage@tau=0.5"] == 100 and found["on_support"] >= 95
        assert found["success"] >= 95
    else:
        assert found["on_support"] < 50


# Metrics


@functools.cache
def judge(name, num_modes=None, chunk=60, flip=None, weights=None):
    """Metrics, by a policy that draws evenly from a bank of paths ``[R, H + 1, 2]``, one program for all banks of a size."""
    task = planar.make(name, num_modes, chunk, flip=flip, weights=weights)
    heldout = Batch(*(jnp.zeros((4, size)) for size in (task.spec.obs_dim, task.spec.action_dim)))

    @jax.jit
    def run(bank):
        def sample(key, obs, num):
            rows = jnp.arange(num * obs.shape[0]).reshape(num, obs.shape[0]) % bank.shape[0]
            return env.to_actions(bank[rows], "position")

        data = Data(heldout, heldout, jnp.ones(4, bool))
        return task.evaluate(jax.random.key(0), Conditional(sample, None), data, task.evaluation)

    return task, lambda bank: {k: float(v) for k, v in run(jnp.asarray(bank, jnp.float32)).items()}


def noisy(layout, paths, seed=0, num=1_000, scale=1.0):
    """As many noisy copies of ``paths [R, H + 1, 2]`` in turn, the start kept."""
    paths = np.asarray(paths)[np.arange(num) % len(paths)]
    noise = scale * layout.noise * np.random.default_rng(seed).standard_normal(paths.shape)
    noise[:, 0] = 0
    return np.clip(paths + noise, 0, 1)


PERFECT = [("radial_16", 16), ("planar_sequential", 4), ("corridor_8", 8)]


@pytest.mark.parametrize(("name", "num_modes"), PERFECT)
def test_a_perfect_demonstrator(name, num_modes):
    task = planar.VARIANTS[name]
    heldout = Batch(*(jnp.zeros((4, size)) for size in (task.spec.obs_dim, task.spec.action_dim)))
    data = Data(heldout, heldout, jnp.ones(4, bool))
    run = jax.jit(lambda key: task.evaluate(key, task.conditional, data, task.evaluation))
    results = [{k: float(v) for k, v in run(jax.random.key(seed)).items()} for seed in range(5)]
    mean = {k: np.mean([result[k] for result in results]) for k in results[0]}
    draws = 5 * task.evaluation.num_draws
    lost = 100 - mean["on_support"]
    # Noise is cut where it would leave the square or hit something, which loses less.
    assert lost <= 0.1 + 500 * np.sqrt(0.001 / draws)
    if name == "radial_16":
        assert lost == pytest.approx(0.1, abs=500 * np.sqrt(0.001 / draws)) and lost > 0
    for metric in (
        "reach",
        "long_enough",
        "success",
        "mode_hits@S=200",
        "share_coverage@tau=0.5",
        "share_coverage@tau=0.1",
    ):
        assert mean[metric] == 100.0, metric
    assert mean["collision"] == mean["bridge"] == 0.0
    assert mean["astray"] == pytest.approx(lost, abs=1e-3)
    # Chi-square / (2 n) is what sampling takes off an entropy; half the mean absolute deviation is a total variation distance.
    assert (
        100 - 100 * scipy.stats.chi2(num_modes - 1).isf(1e-6) / 400 / np.log(num_modes)
        < mean["hit_entropy@S=200"]
        <= 100
    )
    expected = 50 * np.sqrt(2 * (num_modes - 1) / np.pi / task.evaluation.num_draws)
    assert mean["share_error"] == pytest.approx(expected, rel=0.6)
    assert ("heldout_nll" in mean) == (name != "planar_sequential")


def test_a_single_mode_is_successful_and_covers_one():
    task, run = judge("radial", 8)
    layout = world_of(task).layout
    metrics = run(noisy(layout, layout.paths[:1]))
    assert metrics["success"] == 100.0 and metrics["on_support"] > 99
    assert metrics["mode_hits@S=200"] == metrics["share_coverage@tau=0.5"] == metrics["share_coverage@tau=0.1"] == 12.5
    assert metrics["hit_entropy@S=200"] == 0.0 and metrics["share_error"] == pytest.approx(87.5)
    assert metrics["bridge"] == 0.0


def test_the_mean_path_stands_still_on_spokes_and_hits_the_wall_of_a_corridor():
    task, run = judge("radial", 8)
    layout = world_of(task).layout
    metrics = run(noisy(layout, layout.paths.mean(0, keepdims=True), scale=0.0))
    assert metrics["collision"] == metrics["reach"] == metrics["long_enough"] == metrics["success"] == 0.0
    assert metrics["on_support"] == 0.0 and metrics["bridge"] == 100.0 and metrics["share_error"] == 100.0
    assert metrics["valid_mode_hits@S=200"] == 0.0 < metrics["mode_hits@S=200"]
    task, run = judge("corridor", 8)
    layout = world_of(task).layout
    metrics = run(noisy(layout, layout.paths.mean(0, keepdims=True)))
    assert metrics["collision"] == 100.0 and metrics["reach"] == metrics["long_enough"] == 100.0
    assert (
        metrics["success"] == metrics["mode_hits@S=200"] == metrics["on_support"] == 0.0 and metrics["bridge"] == 100.0
    )


def test_blends_of_neighbours_fool_the_published_metrics_but_not_the_tubes():
    """Of 32 spokes, half-way between two: no obstacle is large enough to be hit by all, ends are near both, and each has a nearest mode."""
    task, run = judge("radial", 32)
    layout = world_of(task).layout
    blends = (layout.paths + np.roll(layout.paths, -1, axis=0)) / 2
    metrics = run(noisy(layout, blends, num=2_048, scale=0.3))
    assert metrics["reach"] == 100.0 and metrics["on_support"] == metrics["share_coverage@tau=0.1"] == 0.0
    assert metrics["bridge"] == 100.0 and metrics["astray"] == 0.0
    # Two thirds on modes, a third on blends.
    mixed = np.concatenate([noisy(layout, layout.paths, 1, 1_366, 0.5), noisy(layout, blends, 2, 682, 0.3)])
    mixed = mixed[np.random.default_rng(0).permutation(len(mixed))]
    metrics = run(mixed)
    assert metrics["on_support"] == pytest.approx(66.7, abs=0.1) and metrics["bridge"] == pytest.approx(33.3, abs=0.1)
    assert metrics["share_coverage@tau=0.5"] == 100.0 and metrics["mode_hits@S=200"] > 95
    assert metrics["on_support"] + metrics["bridge"] + metrics["astray"] == pytest.approx(100.0, abs=1e-3)


def test_wrong_weights_and_wide_noise():
    task, run = judge("radial", 8)
    layout = world_of(task).layout
    order = [0] * 8 + [1] * 4 + [2] * 4  # half, a quarter and a quarter
    metrics = run(noisy(layout, layout.paths[order], num=1_000, scale=0.5))
    assert metrics["on_support"] == 100.0 and metrics["share_coverage@tau=0.5"] == 37.5
    assert metrics["share_error"] == pytest.approx(62.5, abs=0.3)  # 3/8 of 1/8 each are kept
    metrics = run(noisy(layout, layout.paths, scale=4.0))
    assert metrics["on_support"] == 0.0 and metrics["astray"] > 99
    # Right for uneven weights.
    weights = (0.44,) + (0.08,) * 7
    task, run = judge("radial", 8, weights=weights)
    metrics = run(noisy(layout, layout.paths, scale=0.5))
    assert metrics["share_error"] == pytest.approx(100 * (0.44 - 0.125), abs=0.3)
    assert metrics["share_coverage@tau=0.5"] == 87.5


def test_a_context_that_tells_all_leaves_one_mode_right():
    task, run = judge("circle", None, flip=0.0)
    layout = world_of(task).layout
    # Rows alternate over the two contexts: mode 0 under context 0, mode 1 under context 1, and the other way round.
    right, wrong = noisy(layout, layout.paths, scale=0.5), noisy(layout, layout.paths[::-1], scale=0.5)
    metrics = run(right)
    assert metrics["on_support"] == metrics["share_coverage@tau=0.5"] == metrics["mode_hits@S=200"] == 100.0
    assert not {"share_error", "hit_entropy@S=200"} & set(metrics)
    metrics = run(np.full((1_000, 61, 2), 0.5))  # standing still ends where the loops do
    assert metrics["reach"] == 100.0 and metrics["collision"] == metrics["long_enough"] == metrics["success"] == 0.0
    metrics = run(wrong)
    assert metrics["success"] == 100.0 and metrics["on_support"] == metrics["share_coverage@tau=0.1"] == 0.0
    assert metrics["bridge"] + metrics["astray"] == pytest.approx(100.0, abs=1e-3)


def leniency(task):
    world = world_of(task)
    return planar_metrics.leniency(world.layout, world.weights @ world.occurrence)


def test_leniency_is_that_of_demonstrations():
    for name, num_modes in (("radial", 8), ("corridor", 8)):
        task = planar.make(name, num_modes)
        layout = world_of(task).layout
        length = np.linalg.norm(np.diff(noisy(layout, layout.paths), axis=1), axis=-1).sum(1).mean()
        reach_radius, least = leniency(task)
        assert reach_radius == 0.1 and least == pytest.approx(length / 2, rel=0.01)
    assert leniency(planar.make("radial", 8, chunk=120))[1] > 0.4  # a spoke without noise is that long
    loud = leniency(planar.make("radial", 2, noise=0.03))
    assert loud[0] == pytest.approx(scipy.stats.rayleigh.mean(scale=0.03) + 5 * scipy.stats.rayleigh.std(scale=0.03))


@pytest.mark.parametrize(
    ("name", "num_modes", "expected"),
    [
        ("circle", None, 0.28),
        ("sequential", None, 0.018),
        ("radial", 8, 0.017),
        ("radial", 16, 0.013),
        ("corridor", 8, 0.029),
        ("corridor", 16, 0.022),
    ],
)
def test_beta_crit_of_the_published_loss(name, num_modes, expected):
    """Mean absolute error of displacements scaled to [-1, 1] by their extremes, as published; these differ from draw to draw."""
    layout = layout_of(name, num_modes)
    count = len(layout.paths)
    mode = np.arange(960) % count
    steps = np.diff(noisy(layout, layout.paths, num=960), axis=1)
    low, high = steps.min((0, 1)), steps.max((0, 1))
    steps = 2 * (steps - low) / (high - low) - 1

    def loss(rows):
        return np.mean(np.abs(rows - np.median(rows, axis=0)))

    gain = loss(steps) - np.mean([loss(steps[mode == k]) for k in range(count)])
    assert theory.beta_crit(gain, np.full(count, 1 / count), 0.1) == pytest.approx(expected, rel=0.15)


def test_codes_of_a_circle_are_judged_by_what_they_decode_to():
    """A code is the mode's sign, seldom wrong by Gaussian noise, and decodes to the mode; a decoder that ignores it is half wrong."""
    task, scale = planar.VARIANTS["planar_circle"], 0.6
    obs, action = task.demonstrations(jax.random.key(0), 400)
    (up, down), _ = task.modes(obs[:1])
    towards = (down - up)[0]

    def policy(decode):
        sign = lambda action: jnp.sign((action - (up + down) / 2) @ towards)[:, None]  # noqa: E731
        encode = lambda obs, action: (sign(action), jnp.full_like(sign(action), np.log(scale)))  # noqa: E731
        latents = Latents(encode, decode, lambda obs, action: jnp.zeros(action.shape[0]))
        draw = lambda key, obs, num: decode(jax.random.normal(key, (num, obs.shape[0], 1)), obs)  # noqa: E731
        return Conditional(draw, None, latents=latents)

    data = Data(Batch(obs, action), Batch(obs, action), jnp.ones(400, bool))
    run = jax.jit(
        lambda which: task.evaluate(jax.random.key(1), policy(which), data, task.evaluation), static_argnums=0
    )
    telling = run(lambda latent, obs: jnp.where(latent > 0, down[0], up[0]))
    wrong, error = 100 * scipy.stats.norm.cdf(-1 / scale), 500 * np.sqrt(0.05 / 1600)
    assert telling["decoding_error"] == pytest.approx(wrong, abs=error)
    assert telling["reconstructed"] == pytest.approx(100 - wrong, abs=error)
    assert telling["zero_on_support"] == 100
    assert telling["draw_variance"] == pytest.approx(100, abs=2)
    assert 0.4 < telling["information"] < np.log(2)
    blind = run(lambda latent, obs: jnp.broadcast_to((up + down)[0] / 2, (*latent.shape[:-1], 120)))
    assert blind["reconstructed"] == blind["zero_on_support"] == 0
    assert blind["draw_variance"] == pytest.approx(0, abs=1e-3)
    assert blind["decoding_error"] == pytest.approx(50)
    assert blind["reconstruction@squared"] == pytest.approx(float(blind["spread@squared"]), rel=0.01)
