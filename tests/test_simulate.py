"""The driver prints and writes what the library's own rollouts of the restored policy give."""

import json

import jax
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("gymnasium", reason="extra pusht is not installed")

from test_gymnasium import NAME

from ebgan_mdn_jax import plotting
from ebgan_mdn_jax.envs import gymnasium
from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.policy import Policy
from experiments import config as configs
from experiments import run, simulate
from tests.test_run import call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two seeds of a policy for the environment of tests/test_gymnasium.py."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    obs, action = rng.uniform(-1, 1, (60, 2)), rng.uniform(-0.5, 0.5, (60, 1))
    np.savez(folder / "own.npz", obs=obs, action=action, episode_ends=np.arange(10, 61, 10))
    settings = ("train.steps=5", "evaluation.num_draws=5", "data.history=2", "data.chunk=3")
    run.train(
        configs.make_config(str(folder / "own.npz"), "explicit_bc", 2, 0, settings, "small"),
        folder / "run",
        log=lambda line: None,
    )
    return folder / "run"


def test_the_restored_policy_is_simulated(trained, capsys):
    arguments = (f"--workdir={trained}", f"--env={NAME}", "--episodes=5", "--first_seed=7", "--member=1")
    assert call(simulate.main, *arguments, "--execute=2", "--film=2") == 0
    printed = capsys.readouterr().out
    policy = Policy.load(trained, 1)
    expected = gymnasium.rollouts(jax.random.key(0), policy.act, policy.trained.spec, NAME, range(7, 12), 2)
    path = trained / "simulations" / f"{NAME},member=1,execute2.json"
    written = json.loads(path.read_text())
    np.testing.assert_allclose(written["episodes"]["return"], expected.total)
    assert written["episodes"]["length"] == expected.length.tolist() and written["training_seed"] == 1
    assert written["statistics"]["largest_reward"] == statistics.summarize(expected.best)
    assert f"return         {np.mean(expected.total):.4g} [" in printed and "explicit_bc, seed 1; 5 episodes" in printed
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG" and str(path.with_suffix(".png")) in printed
    assert call(simulate.main, *arguments, "--ensemble", "--film=0", "--max_steps=4") == 0
    other = path.with_name(f"{NAME},member=1,ensemble.json")
    assert max(json.loads(other.read_text())["episodes"]["length"]) <= 4 and not other.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--env=Line-v0",), "--workdir is missing"),
        (("--workdir={run}",), "--env is missing"),
        (("--workdir={run}", "--env=Nowhere-v0"), "--env=Nowhere-v0: cannot be made"),
        (("--workdir={run}", f"--env={NAME}", "--member=first"), "--member=first: expected a member's index"),
        (("--workdir={run}", f"--env={NAME}", "--execute=4"), "--execute=4: chunks have 3 steps"),
        (("--workdir={run}/no", f"--env={NAME}"), "no checkpoint in"),
    ],
)
def test_mistakes_are_one_line(trained, capsys, arguments, said):
    assert call(simulate.main, *(argument.format(run=trained) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_strips_show_the_first_and_the_last_frame():
    films = [np.random.default_rng(0).integers(0, 255, (length, 20, 30, 3)).astype(np.uint8) for length in (50, 3)]
    figure = plotting.episodes_figure(films, ["one", "two"])
    drawn = [[ax.images[0].get_array() for ax in figure.axes[8 * i : 8 * i + 8] if ax.images] for i in range(2)]
    assert [len(row) for row in drawn] == [8, 3]
    for row, film in zip(drawn, films, strict=True):
        np.testing.assert_array_equal(row[0], film[0])
        np.testing.assert_array_equal(row[-1], film[-1])
    assert plotting.png(figure)[:4] == b"\x89PNG"
