"""Policies in Gymnasium's environments do what plain loops over one episode do; what does not fit together is said in one line."""

import jax
import numpy as np
import pytest

from ebgan_mdn_jax.envs import gymnasium as adapter
from ebgan_mdn_jax.types import InputError, Spec

gymnasium = pytest.importorskip("gymnasium", reason="extra pusht is not installed")

NAME, END = "Line-v0", 9
KEY = jax.random.key(0)
H, HISTORY = 4, 3  # steps of a chunk, observations seen


class Line(gymnasium.Env):
    """A point on a line that starts where the seed has it, and what it was told last; over at 1.2, or when its time is up."""

    metadata = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Dict(
        {"at": gymnasium.spaces.Box(-9, 9, (1, 1)), "told": gymnasium.spaces.Box(-9, 9, (1,))}
    )
    action_space = gymnasium.spaces.Box(-0.5, 0.5, (1,))

    def __init__(self, render_mode=None, tells=True, action_space=None):
        self.render_mode, self.tells = render_mode, tells
        self.action_space = action_space or self.action_space

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.told = self.np_random.uniform(-1, 1), np.zeros(1)
        return self.observe(), {}

    def observe(self):
        return {"at": np.full((1, 1), self.at, np.float32), "told": self.told.astype(np.float32)}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.at, self.told = self.at + float(action[0]), action
        done = self.at > 1.2
        return self.observe(), -abs(self.at), done, False, {"is_success": done} if self.tells else {}

    def render(self):
        return np.full((500, 300, 3), round(10 * self.at) % 256, np.uint8)


gymnasium.register("Line-v0", Line, max_episode_steps=END)
gymnasium.register("Endless-v0", Line)
gymnasium.register("Silent-v0", lambda: Line(tells=False), max_episode_steps=3)
gymnasium.register("Pairs-v0", lambda: Line(action_space=gymnasium.spaces.Box(-1, 1, (2,))), max_episode_steps=3)
gymnasium.register("Buttons-v0", lambda: Line(action_space=gymnasium.spaces.Discrete(3)), max_episode_steps=3)


def chunk(past):
    """A chunk ``[H]`` that depends on every observation ``[h, 2]`` and changes along it."""
    return 0.2 + 0.3 * np.sin(past @ [1.0, 2.0] @ np.arange(1, len(past) + 1) + np.arange(H))


def act(key, obs):
    assert obs.dtype == np.float32
    return np.stack([chunk(row.reshape(-1, 2).astype(float)) for row in obs])


def spec(history=HISTORY, steps=H):
    return Spec((-1.0,) * 2 * history, (1.0,) * 2 * history, (-1.0,) * steps, (1.0,) * steps)


def plain(seed, execute=None, max_steps=END):
    """One episode: rewards and positions. ``execute`` None: an ensemble."""
    env, rewards, seen, plans = Line(), [], [], []
    seen.append(gymnasium.spaces.flatten(env.observation_space, env.reset(seed=seed)[0]))
    for step in range(max_steps):
        past = np.stack([seen[max(0, i)] for i in range(len(seen) - HISTORY, len(seen))])
        if execute is None:
            plans = [*plans, chunk(past)][-H:]
            weights = np.exp(-0.01 * np.arange(len(plans)))
            action = sum(w * p[len(plans) - 1 - i] for i, (w, p) in enumerate(zip(weights, plans, strict=True)))
            action = action / weights.sum()
        else:
            plans = chunk(past) if step % execute == 0 else plans
            action = plans[step % execute]
        obs, reward, done, _, _ = env.step(np.clip([action], -0.5, 0.5).astype(np.float32))
        seen.append(gymnasium.spaces.flatten(env.observation_space, obs))
        rewards.append(reward)
        if done:
            break
    return rewards, [obs[0] for obs in seen]


@pytest.mark.parametrize("execute", [1, 3, H, None])
def test_episodes_are_those_of_a_plain_loop(execute):
    how = {"ensemble": True} if execute is None else {"execute": 0 if execute == H else execute}
    seeds = range(20, 26)
    found = adapter.rollouts(KEY, act, spec(), NAME, seeds, film=2, **how)
    expected = [plain(seed, execute) for seed in seeds]
    lengths = [len(rewards) for rewards, _ in expected]
    assert min(lengths) < END == max(lengths)  # some end early, and some are cut off
    np.testing.assert_array_equal(found.length, lengths)
    np.testing.assert_allclose(found.total, [sum(rewards) for rewards, _ in expected], atol=1e-4)
    np.testing.assert_allclose(found.best, [max(rewards) for rewards, _ in expected], atol=1e-5)
    np.testing.assert_array_equal(found.success, [seen[-1] > 1.2 for _, seen in expected])
    assert len(found.frames) == 2 and found.frames[0].shape == (lengths[0] + 1, 167, 100, 3)
    np.testing.assert_allclose(found.frames[1][:, 0, 0, 0], np.round(10 * np.array(expected[1][1])) % 256, atol=1)


def test_numbers_that_are_not_finite_and_steps_of_ones_own_are_survived():
    found = adapter.rollouts(
        KEY, lambda key, obs: np.full((len(obs), 1), np.nan), spec(1, 1), "Endless-v0", [0, 1], max_steps=3
    )
    np.testing.assert_array_equal(found.length, [3, 3])
    np.testing.assert_allclose(found.total, 3 * found.best)  # 0 is done
    assert not found.success.any()


def test_draws_differ_from_step_to_step_and_repeat():
    def draw(key, obs):
        return np.asarray(jax.random.uniform(key, (len(obs), 1)))

    first, again = (adapter.rollouts(KEY, draw, spec(1, 1), NAME, [3, 3]) for _ in range(2))
    np.testing.assert_array_equal(first.total, again.total)
    assert first.total[0] != first.total[1]
    keys = []
    adapter.rollouts(KEY, lambda key, obs: keys.append(key) or np.zeros((1, 1)), spec(1, 1), NAME, [0])
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == END


@pytest.mark.parametrize(
    ("name", "shape", "settings", "said"),
    [
        ("Nowhere-v0", (1, 1), {}, "--env=Nowhere-v0: cannot be made (Environment `Nowhere` doesn't exist"),
        ("no_such_package/Push-v0", (1, 1), {}, "pip install 'ebgan_mdn_jax[pusht]'"),
        ("no_such_module:Push-v0", (1, 1), {}, "--env=no_such_module:Push-v0: cannot be made"),
        ("Endless-v0", (1, 1), {}, "--env=Endless-v0: its episodes have no end of their own; give --max_steps"),
        (NAME, (1, 1), {"execute": 2}, "--execute=2: chunks have 1 steps; take at most that many, 0 for all"),
        (NAME, (1, 4), {"execute": -1}, "--execute=-1: chunks have 4 steps"),
        (NAME, (1, 4), {"execute": 2, "ensemble": True}, "--execute=2: an ensemble executes one step"),
        (NAME, (1.5, 4), {}, "its observations have 2 dimensions, those of the policy 3, no multiple of that"),
        ("Pairs-v0", (1, 3), {}, "its actions have 2 dimensions, those of the policy 3, no multiple of that"),
        ("Buttons-v0", (1, 1), {}, "its actions are Discrete(3), expected a Box: policies give real numbers"),
    ],
)
def test_what_does_not_fit_together_is_said_in_one_line(name, shape, settings, said):
    box = Spec((0.0,) * int(2 * shape[0]), (1.0,) * int(2 * shape[0]), (0.0,) * shape[1], (1.0,) * shape[1])
    with pytest.raises(InputError) as error:
        adapter.rollouts(KEY, act, box, name, [0], **settings)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_without_gymnasium_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs gymnasium, which is not installed: pip install"):
        adapter.require_environment(NAME)


def test_where_success_is_not_told_there_is_none():
    assert adapter.rollouts(KEY, act, spec(), "Silent-v0", [0]).success is None


def test_what_cannot_be_drawn_is_told_in_one_line(monkeypatch):
    def broken(self):
        raise RuntimeError("no display\nat all")

    monkeypatch.setattr(Line, "render", broken)
    with pytest.raises(InputError, match=r"cannot be drawn here \(RuntimeError: no display\); give --film=0"):
        adapter.rollouts(KEY, act, spec(), NAME, [0], film=1)
