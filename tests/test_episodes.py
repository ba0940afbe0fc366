"""Own demonstrations: windows stay within episodes, constant dimensions do no harm, and whatever is wrong is said in one line."""

import io
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import episodes, formats, npz
from ebgan_mdn_jax.tasks import TASKS, find, recorded
from ebgan_mdn_jax.tasks.base import Conditional, Data, EvaluationConfig
from ebgan_mdn_jax.types import Batch, InputError, Spec
from experiments import config as configs
from experiments import evaluation, program, run, train
from tests.test_run import call

LENGTHS = (5, 1, 7, 4)


def made(lengths=LENGTHS, obs_dim=2, action_dim=1):
    """Episodes whose values tell which step of which episode they are: 100 e + t, and a tenth of a dimension's index."""
    return [
        Batch(
            *(
                100.0 * e + sign * np.arange(length)[:, None] + 0.1 * np.arange(dim)
                for sign, dim in ((1, obs_dim), (-1, action_dim))
            )
        )
        for e, length in enumerate(lengths)
    ]


def arrays(recorded_episodes):
    obs, action = (np.concatenate(parts) for parts in zip(*recorded_episodes, strict=True))
    return {"obs": obs, "action": action, "episode_ends": np.cumsum([len(e.obs) for e in recorded_episodes])}


def saved(path, **changes):
    content = {name: value for name, value in (arrays(made()) | changes).items() if value is not None}
    np.savez(path, **content)
    return path


def refused(function, *args, **kwargs):
    with pytest.raises(InputError) as error:
        function(*args, **kwargs)
    message = str(error.value)
    assert message and "\n" not in message and len(message) < 400
    return message


# Windows


@pytest.mark.parametrize(("history", "chunk"), [(1, 1), (3, 1), (1, 4), (2, 3), (9, 9)])
def test_windows_repeat_the_ends_and_never_span_two_episodes(history, chunk):
    for e, episode in enumerate(made()):
        rows = episodes.windows(episode, history, chunk)
        length = len(episode.obs)
        for t in range(length):  # the definition, step by step
            seen = [100 * e + max(0, t - j) for j in reversed(range(history))]
            done = [100 * e - min(length - 1, t + j) for j in range(chunk)]
            np.testing.assert_allclose(rows.obs[t].reshape(history, 2), np.add.outer(seen, [0.0, 0.1]))
            np.testing.assert_allclose(rows.action[t].reshape(chunk, 1), np.add.outer(done, [0.0]))


def test_held_out_rows_are_whole_episodes_and_every_step_is_one_row():
    dataset = data.from_episodes(made((3,) * 20), history=2, chunk=2, heldout_share=0.2)
    groups = [set((rows[0] // 100).astype(int).ravel().tolist()) for rows in (dataset.train.obs, dataset.heldout.obs)]
    assert groups[1] == {2, 7, 12, 17} and groups[0] == set(range(20)) - groups[1]  # evenly spaced
    assert dataset.train.obs.shape == (1, 16 * 3, 4) and dataset.heldout.action.shape == (1, 4 * 3, 2)
    assert dataset.train.obs.dtype == dataset.train.action.dtype == np.float32
    assert dataset.num_folds == 1 and dataset.num_rows == 48 and dataset.heldout_mask.all()


@pytest.mark.parametrize(("total", "share", "count"), [(2, 0.1, 1), (2, 0.9, 1), (10, 0.25, 2), (3, 0.99, 2)])
def test_some_episode_is_held_out_and_some_is_not(total, share, count):
    dataset = data.from_episodes(made((4,) * total), heldout_share=share)
    assert dataset.heldout.obs.shape[1] == 4 * count and dataset.train.obs.shape[1] == 4 * (total - count)


# Normalization


def test_boxes_are_the_range_of_training_episodes_the_same_for_all_steps():
    some = made((5, 6, 7, 8))
    some[2] = Batch(some[2].obs * 50, some[2].action * 50)  # held out
    dataset = data.from_episodes(some, history=2, chunk=3, heldout_share=0.25)
    kept = [some[i] for i in (0, 1, 3)]
    for part, repeats in (("obs", 2), ("action", 3)):
        values = np.concatenate([getattr(e, part) for e in kept])
        np.testing.assert_allclose(getattr(dataset.spec, f"{part}_low"), np.tile(values.min(0), repeats), rtol=1e-6)
        np.testing.assert_allclose(getattr(dataset.spec, f"{part}_high"), np.tile(values.max(0), repeats), rtol=1e-6)
    unit = dataset.normalization.batch(jax.tree.map(jnp.asarray, dataset.train))
    for values in unit:
        np.testing.assert_allclose([np.min(values), np.max(values)], [-1, 1], atol=1e-6)


@pytest.mark.parametrize(("units", "power"), [("std", 1.0), ("sqrt_std", 0.5)])
def test_observations_may_be_in_deviations_of_training_steps(units, power):
    some = made((5, 6, 7, 8))
    some = [Batch(np.hstack([e.obs, np.full((len(e.obs), 1), 3.0)]), e.action) for e in some]
    dataset = data.from_episodes(some, history=2, heldout_share=0.25, obs_units=units)
    # Every step once, however often rows show it.
    steps = np.concatenate([some[i].obs for i in (0, 1, 3)]).astype(np.float32)
    std = np.where(np.arange(3) == 2, 1.0, np.std(steps, axis=0)) ** power
    expected = (dataset.train.obs - np.tile(steps.mean(0), 2)) / np.tile(std, 2)
    unit = dataset.normalization.batch(jax.tree.map(jnp.asarray, dataset.train))
    np.testing.assert_allclose(unit.obs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(unit.obs[..., [2, 5]], 0.0)  # constant, and finite
    plain = data.from_episodes(some, history=2, heldout_share=0.25)
    assert dataset.spec == plain.spec
    np.testing.assert_allclose([np.min(unit.action), np.max(unit.action)], [-1, 1], atol=1e-6)


def test_the_box_of_actions_may_be_wider_than_they_are():
    some = [Batch(e.obs, np.hstack([e.action, np.full((len(e.obs), 1), -2.0)])) for e in made((5, 6, 7))]
    plain, wide = (data.from_episodes(some, chunk=2, action_margin=margin) for margin in (0.0, 0.05))
    extent = np.subtract(plain.spec.action_high, plain.spec.action_low)
    np.testing.assert_allclose(np.subtract(wide.spec.action_high, plain.spec.action_high), 0.05 * extent, rtol=1e-6)
    np.testing.assert_allclose(np.subtract(wide.spec.action_low, plain.spec.action_low), -0.05 * extent, rtol=1e-6)
    assert extent[1] == 0.0 and wide.spec.obs_low == plain.spec.obs_low
    unit = wide.normalization.action(jnp.asarray(wide.train.action))
    np.testing.assert_allclose([np.min(unit), np.max(unit)], [-1 / 1.1, 1 / 1.1], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, -1e6, 0.1])
@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_a_constant_dimension_is_only_shifted(value, rounding):
    """Even where rounding makes it vary: stretched to the box, that would be noise as large as any signal."""
    noise = rounding * np.random.default_rng(0).standard_normal((6, 8, 1))
    some = [
        Batch(np.hstack([e.obs, value * (1 + n)]), np.hstack([e.action, value * (1 + n)]))
        for e, n in zip(made((8,) * 6), noise, strict=True)
    ]
    dataset = data.from_episodes(some)
    assert dataset.normalization.obs_scale[2] == dataset.normalization.action_scale[1] == 1.0
    unit = dataset.normalization.batch(jax.tree.map(jnp.asarray, dataset.heldout))
    assert np.all(np.abs(unit.obs[..., 2]) <= 1e-6 * max(1.0, abs(value)))
    assert np.all(np.isfinite(unit.action))


# What is wrong is said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e[0].obs.fill(np.nan), "obs of episode 0, step 0, dimension 0 is nan, expected finite"),
        (lambda e: e[3].action.__setitem__((2, 0), np.inf), "action of episode 3, step 2, dimension 0 is inf"),
        (lambda e: e[3].action.__setitem__((2, 0), 1e39), "action of episode 3, step 2, dimension 0 is inf"),
        (lambda e: e.__setitem__(1, Batch(e[1].obs[:0], e[1].action[:0])), "obs of episode 1 is empty"),
        (lambda e: e.__setitem__(2, Batch(e[2].obs[:-1], e[2].action)), "episode 2 has 6 observations and 7 actions"),
        (lambda e: e.__setitem__(2, Batch(e[2].obs[:, :1], e[2].action)), "episode 2 has 1 obs dimensions, episode 0 has 2"),
        (lambda e: e.__setitem__(2, Batch(e[2].obs, e[2].action[:, 0])), r"action of episode 2 has shape \(7,\), expected \[steps"),
        (lambda e: e.__setitem__(0, Batch(e[0].obs[:, :0], e[0].action)), "obs of episode 0 has no dimensions"),
        (lambda e: e.__setitem__(0, Batch(e[0].obs.astype(str), e[0].action)), "obs of episode 0 is of <U.*, expected real"),
        (lambda e: e.__setitem__(0, Batch(e[0].obs + 1j, e[0].action)), "obs of episode 0 is of complex128, expected real"),
        (lambda e: e.__delitem__(slice(1, None)), r"has 1 episode\(s\), expected at least 2"),
        (lambda e: e.clear(), r"has 0 episode\(s\), expected at least 2"),
    ],
)  # fmt: skip
def test_wrong_episodes_are_refused(change, said):
    some = made()
    change(some)
    message = refused(data.from_episodes, some, name="robot")
    assert message.startswith("robot: ") and re.search(said, message), message


def test_wrong_settings_are_refused():
    assert "data.history=0" in refused(data.from_episodes, made(), history=0)
    assert "data.chunk=0" in refused(data.from_episodes, made(), chunk=0)
    for share in (0.0, 1.0):
        assert f"data.heldout_share={share}" in refused(data.from_episodes, made(), heldout_share=share)
    said = refused(data.from_episodes, made(), obs_units="variance")
    assert said == "data.obs_units=variance: expected one of range, std, sqrt_std"
    for margin in (-0.1, np.inf, np.nan):
        assert f"data.action_margin={margin}" in refused(data.from_episodes, made(), action_margin=margin)


def rewarded(returns, lengths=LENGTHS):
    """`made` with rewards that sum to ``returns``, all earned by the last step."""
    return [
        (*episode, np.append(np.zeros(len(episode.obs) - 1), total))
        for episode, total in zip(made(lengths), returns, strict=True)
    ]


def test_the_episodes_of_highest_return_are_taken_in_their_order():
    episodes = rewarded([1.0, 5.0, -2.0, 5.0, 3.0], (5, 2, 7, 4, 3))
    dataset = data.from_episodes(episodes, heldout_share=0.5, top_return_share=0.5)  # 2.5 of 5 episodes: 3
    taken = np.unique(np.concatenate([dataset.train.obs[0, :, 0], dataset.heldout.obs[0, :, 0]]) // 100)
    np.testing.assert_array_equal(taken, [1, 3, 4])
    assert dataset.spec.obs_high[0] < 500  # boxes are theirs, too
    everything = data.from_episodes(episodes, heldout_share=0.5)
    assert everything.num_rows + everything.heldout.obs.shape[1] == 21
    tied = data.best_by_return([data.Episode(*e) for e in rewarded([1.0, 1.0, 1.0, 0.0], (1, 2, 3, 4))], 0.5)
    assert [len(e.obs) for e in tied] == [1, 2]


def test_returns_that_are_not_there_or_wrong_are_refused_where_they_matter():
    with_rewards = rewarded([1.0, 2.0, 3.0, 4.0])
    mixed = [*with_rewards[:2], *made()[2:]]
    assert "episode 2 has no rewards" in refused(data.from_episodes, mixed, top_return_share=0.5)
    assert "data.top_return_share=0.0" in refused(data.from_episodes, with_rewards, top_return_share=0.0)
    for reward, said in (
        (np.zeros(4), "reward of episode 0 has shape (4,), expected one number per step, [5]"),
        (np.full(5, np.nan), "reward of episode 0 sums to nan"),
        (np.full(5, "good"), "expected real numbers"),
    ):
        episodes = [(*made()[0], reward), *with_rewards[1:]]
        assert said in refused(data.from_episodes, episodes, top_return_share=0.5)
        data.from_episodes(episodes)  # all are taken, whatever their rewards
    column = [(obs, action, reward[:, None]) for obs, action, reward in with_rewards]
    assert data.from_episodes(column, top_return_share=0.5).spec.obs_low[0] >= 200
    assert "leaves 1 of 4 episodes" in refused(data.from_episodes, with_rewards, top_return_share=0.25)
    assert "all 4 returns are 0" in refused(data.from_episodes, rewarded([0.0] * 4), top_return_share=0.5)


def test_a_share_of_episodes_is_not_one_more_by_rounding():
    """0.55 times 100 is a little more than 55 in floating point."""
    episodes = [data.Episode(np.zeros((1, 1)), np.zeros((1, 1)), np.full(1, float(i))) for i in range(100)]
    assert [len(data.best_by_return(episodes, share)) for share in (0.55, 0.28, 0.07, 0.555)] == [55, 28, 7, 56]


def test_rewards_of_a_file_come_back(tmp_path):
    path = saved(tmp_path / "own.npz", reward=np.arange(17.0))
    assert [episode.reward.sum() for episode in npz.read(path)] == [10, 5, 63, 58]


def test_a_file_comes_back_as_its_episodes(tmp_path):
    path = saved(tmp_path / "own.npz")
    for ours, expected in zip(npz.read(path), made(), strict=True):
        np.testing.assert_array_equal(ours.obs, expected.obs)
        np.testing.assert_array_equal(ours.action, expected.action)
    np.savez_compressed(path, notes=np.arange(3), **arrays(made()))  # more than is needed does no harm
    assert [len(e.obs) for e in formats.read(path, formats.checksum(path))] == list(LENGTHS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action": None}, r"has no action; expected obs \[steps, Do\].*\(found: episode_ends, obs\)"),
        ({"obs": None, "episode_ends": None}, "has no obs and no episode_ends"),
        ({"obs": np.zeros(17)}, r"obs has shape \(17,\), expected \[steps, obs dimensions\]"),
        ({"action": np.zeros((16, 1))}, "obs has 17 steps, action 16"),
        ({"episode_ends": np.asarray([5, 6, 13])}, "episode_ends end at 13, expected the number of steps, 17"),
        ({"episode_ends": np.asarray([], int)}, "episode_ends end at nothing"),
        ({"episode_ends": np.asarray([5, 5, 17])}, r"episode 1 is empty or goes back \(from step 5 to 5\)"),
        ({"episode_ends": np.asarray([0, 17])}, r"episode 0 is empty or goes back \(from step 0 to 0\)"),
        ({"episode_ends": np.asarray([9, 5, 17], np.uint8)}, "episode 1 is empty or goes back"),
        ({"episode_ends": np.asarray([5.0, 17.0])}, "of float64, expected whole numbers"),
        ({"episode_ends": np.asarray(17)}, r"episode_ends has shape \(\)"),
        ({"obs": np.asarray([[{}]] * 17)}, "ValueError: Object arrays cannot be loaded"),  # a pickle, never opened
    ],
)
def test_a_wrong_file_is_refused(tmp_path, changes, said):
    path = saved(tmp_path / "own.npz", **changes)
    message = refused(npz.read, path)
    assert message.startswith(f"{path}: ") and re.search(said, message), message


def test_a_missing_strange_or_changed_file_is_refused(tmp_path):
    path = tmp_path / "own.npz"
    assert "cannot be read (No such file" in refused(npz.read, path)
    assert "cannot be read (Is a directory" in refused(npz.read, tmp_path)
    for content in (b"", b"\x80\x04.", b"PK\x03\x04 and no more"):
        path.write_bytes(content)
        assert "is not an .npz or is damaged (BadZipFile" in refused(npz.read, path)
    digest = formats.checksum(saved(path))
    saved(path, action=arrays(made())["action"] + 1)
    assert "has changed since training" in refused(formats.read, path, digest)


def test_a_shorter_header_does_not_hide_what_follows(tmp_path):
    """An array's header that says less than there is, in an archive whose checksums are right."""
    stream = io.BytesIO()
    np.save(stream, arrays(made())["obs"])
    path = saved(tmp_path / "own.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("obs.npy", stream.getvalue().replace(b"(17, 2)", b"(16, 2)"))
    assert "more bytes than the array has" in refused(npz.read, path)


# How policies are judged


def test_the_energy_score_is_that_of_its_definition_and_least_for_the_truth():
    """For N(m, 1) at a = 0: E|X - a| is the folded normal's mean and E|X - X'| = 2 / sqrt(pi); over 10^5 draws, to 5 standard errors."""
    draws = np.random.default_rng(0).standard_normal((100_000, 1, 1))
    for mean in (0.0, 0.7):
        folded = scipy.stats.foldnorm(mean).mean()
        score = recorded.energy_score(jnp.asarray(draws + mean, jnp.float32), jnp.zeros((1, 1)))
        np.testing.assert_allclose(score, folded - 1 / np.sqrt(np.pi), atol=0.02)
    actions = jnp.asarray(np.random.default_rng(1).standard_normal((2_000, 3)), jnp.float32)
    candidates = jnp.asarray(np.random.default_rng(2).standard_normal((50, 2_000, 3)), jnp.float32)
    changes = ((1.0, 0.0), (0.3, 0.0), (2.0, 0.0), (1.0, 0.5))
    means = [np.mean(recorded.energy_score(candidates * scale + shift, actions)) for scale, shift in changes]
    assert np.argmin(means) == 0


def test_marginal_w1_is_scipys():
    rng = np.random.default_rng(0)
    draws, action = rng.standard_normal((7, 20, 2)), 0.5 + 2 * rng.standard_normal((20, 2))
    ours = recorded.marginal_w1(jnp.asarray(draws, jnp.float32), jnp.asarray(action, jnp.float32))
    expected = [scipy.stats.wasserstein_distance(draws[..., i].ravel(), action[:, i]) for i in range(2)]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_metrics_are_in_half_extents_and_from_rows_that_exist():
    """Draws that are the held-out actions score 0, a half extent away 1; rows outside the mask do not count."""
    spec = Spec((0.0,), (1.0,), (0.0, 5.0), (10.0, 5.0))
    action = jnp.asarray([[1.0, 5.0], [9.0, 5.0], [np.nan, np.nan]])
    rows = Data(Batch(action[:, :1], action), Batch(jnp.arange(3.0)[:, None], action), jnp.asarray([True, True, False]))

    def metrics(shift):
        def sample(key, obs, num):
            at = action[obs[:, 0].astype(int)] + jnp.broadcast_to(jnp.asarray([shift, shift / 5]), (len(obs), 2))
            return jnp.broadcast_to(at, (num, *at.shape))

        task = recorded.make(spec, 3)
        return task.evaluate(jax.random.key(0), Conditional(sample, None), rows, EvaluationConfig(num_draws=3))

    assert {k: float(v) for k, v in metrics(0.0).items()} == {"energy_score": 0.0, "marginal_w1": 0.0}
    for value in metrics(5.0).values():
        np.testing.assert_allclose(value, 1.0, rtol=1e-6)


def test_other_names_are_those_of_own_demonstrations():
    assert find("hyperbola") is TASKS["hyperbola"]
    assert find("own.npz").primary == "energy_score" and find("own.npz").num_folds == 1


# Runs


@pytest.fixture
def demonstrations(tmp_path):
    """Two ways, +1 and -1, whatever the observation; the second dimensions are constant."""
    rng = np.random.default_rng(0)
    some = []
    for _ in range(12):
        obs, way = rng.uniform(-1, 1, (9, 2)), rng.choice([-1.0, 1.0])
        obs[:, 1] = 3.0
        some.append(Batch(obs, np.stack([way + 0.05 * rng.standard_normal(9), np.full(9, -2.0)], axis=1)))
    return saved(tmp_path / "own.npz", **arrays(some))


def settings(*more):
    return ("train.steps=40", "evaluation.num_draws=20", "data.history=2", "data.chunk=3", *more)


def test_own_demonstrations_train_evaluate_and_know_their_file(demonstrations, tmp_path):
    config = configs.make_config(str(demonstrations), "mdn", 2, 0, settings(), "small")
    assert config.task_name == "own.npz" and configs.from_json(configs.to_json(config), "here") == config
    results = run.train(config, tmp_path / "run", log=lambda line: None)
    assert results["task"] == "own.npz" and set(results["metrics"]) == {"heldout_nll", "energy_score", "marginal_w1"}
    assert np.all(np.isfinite([*results["metrics"].values()]))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    demonstrations.rename(moved / "own.npz")
    assert "cannot be read" in refused(evaluation.evaluate, tmp_path / "run")
    again = evaluation.evaluate(tmp_path / "run", str(moved), log=lambda line: None)
    assert again["metrics"] == results["metrics"]
    saved(moved / "own.npz")
    assert "has changed since training" in refused(evaluation.evaluate, tmp_path / "run", str(moved))
    changed = configs.make_config(str(moved / "own.npz"), "mdn", 2, 0, settings(), "small")
    assert "data.sha256 is" in refused(run.train, changed, tmp_path / "run")


def test_settings_of_a_run_reach_its_rows_and_its_schedules(demonstrations):
    more = ("data.obs_units=sqrt_std", "data.action_margin=0.1", "train.epoch_steps=30")
    config = configs.make_config(
        str(demonstrations), "explicit_bc", 1, 0, settings(*more, "method.decay_every=1", "hyper.learning_rate_decay=0")
    )
    built = program.build(config)
    how = {"history": 2, "chunk": 3, "obs_units": "sqrt_std", "action_margin": 0.1}
    expected = data.from_episodes(formats.read(demonstrations), **how)
    assert built.dataset.spec == expected.spec and built.dataset.normalization == expected.normalization
    state = built.method.init(jax.random.key(0))
    batch = Batch(*(jnp.asarray(part[0, :8]) for part in built.dataset.train))
    moved = []
    for step in (0, 29, 30):  # an epoch of all rows has 4
        after, _ = built.method.step(
            state._replace(step=jnp.asarray(step)), batch, built.method.hyper._replace(learning_rate_decay=0.0)
        )
        moved.append(any(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), after.params, state.params))))
    assert moved == [True, True, False]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--data=own.npz", "--task=lines"), "--task has no meaning beside --data=own.npz"),
        (("--data=own.npz", "--data_dir=x"), "--data_dir has no meaning beside --data=own.npz"),
        (("--data=own.csv",), "--data=own.csv: expected your own demonstrations, a path that ends in .npz, .zarr"),
        (("--data=nowhere.npz",), "nowhere.npz: cannot be read (No such file"),
        (("--data={}", "--preset=paper"), "--preset=paper: no paper has settings for own.npz"),
        (("--data={}", "--set=data.redraw=True"), "--set=data.redraw=...: no such path"),
    ],
)
def test_the_command_line_refuses_what_makes_no_sense(demonstrations, tmp_path, capsys, argv, said):
    argv = [arg.format(demonstrations) for arg in argv]
    assert call(train.main, *argv, "--method=mdn", f"--workdir={tmp_path / 'run'}") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
