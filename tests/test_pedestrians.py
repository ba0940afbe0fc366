"""Pedestrians: the recordings are the published ones, windows are Social GAN's, and metrics are what they say of known ways."""

import hashlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import pedestrians as recording
from ebgan_mdn_jax.tasks import TASKS, pedestrians
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch, InputError

LINES = "0\t1.0\t0.5\t-1.5\n10\t1.0\t1.0\t-1.5\n10\t2.0\t3.0\t4.0\n"


def one_line(error):
    message = str(error.value)
    assert message and "\n" not in message
    return message


@pytest.fixture
def small_files(tmp_path, monkeypatch):
    """Eight small recordings in place of the published ones, in the folder of the user's copies."""
    (tmp_path / "eth_ucy").mkdir()
    files = {}
    for index, name in enumerate(recording.FILES):
        values = walks(seed=index)
        text = "".join("\t".join(map(repr, row)) + "\n" for row in values.tolist())
        (tmp_path / "eth_ucy" / f"{name}.txt").write_text(text)
        files[name] = (len(values), 3, hashlib.sha256(values.astype("<f8").tobytes()).hexdigest())
    monkeypatch.setattr(recording, "FILES", files)
    return tmp_path


def walks(seed=0):
    """Three pedestrians of 24, 21 and 8 frames who walk at random; the second stands. Frames are apart by 10 but for one gap."""
    rng = np.random.default_rng(seed)
    rows = []
    for pedestrian, first, last in ((3.0, 0, 24), (5.0, 2, 23), (9.0, 10, 18)):
        pace = rng.normal(size=2) * (pedestrian != 5)
        place = rng.normal(size=2) + np.cumsum(pace + 0.01 * rng.normal(size=(last - first, 2)), axis=0)
        rows += [(10.0 * t, pedestrian, *place[t - first]) for t in range(first, last)]
    return np.asarray(sorted(rows))


# Files


def test_the_published_recordings_are_accepted_and_have_as_many_pedestrians_as_noted(recordings):
    for name, (num_rows, num_pedestrians, _) in recording.FILES.items():
        values = recording.read(recordings / "eth_ucy" / f"{name}.txt")
        assert values.shape == (num_rows, 4) and len(np.unique(values[:, 1])) == num_pedestrians
    assert sum(tracks for _, tracks, _ in recording.FILES.values()) == 2205


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2].rsplit("\n", 1)[0], "expected (53, 4)"),
        (lambda text: text[: len(text) // 2], "eth.txt: "),
        (lambda text: "", "has shape (0,"),
        (lambda text: text.replace("\t", ","), "not rows of four numbers"),
        (lambda text: text.replace("3.0", "three"), "not rows of four numbers"),
        (lambda text: text.replace("10.0\t3.0", "11.0\t3.0", 1), "other values than the published recording"),
    ],
    ids=["short", "cut in a row", "empty", "commas", "word", "digit"],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_damaged_files_are_refused_in_one_line(small_files, damage, said):
    path = small_files / "eth_ucy" / "biwi_eth.txt"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError) as error:
        data.load("pedestrians_hotel", small_files)
    message = one_line(error)
    assert said in message and message.startswith(str(path)) and recording.URL in message


def test_missing_files_are_refused_in_one_line(small_files, tmp_path):
    with pytest.raises(InputError, match=r"no biwi_eth.txt or eth_ucy/biwi_eth.txt in .*put the 8 files there"):
        data.load("pedestrians_eth", tmp_path / "elsewhere")
    (small_files / "eth_ucy" / "uni_examples.txt").unlink()
    with pytest.raises(InputError) as error:
        data.load("pedestrians_eth", small_files)
    assert "uni_examples.txt: cannot be read" in one_line(error)


def test_spelling_of_numbers_does_not_matter(small_files):
    path = small_files / "eth_ucy" / "biwi_eth.txt"
    before = recording.read(path)
    path.write_text(path.read_text().replace(".0\t", "\t").replace("\n", "\r\n"))
    np.testing.assert_array_equal(recording.read(path), before)


def test_files_are_downloaded_once_and_checked(small_files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(recording, "URL", (small_files / "eth_ucy").as_uri())
    expected = data.load("pedestrians_eth", small_files)
    jax.tree.map(np.testing.assert_array_equal, data.load("pedestrians_eth"), expected)
    monkeypatch.setattr(recording, "URL", "http://127.0.0.1:9")
    jax.tree.map(np.testing.assert_array_equal, data.load("pedestrians_eth"), expected)
    (data.cache_dir() / "eth_ucy" / "biwi_eth.txt").unlink()
    with pytest.raises(InputError) as error:
        data.load("pedestrians_eth")
    assert "no local copy" in one_line(error) and "--data_dir" in one_line(error)


# Windows


def slow_windows(values):
    """Frame by frame and pedestrian by pedestrian, as Social GAN's code goes about it: ways ``[n, 20, 2]``."""
    frames = sorted(set(values[:, 0]))
    ways = []
    for first in range(len(frames) - 19):
        wanted = frames[first : first + 20]
        rows = values[np.isin(values[:, 0], wanted)]
        found = []
        for pedestrian in sorted(set(rows[:, 1])):
            of_one = rows[rows[:, 1] == pedestrian]
            if len(of_one) == 20:
                found.append(of_one[np.argsort(of_one[:, 0]), 2:])
        if len(found) > 1:
            ways += found
    return np.asarray(ways)


def world(batch, crowd):
    """Observed (but the last) and following positions ``[n, 7, 2]``, ``[n, 12, 2]``, of rows, in the recording's own frame."""
    obs = batch.obs.astype(float).reshape(-1, 7, 2)
    ahead = batch.action.astype(float).reshape(-1, 12, 2) - np.arange(1, 13)[None, :, None] * obs[:, -1:]
    cos, sin = crowd.heading.T
    axes = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    return tuple(np.einsum("bij,btj->bti", axes, part) + crowd.origin[:, None] for part in (obs, ahead))


@pytest.mark.parametrize("name", ["random", "biwi_eth"])
def test_windows_are_those_of_a_slow_search(name, request):
    values = walks()
    if name != "random":
        values = recording.read(request.getfixturevalue("recordings") / "eth_ucy" / f"{name}.txt")
    batch, crowd = recording.windows(values)
    ways = slow_windows(values)
    assert len(ways) == len(batch.obs) == {"random": 4, "biwi_eth": 181}[name]
    observed, ahead = world(batch, crowd)
    np.testing.assert_allclose(observed, ways[:, :7], atol=1e-5)
    np.testing.assert_allclose(crowd.origin, ways[:, 7])
    np.testing.assert_allclose(ahead, ways[:, 8:], atol=1e-5)
    # The first axis is the way so far.
    walked = np.linalg.norm(ways[:, 7] - ways[:, 0], axis=1)
    first = batch.obs[:, :2].astype(float)
    moving = walked >= 0.2
    assert moving.any() and not moving.all()
    np.testing.assert_allclose(first[moving], np.stack([-walked, 0 * walked], 1)[moving], atol=1e-5)
    np.testing.assert_array_equal(crowd.heading[~moving], np.broadcast_to([1.0, 0.0], (np.sum(~moving), 2)))


def test_a_crowd_has_everyone_where_they_are():
    values = walks()
    batch, crowd = recording.windows(values)
    _, ahead = world(batch, crowd)
    ids = np.unique(values[:, 1])
    for row in range(len(ahead)):
        for t in range(12):
            frame = crowd.start[row] + t
            expected = values[values[:, 0] == 10.0 * frame]
            there = crowd.pedestrian[frame] >= 0
            np.testing.assert_array_equal(ids[crowd.pedestrian[frame][there]], expected[:, 1])
            np.testing.assert_allclose(crowd.position[frame][there], expected[:, 2:])
            own = crowd.position[frame][crowd.pedestrian[frame] == crowd.own[row]]
            np.testing.assert_allclose(own, ahead[row, t][None], atol=1e-5)


def test_scenes_have_the_published_numbers_of_windows_and_share_none(recordings):
    """Of test scenes as in the code of Social GAN: 181, 1053, 24334, 2253 and 5833 pedestrians."""
    total = sum(pedestrians.NUM_WINDOWS.values())
    assert list(pedestrians.NUM_WINDOWS) == list(recording.SCENES)
    assert sorted(name for files in recording.SCENES.values() for name in files) == sorted(recording.FILES)
    for scene, num in pedestrians.NUM_WINDOWS.items():
        dataset = data.load(f"pedestrians_{scene}", recordings)
        assert dataset.heldout.obs.shape == (1, num, 14) and dataset.train.action.shape == (1, total - num, 24)
        assert dataset.heldout_mask.all() and dataset.num_rows == TASKS[f"pedestrians_{scene}"].num_demonstrations
        rows = [np.concatenate(part, axis=-1)[0] for part in (dataset.train, dataset.heldout)]
        walking = [set(map(bytes, part[part[:, 0] < -0.5])) for part in rows]  # some who stand are alike
        assert walking[1] and not walking[0] & walking[1]
        # The boxes hold nearly all that they are for.
        spec = dataset.spec
        for values, low, high in (
            (dataset.train.obs, spec.obs_low, spec.obs_high),
            (dataset.train.action, spec.action_low, spec.action_high),
        ):
            assert np.mean((values >= low) & (values <= high)) > 0.85  # some who stand have moved back a little


def test_crowds_of_several_recordings_are_put_one_after_another(recordings):
    context = data.load("pedestrians_univ", recordings).context
    assert context.position.shape == (1, 444 + 541, 75, 2)
    parts = [
        recording.windows(recording.read(recordings / "eth_ucy" / f"{name}.txt")) for name in recording.SCENES["univ"]
    ]
    assert np.max(context.start[0, :14_295]) < 444 <= np.min(context.start[0, 14_295:])
    row, of_second = 14_295 + 77, parts[1][1]
    frame, own = context.start[0, row] + 3, context.own[0, row]
    place = context.position[0, frame][context.pedestrian[0, frame] == own]
    _, ahead = world(*parts[1])
    np.testing.assert_allclose(place, ahead[77, 3][None], atol=1e-4)
    np.testing.assert_allclose(context.origin[0, row], of_second.origin[77], atol=1e-5)


# Judging


def known_rows(num=3):
    """Rows ``[num, ...]`` of pedestrians who walk 0.5 m a step along the first axis and turn to the left later, alone."""
    obs = np.stack([-0.5 * np.arange(7, 0, -1), np.zeros(7)], -1).reshape(-1)
    action = np.stack([np.zeros(12), 0.01 * np.arange(1, 13) ** 2], -1).reshape(-1)
    batch = Batch(*(np.broadcast_to(x.astype(np.float32), (num, x.size)) for x in (obs, action)))
    crowd = pedestrians.Crowd(
        np.zeros((40, 1, 2), np.float32),
        np.full((40, 1), -1),
        np.full(num, 8),
        np.zeros(num, int),
        np.zeros((num, 2), np.float32),
        np.tile(np.asarray([1.0, 0.0], np.float32), (num, 1)),
    )
    return batch, crowd


def judged(policy, batch, crowd, **changes):
    config = TASKS["pedestrians_eth"].evaluation
    config = type(config)(**{"num_inputs": config.num_inputs, "num_draws": config.num_draws} | changes)
    rows = jax.tree.map(jnp.asarray, Data(batch, batch, np.ones(len(batch.obs), bool), crowd))
    return jax.jit(lambda key: pedestrians.evaluate(key, policy, rows, config))(jax.random.key(0))


def test_metrics_of_known_draws():
    """Draws are off by 1 to 20 cm in the second coordinate, and the last one by 30 cm on the way and nothing at the end."""
    batch, crowd = known_rows()

    def sample(key, obs, num):
        off = 0.01 * jnp.arange(1, num + 1)[:, None] * jnp.ones((1, 12))
        off = off.at[-1].set(jnp.where(jnp.arange(12) == 11, 0.0, 0.3))
        return batch.action[:1][None] + jnp.stack([0 * off, off], -1).reshape(num, 1, 24) + jnp.zeros((1, len(obs), 1))

    metrics = judged(Conditional(sample, lambda obs, action: jnp.full(len(obs), -3.0)), batch, crowd)
    assert set(metrics) == {"min_ade@N=20", "min_fde@N=20", "ade", "collision_free", "heldout_nll"}
    expected = {"min_ade@N=20": 0.01, "min_fde@N=20": 0.0, "heldout_nll": 3.0, "collision_free": 100.0}
    expected["ade"] = (0.01 * sum(range(1, 20)) + 0.3 * 11 / 12) / 20
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize(("num", "num_inputs"), [(1, 25_000), (300, 25_000), (600, 300)])
def test_every_window_counts_once(num, num_inputs):
    """Rows are told apart by their first number; with fewer inputs they are evenly spaced."""
    batch, crowd = known_rows(num)
    batch = batch._replace(obs=np.concatenate([np.arange(num, dtype=np.float32)[:, None], batch.obs[:, 1:]], 1))

    def sample(key, obs, num_samples):
        off = jnp.broadcast_to(obs[:, :1] / num, (len(obs), 12))
        actions = batch.action[:1] + jnp.stack([off, 0 * off], -1).reshape(len(obs), 24)
        return jnp.broadcast_to(actions, (num_samples, *actions.shape))

    used = np.arange(min(num, num_inputs)) * num // min(num, num_inputs)
    metrics = judged(Conditional(sample, None), batch, crowd, num_inputs=num_inputs, num_draws=2)
    assert metrics["min_ade@N=2"] == pytest.approx(np.mean(used) / num, rel=1e-4, abs=1e-6)
    assert "heldout_nll" not in metrics


def test_collisions_are_with_others_at_the_same_moment():
    """A pedestrian at (10, 5) who heads north meets others in the frame of the recording; itself and empty places do not count."""
    near = 0.099
    position, pedestrian = np.zeros((30, 3, 2)), np.full((30, 3), -1)
    pedestrian[:, 0], position[:, 0] = 7, [[10, 5 + 0.5 * t] for t in range(30)]  # itself, which goes as predicted
    pedestrian[5, 1], position[5, 1] = 4, [10 - near, 5 + 0.5 * 5]
    position[:, 2] = position[:, 0]  # of nobody
    ahead = np.stack([0.5 * np.arange(12), np.zeros(12)], -1).astype(np.float32)
    aside = ahead - np.asarray([0.0, 0.002], np.float32)  # to the right, away from the other on the left

    def hits(points, start=0, own=7):
        crowd = pedestrians.Crowd(
            *map(jnp.asarray, (position, pedestrian, [start], [own], [[10.0, 5.0]], [[0.0, 1.0]]))
        )
        return np.asarray(jax.jit(pedestrians.collisions)(points[None, None], crowd)).item()

    assert hits(ahead) and not hits(aside)
    assert not hits(ahead, start=1)  # where the other was before
    assert not hits(ahead, start=10)
    assert hits(aside, own=6)  # pedestrian 7 is then another one, 2 mm away


def test_constant_velocity_turns_by_a_gaussian_angle():
    """Of 4,000 draws; the standard error of a deviation of 25 degrees is 0.28."""
    batch, _ = known_rows()
    draws = jax.jit(pedestrians.constant_velocity, static_argnums=2)(jax.random.key(0), batch.obs, 4000)
    draws = np.asarray(draws)[:, 0].reshape(4000, 12, 2)
    points = np.asarray(draws) + np.asarray(pedestrians.extrapolated(batch.obs)[0])
    np.testing.assert_allclose(
        np.asarray(pedestrians.extrapolated(batch.obs))[0, :, 0], 0.5 * np.arange(1, 13), rtol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(points, axis=-1), np.broadcast_to(0.5 * np.arange(1, 13), (4000, 12)), rtol=1e-4
    )
    angle = np.degrees(np.arctan2(points[..., 1], points[..., 0]))
    np.testing.assert_allclose(angle, np.broadcast_to(angle[:, :1], angle.shape), atol=1e-2)
    assert abs(np.mean(angle[:, 0])) < 5 * 25 / math.sqrt(4000)
    assert np.std(angle[:, 0]) == pytest.approx(25, abs=5 * 0.28)


def test_the_baseline_scores_on_eth_what_numpy_says(recordings):
    """Independent draws of 20 angles; the bounds are five deviations of the mean over 181 windows, from repeated draws."""
    ways = slow_windows(recording.read(recordings / "eth_ucy" / "biwi_eth.txt"))
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(20):
        angle = np.radians(rng.normal(0, 25, (20, len(ways))))
        step = ways[:, 7] - ways[:, 6]
        turned = np.stack(
            [
                np.cos(angle) * step[:, 0] - np.sin(angle) * step[:, 1],
                np.sin(angle) * step[:, 0] + np.cos(angle) * step[:, 1],
            ],
            -1,
        )
        points = ways[:, 7][None, :, None] + turned[:, :, None] * np.arange(1, 13)[:, None]
        apart = np.linalg.norm(points - ways[None, :, 8:], axis=-1)
        scores.append((apart.mean(-1).min(0).mean(), apart[..., -1].min(0).mean(), apart.mean()))
    dataset = data.load("pedestrians_eth", recordings)
    metrics = judged(
        TASKS["pedestrians_eth"].baseline[1], *jax.tree.map(lambda leaf: leaf[0], (dataset.heldout, dataset.context))
    )
    for name, column in zip(("min_ade@N=20", "min_fde@N=20", "ade"), np.asarray(scores).T, strict=True):
        assert metrics[name] == pytest.approx(column.mean(), abs=5 * column.std() * math.sqrt(1.05)), name
