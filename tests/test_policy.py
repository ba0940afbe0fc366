"""Policies to take away do what the run's own method does, exported ones too; checkpoints of others are refused in one line."""

import importlib.util
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from ebgan_mdn_jax import export, policy
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.policy import Policy
from ebgan_mdn_jax.training import checkpoint
from ebgan_mdn_jax.types import Horizon, InputError, Spec
from experiments import config as configs
from experiments import export as driver
from experiments import run
from experiments.program import abstract_states, build
from tests.small import small
from tests.test_run import call

KEY = jax.random.key(7)
KEY_DATA = np.asarray([0, 7], np.uint32)
SPEC = Spec((-1.0, 0.0, 2.0), (1.0, 3.0, 2.0), (-1.0, 5.0), (1.0, 5.0))  # a constant dimension in both
SMALL = (
    "train.steps=30", "evaluation.num_draws=10", "evaluation.num_inputs=20", "data.history=2", "data.chunk=3",
    "method.generator.hidden=(8,)", "method.energy_hidden=(8,)", "method.num_negatives=4", "method.energy_steps=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of three seeds of EBGAN-MDN on demonstrations of its own."""
    folder, rng = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    obs = rng.uniform(-5, 5, (60, 2))
    np.savez(folder / "own.npz", obs=obs, action=3 + obs[:, :1] ** 2, episode_ends=np.arange(10, 61, 10))
    config = configs.make_config(str(folder / "own.npz"), "ebgan_mdn", 3, 4, SMALL, "small")
    run.train(config, folder / "run", log=lambda line: None)
    return folder / "run"


@pytest.fixture
def copy(trained, tmp_path):
    """The run's folder, to be spoilt."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def obs_rows(num):
    return np.random.default_rng(1).uniform(-5, 5, (num, 4)).astype(np.float32)


def as_the_run_would(path, index):
    """Method in data units and parameters of one member, as evaluation restores them."""
    made = build(configs.from_json(json.loads((path / "config.json").read_text()), "here"))
    with checkpoint.open_manager(path / "checkpoints", read_only=True) as manager:
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        params = checkpoint.restore_params(manager, 30, abstract_states(made.method, made.members), device)
    return made.method, jax.tree.map(lambda leaf: leaf[index], params)


def refused(path, member=0):
    with pytest.raises(InputError) as error:
        policy.restore(path, member)
    message = str(error.value)
    assert message and "\n" not in message and len(message) < 600
    return message


def edit(path, change):
    """Change the JSON of a checkpoint, without checksums, as older ones are."""
    shutil.rmtree(path / "checkpoints" / "30" / "checksums")
    file = path / "checkpoints" / "30" / "config" / "metadata"
    item = json.loads(file.read_text())
    file.write_text(json.dumps(change(item) or item))


# What a policy does


def test_a_policy_does_what_the_runs_own_method_does(trained):
    loaded, obs = Policy.load(trained, 1), obs_rows(5)
    method, params = as_the_run_would(trained, 1)
    assert loaded.trained.seed == 5 and loaded.trained.method_name == "ebgan_mdn" and loaded.trained.spec.obs_dim == 4
    action, draws = loaded.act(KEY, obs), loaded.sample(KEY, obs, 6)
    assert type(action) is np.ndarray and action.shape == (5, 3) and draws.shape == (6, 5, 3)
    np.testing.assert_allclose(action, jax.jit(method.act)(KEY, params, obs), rtol=1e-6)
    np.testing.assert_allclose(draws, jax.jit(method.sample, static_argnums=3)(KEY, params, obs, 6), rtol=1e-6)
    energy = loaded.energy(obs, draws)
    assert energy.shape == (6, 5)
    np.testing.assert_allclose(energy, jax.jit(method.energy)(params, obs, draws), rtol=1e-5)
    assert np.abs(Policy.load(trained, 2).act(KEY, obs) - action).min() > 0  # another member
    assert 3 <= np.median(draws) <= 28  # data units: actions are 3 to 28


def test_one_observation_is_a_batch_of_one(trained):
    loaded, obs = Policy.load(trained), obs_rows(1)
    np.testing.assert_array_equal(loaded.act(KEY, obs[0]), loaded.act(KEY, obs)[0])
    draws = loaded.sample(KEY, obs[0].tolist(), 4)
    np.testing.assert_array_equal(draws, loaded.sample(KEY, obs, 4)[:, 0])
    energy = loaded.energy(obs[0], draws)
    np.testing.assert_array_equal(energy, loaded.energy(obs, draws[:, None])[:, 0])
    assert loaded.energy(obs[0], draws[2]).shape == () and loaded.energy(obs[0], draws[2]) == pytest.approx(energy[2])


@pytest.mark.parametrize(
    ("call_it", "said"),
    [
        (lambda p: p.act(KEY, np.zeros(3)), r"obs has shape \(3,\), expected \[4\] or \[B, 4\]"),
        (lambda p: p.act(KEY, np.zeros((2, 2, 4))), r"obs has shape \(2, 2, 4\)"),
        (lambda p: p.sample(KEY, [1.0, np.nan, 0.0, 0.0], 2), "obs is not finite"),
        (lambda p: p.act(KEY, ["a"] * 4), "obs is of <U1, expected real numbers"),
        (lambda p: p.energy(np.zeros((2, 4)), np.zeros((3, 3))), r"action ends in shape \(3, 3\), expected \(2, 3\)"),
        (lambda p: p.energy(np.zeros(4), np.zeros((5, 2))), r"action ends in shape \(1, 2\), expected \(1, 3\)"),
    ],
)
def test_wrong_arrays_are_refused(trained, call_it, said):
    with pytest.raises(InputError, match=said):
        call_it(Policy.load(trained))


def test_the_best_member_is_that_of_the_held_out_rows(trained):
    results = json.loads((trained / "results.json").read_text())
    assert results["validation"]["metric"] == "energy_score"
    best = int(np.argmin(results["metrics"]["energy_score"]))
    assert policy.restore(trained, "best").seed == 4 + best


def test_the_folders_own_config_says_how_actions_are_chosen(copy):
    """A sweep trains runs that differ in inference once, and copies the checkpoint."""
    obs, file = obs_rows(3), copy / "config.json"
    before = Policy.load(copy).act(KEY, obs)
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"method": config["method"] | {"act_by": "component_mean"}}))
    method, params = as_the_run_would(copy, 0)
    after = Policy.load(copy).act(KEY, obs)
    np.testing.assert_allclose(after, jax.jit(method.act)(KEY, params, obs), rtol=1e-6)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(Policy.load(copy / "checkpoints").act(KEY, obs), before)  # alone: the checkpoint's


# What is refused


@pytest.mark.parametrize("member", [3, -1, "worst", 1.0])
def test_there_is_no_such_member(trained, member):
    assert "has members 0 to 2; give one of them or 'best'" in refused(trained, member)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda item: item.pop("spec") and None, "older version of this library or of another program: it has no spec"),
        (lambda item: {"note": 1}, "it has no config and no normalization and no spec"),
        (lambda item: [1], "it has no config and no normalization"),
        (lambda item: item | {"version": "0.0.9"}, "is of version 0.0.9 of this library, this is"),
        (lambda item: item["spec"].pop("obs_low") and None, r"is not one of this library \(TypeError"),
        (lambda item: item["config"].update(method_name="gail"), r"is not one of this library \(KeyError: 'gail'"),
        (lambda item: item["config"]["method"].update(new=1), r"\(ValueError: unknown field new\)"),
        (lambda item: item["config"].update(num_seeds=4), "of another method, config or number of members"),
        (lambda item: item["config"]["method"].update(energy_hidden=[9]), "of another method, config or number"),
        (lambda item: item.update(failures=[{"member": 0, "step": 7}]), "member=0 became non-finite at step 7"),
        (lambda item: item.update(failures=[{}]), r"is not one of this library \(KeyError: 'member'"),
    ],
)  # fmt: skip
def test_checkpoints_of_others_are_refused(copy, change, said):
    import re

    edit(copy, change)
    message = refused(copy / "checkpoints")
    assert re.search(said, message), message


def test_missing_and_damaged_folders_are_refused(copy, tmp_path):
    assert "no checkpoint in" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no checkpoint in" in refused(tmp_path / "empty")
    for file, said in (("results.json", "names no best member"), ("config.json", "cannot be read")):
        (copy / file).write_text("{}" if "best" in said else "{")
        assert said in refused(copy, "best" if "best" in said else 0)
    (copy / "config.json").unlink()
    policy.restore(copy)
    (copy / "checkpoints" / "30" / "config" / "metadata").write_text("{")
    assert "cannot be read" in refused(copy)


# Export

SLOW = [
    *((name, {}) for name in METHODS if name != "mdn"),
    ("ibc", {"search": "langevin", "num_candidates": 64}),
    ("ibc", {"autoregressive": True}),
    ("ebgan", {"act_by": "rerank"}),
    ("ebgan_mdn", {"act_by": "rerank"}),
    ("nearest_neighbour", {"act_by": "sample"}),
]


@pytest.mark.parametrize(
    ("name", "changes"), [("mdn", {}), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)], ids=str
)
def test_exported_policies_act_as_the_checkpoint_does(name, changes):
    """To 1e-5; but rounding may tip a search's choice between candidates, which then differ, here in fewer than half of the rows."""
    pytest.importorskip("flatbuffers")
    method = METHODS[name].make(small(name, **changes), SPEC, Horizon(40, 4))
    params = jax.jit(lambda key: method.init(key).params)(jax.random.key(1))
    trained = policy.Trained(method, params, SPEC, name, 0)
    exported = jax.export.deserialize(export.serialize(trained))
    assert exported.platforms == ("cpu", "cuda")
    same = []
    for num in (1, 6):
        obs = np.random.default_rng(0).uniform(-1, 3, (num, 3)).astype(np.float32)
        expected = policy.from_trained(trained).act(KEY, obs)
        same += np.all(np.isclose(exported.call(KEY_DATA, obs), expected, rtol=1e-5, atol=1e-5), axis=1).tolist()
    assert np.mean(same) > 0.5 if name == "ibc" else all(same)


def test_export_writes_a_file_that_runs_without_this_library(trained, tmp_path, capsys):
    pytest.importorskip("flatbuffers")
    output = tmp_path / "policy.bin"
    assert call(driver.main, f"--workdir={trained}", f"--output={output}", "--member=best") == 0
    assert "obs [B, 4] float32 -> action [B, 3] on cpu and cuda" in capsys.readouterr().out
    obs = obs_rows(3)
    np.save(tmp_path / "obs.npy", obs)
    code = (
        "import sys, jax, numpy as np\n"
        "policy = jax.export.deserialize(open('policy.bin', 'rb').read())\n"
        "np.save('action.npy', policy.call(np.asarray([0, 7], np.uint32), np.load('obs.npy')))\n"
        "assert not [name for name in sys.modules if name.startswith(('ebgan_mdn_jax', 'flax', 'optax'))]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    expected = Policy.load(trained, "best").act(KEY, obs)
    np.testing.assert_allclose(np.load(tmp_path / "action.npy"), expected, rtol=1e-5, atol=1e-5)


def test_what_export_cannot_do_is_said(trained, tmp_path, capsys, monkeypatch):
    def error(*argv):
        assert call(driver.main, *argv) == 2
        return capsys.readouterr().err

    assert "--workdir is missing" in error()
    assert "--member=first: expected a member's index" in error(f"--workdir={trained}", "--member=first")
    monkeypatch.setattr(export, "serialize", lambda trained: b"")
    assert "cannot be written (No such file" in error(f"--workdir={trained}", f"--output={tmp_path / 'no' / 'x'}")
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ebgan_mdn_jax\[export\]'"):
        export.serialize(policy.restore(trained))
