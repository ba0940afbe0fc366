"""Push-T: the recording is verified and cut by episode, and the simulator is the one that it was made in."""

import functools
import pathlib
import shutil
import zipfile

import jax
import numpy as np
import pytest

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import pusht
from ebgan_mdn_jax.envs import gymnasium as adapter
from ebgan_mdn_jax.evaluation import modality
from ebgan_mdn_jax.policy import Policy
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.tasks import pusht as task
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import InputError
from experiments import config, evaluation, run
from experiments.benchmarks import pusht as benchmark

gym_pusht = pytest.importorskip("gym_pusht", reason="extra pusht is not installed")
zarr = pytest.importorskip("zarr", reason="extra pusht is not installed")


@pytest.fixture
def folder(recordings):
    """The published recording."""
    return recordings / pusht.PLACES[1]


@pytest.fixture
def copy(folder, tmp_path):
    """One to be spoilt."""
    shutil.copytree(folder, tmp_path / pusht.NAME)
    for path in [tmp_path / pusht.NAME, *(tmp_path / pusht.NAME).rglob("*")]:
        path.chmod(0o755)
    return tmp_path / pusht.NAME


@functools.cache
def published(folder):
    return pusht.read(pathlib.Path(folder))


# The recording


def test_the_published_recording_is_cut_by_episode(folder):
    group = zarr.open_group(str(folder), mode="r")
    state, action, ends = (np.asarray(group[at][:]) for at in ("data/state", "data/action", "meta/episode_ends"))
    splits = pusht.to_splits(published(folder), TASKS["pusht_8"].spec)
    first = ends[-pusht.NUM_HELDOUT - 1]  # the first step that is held out
    train, heldout = (splits[name] for name in pusht.SPLITS)
    assert (len(train.obs), len(heldout.obs)) == (first, len(state) - first) == (22_908, 2_742)
    np.testing.assert_array_equal(np.concatenate([train.obs, heldout.obs])[:, 5:], state)
    np.testing.assert_array_equal(np.concatenate([train.action, heldout.action])[:, :2], action)
    np.testing.assert_array_equal(heldout.obs[0], np.tile(state[first], 2))  # before the start the first one stands in
    np.testing.assert_array_equal(heldout.obs[9, :5], state[first + 8])
    np.testing.assert_array_equal(heldout.action[3], action[first + 3 : first + 11].ravel())
    np.testing.assert_array_equal(train.action[-1], np.tile(action[first - 1], 8))  # no chunk spans two episodes
    assert TASKS["pusht_8"].num_demonstrations == len(train.obs)
    for name, steps in (("pusht_1", 1), ("pusht_16", 16)):
        assert pusht.to_splits(published(folder), TASKS[name].spec)["train"].action.shape == (22_908, 2 * steps)


@pytest.mark.slow
def test_where_demonstrators_divide(folder):
    """Neighbours are of different training episodes with a whole chunk left; what leads as they do covers, what does not does not."""
    spec = TASKS["pusht_8"].spec
    splits = pusht.to_splits(published(folder), spec)
    train = published(folder)[: -pusht.NUM_HELDOUT]
    owner, whole = task._episodes(splits["train"])
    lengths = [len(episode.obs) for episode in train]
    np.testing.assert_array_equal(owner, np.repeat(np.arange(len(train)), lengths))
    np.testing.assert_array_equal(whole, np.concatenate([np.arange(n) + 8 <= n for n in lengths]))
    found = task.bimodal_neighbourhoods(**splits)
    assert 50 < len(found.obs) < 300 and found.points.shape[1:] == (task.NUM_NEIGHBOURS, 2)
    scale = splits["train"].obs[whole].std(axis=0)
    distance = np.linalg.norm((splits["train"].obs - found.obs[0]) / scale, axis=1)
    nearest = sorted(np.where(whole & (owner == e), distance, np.inf).argmin() for e in range(len(train)))
    nearest = sorted(nearest, key=lambda row: distance[row])[: task.NUM_NEIGHBOURS]
    leads = [splits["train"].action[row, 14:] - splits["train"].obs[row, 5:7] for row in nearest]
    np.testing.assert_allclose(found.points[0], leads, atol=1e-3)

    config = TASKS["pusht_8"].evaluation.__class__(num_inputs=10, num_draws=48)
    rows = Data(splits["train"], splits["heldout"], np.ones(len(splits["heldout"].obs), bool), found)

    def judged(points):
        """Draws that lead to each of ``points [Q, n, 2]`` equally often; anywhere at other observations."""
        ends = np.moveaxis(np.tile(points, (1, 48 // points.shape[1], 1)), 1, 0)

        def sample(key, obs, num):
            if obs.shape[0] != len(found.obs):
                return jax.numpy.zeros((num, obs.shape[0], 16))
            return jax.numpy.tile(ends + obs[None, :, 5:7], 8)

        metrics = task.evaluate(spec, jax.random.key(0), Conditional(sample, None), rows, config)
        return float(metrics["bimodal_coverage"]), float(metrics["bimodal_off"])

    coverage, off = judged(found.points)
    assert coverage > 97 and off < 5
    assert judged(found.points[:, :1]) == (0.0, pytest.approx(0, abs=10))
    assert judged(found.points + 1000) == (0.0, 100.0)
    blurred = modality.null(jax.random.key(0), jax.numpy.asarray(np.tile(found.points, (1, 3, 1))))
    assert judged(blurred)[0] < 5  # one Gaussian with the same mean and covariance, not two ways


@pytest.mark.slow
def test_the_published_recording_is_loaded(recordings, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = data.load("pusht_1", recordings)
    expected = pusht.to_splits(published(folder), TASKS["pusht_1"].spec)
    for found, rows in ((dataset.train, expected["train"]), (dataset.heldout, expected["heldout"])):
        jax.tree.map(lambda ours, theirs: np.testing.assert_array_equal(ours[0], theirs), found, rows)
    assert dataset.num_folds == 1 and dataset.heldout_mask.all()
    assert abs(dataset.normalization.obs(dataset.train.obs)).max() <= 1
    with pytest.raises(InputError, match="pusht_1 is a recording of 22908 rows; leave it out"):
        data.load("pusht_1", recordings, num_demonstrations=5)


def change(copy, at, index, value):
    array = zarr.open_group(str(copy), mode="r+")[at]
    array[index] = value


def shorten(copy):
    """Without the last episode."""
    group = zarr.open_group(str(copy), mode="r+")
    group["meta/episode_ends"].resize((205,))
    for name in ("data/state", "data/action"):
        group[name].resize((int(group["meta/episode_ends"][-1]), group[name].shape[1]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda copy: change(copy, "data/state", (7, 2), 200.0), "has other values than the published recording"),
        (lambda copy: change(copy, "data/action", (25_649, 1), 1.0), "has other values than the published recording"),
        (lambda copy: change(copy, "meta/episode_ends", 3, 500), "has other values than the published recording"),
        (shorten, "has 205 episodes and 25601 steps, expected 206 and 25650; replace it"),
        (lambda copy: next((copy / "data" / "action").glob("0.0")).unlink(), "pieces of data/action are missing"),
        (lambda copy: shutil.rmtree(copy / "meta"), "has no episode_ends"),
    ],
    ids=["state", "action", "ends", "cut short", "piece", "no ends"],
)
def test_a_damaged_recording_is_refused(copy, damage, said):
    damage(copy)
    with pytest.raises(InputError) as error:
        data.load("pusht_8", copy.parent)
    assert said in str(error.value) and "\n" not in str(error.value) and str(copy) in str(error.value)


def archive(folder, path, others=()):
    with zipfile.ZipFile(path, "w") as opened:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "keypoint" not in file.parts:
                opened.write(file, f"pusht/{pusht.NAME}/{file.relative_to(folder)}")
        for name in others:
            opened.writestr(name, b"harm")


def test_the_archive_is_read_and_nothing_is_written_elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pusht, "URL", (tmp_path / "pusht.zip").as_uri())
    monkeypatch.setattr(pusht.tempfile, "tempdir", str(tmp_path))
    outside = [f"pusht/{pusht.NAME}/data/action/../../../../../../harm", "/harm", "../harm"]
    archive(folder, tmp_path / "pusht.zip", [*outside, f"pusht/{pusht.NAME}/data/img/0.0.0.0"])
    jax.tree.map(np.testing.assert_array_equal, pusht.download(), published(folder))
    assert [path.name for path in tmp_path.rglob("*")] == ["pusht.zip"]
    content = (tmp_path / "pusht.zip").read_bytes()
    for spoilt, said in (
        (content[: len(content) // 2], "is no archive"),
        (content.replace(b"data/action", b"data/motion"), "has no action"),
        (b"", "is no archive"),
    ):
        (tmp_path / "pusht.zip").write_bytes(spoilt)
        with pytest.raises(InputError, match=said) as error:
            pusht.download()
        assert "\n" not in str(error.value)
    monkeypatch.setattr(pusht, "URL", "http://127.0.0.1:9/pusht.zip")
    with pytest.raises(InputError, match=f"no local copy, .* put {pusht.NAME} into a folder and give it by --data_dir"):
        pusht.download()


# The simulator


def test_demonstrations_replay_in_the_simulator(folder):
    """Angle and reference point of the block are those of the recording, so that its actions lead where it went."""
    rewards, apart = zip(*map(benchmark.replay, published(folder)[::20]), strict=True)
    assert np.all(np.median(apart, axis=0) < 1e-3)  # pixels and radians
    assert 0.9 < np.mean([values.max() for values in rewards]) < 0.97


def test_the_score_is_that_of_a_plain_loop():
    import gymnasium

    def act(key, obs):
        """To the block, 8 times."""
        return np.tile(obs[:, 7:9], 8)

    config = TASKS["pusht_8"].evaluation
    assert config.num_samples == 50 and config.execute == 8 and TASKS["pusht_16"].evaluation.execute == 8
    found = TASKS["pusht_8"].simulate(jax.random.key(0), act, config.__class__(num_samples=2, execute=3))
    env, best = gymnasium.make("gym_pusht:gym_pusht/PushT-v0"), []
    for seed in (task.FIRST_SEED, task.FIRST_SEED + 1):
        obs, rewards, over, action = env.reset(seed=seed)[0], [], False, None
        while not over:
            action = obs[2:4] if len(rewards) % 3 == 0 else action
            obs, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
            rewards.append(reward)
            over = terminated or truncated
        best.append(max(rewards))
    assert found["score"] == pytest.approx(100 * np.mean(best), abs=0.01) and 0 < found["score"] < 100
    assert found["success"] == 0 and found["length"] == 300


def test_what_cannot_be_judged_is_told_before_training(monkeypatch):
    config = TASKS["pusht_1"].evaluation
    TASKS["pusht_1"].require(config)
    with pytest.raises(InputError, match="evaluation.execute=2: chunks have 1 steps"):
        TASKS["pusht_1"].require(config.__class__(execute=2))
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ebgan_mdn_jax\[pusht\]'"):
        TASKS["pusht_8"].require(TASKS["pusht_8"].evaluation)


@pytest.mark.slow
def test_every_seed_of_a_run_is_judged_by_its_own_episodes(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = ("train.steps=50", "method.hidden=(16,)", "evaluation.num_samples=3", "evaluation.num_inputs=5")
    made = config.make_config("pusht_1", "explicit_bc", 2, 4, settings)
    results = run.train(made, tmp_path / "run", str(recordings), log=lambda line: None)
    for index, seed in enumerate((4, 5)):
        act = Policy.load(tmp_path / "run", index).act
        key = jax.random.fold_in(jax.random.key(evaluation._EVALUATION_SEED), seed)
        for name, value in TASKS["pusht_1"].simulate(key, act, made.evaluation).items():
            assert results["metrics"][name][index] == pytest.approx(value, rel=1e-3), (name, seed)
    assert results["metrics"]["score"][0] != results["metrics"]["score"][1]
    assert (
        results["validation"]["metric"] == "score"
        and {"energy_score", "marginal_w1", "bimodal_off"} <= results["metrics"].keys()
    )
