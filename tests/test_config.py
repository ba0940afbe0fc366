"""Configs: typed overrides, clear errors, exact JSON round trips."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.methods import METHODS, ibc
from ebgan_mdn_jax.methods.base import step_decay
from ebgan_mdn_jax.tasks import TASKS, planar
from ebgan_mdn_jax.types import Horizon, InputError, Spec
from experiments import config as configs
from experiments.configs import BASELINES, CONFIGS


def test_lines_that_others_are_compared_with_exist_for_every_task():
    for name, baseline in BASELINES.items():
        for task in {run.task for run in CONFIGS[name]}:
            runs = [run for run in CONFIGS[name] if run.task == task]
            lines = {run.method for run in runs}
            lines |= {f"{run.method} ({run.name.removeprefix(f'{task}-{run.method}-')})" for run in runs}
            assert baseline is None or baseline in lines, (name, task)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_defaults_round_trip_through_json(task, method):
    config = configs.make_config(task, method, 3, 7)
    data = json.loads(json.dumps(configs.to_json(config)))
    assert configs.from_json(data, "here") == config
    assert list(config.seeds) == [7, 8, 9]


def test_every_sweep_of_the_registry_is_valid():
    for name, runs in CONFIGS.items():
        assert len({run.name for run in runs}) == len(runs), name
        for run in runs:
            config = configs.make_config(run.task, run.method, run.num_seeds, 0, run.overrides, run.preset)
            assert configs.from_json(configs.to_json(config), run.name) == config


def test_overrides_are_typed_by_the_field():
    config = configs.make_config(
        "hyperbola",
        "ebgan_mdn",
        overrides=[
            "train.batch_size=16",
            "data.num_demonstrations=50",
            "method.generator.hidden=(8,9)",
            "method.correct_proposal=true",
            "method.energy_term=all_components",
            "method.generator.fixed_scale=0.5",
            "evaluation.tolerance=0.1",
            "hyper.energy_weight=0,0.5,1",
            "train.batch_size=8",
        ],
    )
    assert config.train.batch_size == 8  # the last one wins
    assert config.data.num_demonstrations == 50
    assert config.method.generator.hidden == (8, 9)
    assert config.method.correct_proposal is True
    assert config.method.energy_term == "all_components"
    assert config.method.generator.fixed_scale == 0.5
    assert config.evaluation.tolerance == 0.1
    assert config.hyper["energy_weight"] == (0.0, 0.5, 1.0)
    assert config.hyper["alpha"] == (1.0,)


def test_every_listed_path_can_be_set():
    config = configs.make_config("hyperbola", "ebgan_mdn")
    data = configs.to_json(config)
    for path in configs.override_paths(config):
        value = data
        for name in path.split("."):
            value = value[name]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        assert configs.make_config("hyperbola", "ebgan_mdn", overrides=[f"{path}={text}"]) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.nonsense=1", "no such path; valid ones are train.steps"),
        ("hyper.energy_wieght=1", "no such path; did you mean hyper.energy_weight?"),
        ("nonsense", "expected path=value"),
        ("train.steps=ten", "expected a value of type int"),
        ("train.steps=1.5", "expected a value of type int"),
        ("train.steps=0", "train.steps=0: needs 1 to 2147483647"),
        ("train.steps=99999999999", "needs 1 to 2147483647"),
        ("train.members_per_step=-1", "needs 0"),
        ("method.correct_proposal=maybe", "expected True or False"),
        ("method.negatives=all", "expected one of uniform, data, mixed"),
        ("method.generator.num_components=0", "needs at least 1"),
        ("method.generator.hidden=8,x", "expected whole numbers such as (64,64)"),
        ("method.sample_by=guess", "expected one of sample, mode, component_mean, rerank, densest, resample"),
        ("evaluation.tolerance=-1", "needs a positive number"),
        ("evaluation.tolerance=nan", "expected a finite number"),
        ("hyper.energy_weight=heavy", "expected a value of type float"),
        ("hyper.energy_weight=inf", "expected a finite number"),
        ("hyper.energy_weight=-1", "expected numbers of 0 or more"),
        ("hyper.energy_weight=1,1", "a value occurs twice"),
    ],
)
def test_wrong_overrides_are_one_clear_line(override, message):
    with pytest.raises(InputError) as error:
        configs.make_config("hyperbola", "ebgan_mdn", overrides=[override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_settings_that_exclude_each_other_are_refused():
    for override in ("method.negatives=data", "method.alpha_form=logit", "method.generator.latent_dim=1"):
        with pytest.raises(InputError, match="needs the proposal's density"):
            configs.make_config("hyperbola", "ebgan_mdn", overrides=[override, "method.sample_by=resample"])
    with pytest.raises(InputError, match="laplace.*has no full covariance"):
        configs.make_config(
            "hyperbola", "mdn", overrides=["method.generator.family=laplace", "method.generator.covariance=full"]
        )


@pytest.mark.parametrize(
    ("task", "method", "seeds", "first", "message"),
    [
        ("x", "mdn", 1, 0, "unknown task 'x': expected one of hyperbola"),
        ("two_linc", "mdn", 1, 0, "unknown task 'two_linc': did you mean two_link"),
        ("lines", "x", 1, 0, f"unknown method 'x': expected one of {', '.join(METHODS)}"),
        ("lines", "mdn", 0, 0, "seeds=0: needs at least 1"),
        ("lines", "mdn", -3, 0, "seeds=-3: needs at least 1"),
        ("lines", "mdn", 1, -1, "first_seed=-1: needs 0 or more"),
    ],
)
def test_wrong_names_and_seeds(task, method, seeds, first, message):
    with pytest.raises(InputError, match=message):
        configs.make_config(task, method, seeds, first)


def test_json_of_another_version_is_refused():
    data = configs.to_json(configs.make_config("lines", "mdn"))
    for change in ({"method": {}}, {"method": data["method"] | {"new": 1}}, {"method_name": "x"}, {"hyper": {}}):
        with pytest.raises(InputError, match="not a config of this library or of another version"):
            configs.from_json(data | change, "file")


def test_differences():
    ours = {"a": 1, "b": {"c": [1, 2], "d": 0}}
    assert configs.differences(ours, {"a": 1, "b": {"c": [1, 2], "d": 0}}) == []
    found = configs.differences(ours, {"a": 1, "b": {"c": [1, 3]}})
    assert found == ["b.c is [1, 2] here and [1, 3] there", "b.d is 0 here and null there"]


def test_how_often_to_save_is_not_part_of_a_runs_identity():
    one, other = (
        configs.to_json(configs.make_config("lines", "mdn", overrides=[f"train.checkpoint_every={n}"])) for n in (5, 7)
    )
    assert one != other and configs.identity(one) == configs.identity(other)
    assert configs.identity(one)["train"]["steps"] == one["train"]["steps"]


def test_a_preset_comes_before_the_overrides_and_is_checked():
    config = configs.make_config("two_link", "ebgan_mdn", overrides=("method.num_negatives=8",), preset="paper")
    assert (config.method.num_negatives, config.method.generator.num_components, config.train.steps) == (8, 2, 9_900)
    assert config.hyper["energy_weight"] == (1.0,) and config.method.alpha_schedule == "constant"
    grid = configs.make_config("gaussian_grid", "ebgan_mdn", preset="paper")
    assert grid.train.steps == 50 * 307 and grid.method.alpha_form == "logit" and grid.method.generator.latent_dim == 1
    with pytest.raises(InputError, match="unknown preset 'best': expected one of default, paper, small, d4rl, pixels"):
        configs.make_config("lines", "mdn", preset="best")


@pytest.mark.parametrize("task", TASKS)
def test_paper_presets_fit_every_task(task):
    """They are overrides that the method takes, and train the paper's number of epochs."""
    for method in METHODS:
        config = configs.make_config(task, method, preset="paper")
        folds = TASKS[task].num_folds
        rows = TASKS[task].num_demonstrations
        rows = rows if folds == 1 else rows - -(-rows // folds)
        epochs = config.train.steps / -(-rows // config.train.batch_size)
        share = 0.5 if task == "gaussian_grid" else 0.25 if task.startswith(("ur", "multi_route")) else 1
        paper = 300 if task.startswith(("two", "three", "ur")) else 200
        expected = {"cgan": share * paper, "nearest_neighbour": 1}.get(method, share * 100)
        if task.startswith("particle") and method in ("ibc", "explicit_bc"):
            assert config.train.steps == 100_000  # IBC's, whatever the number of rows
            expected = epochs
        if task.startswith("push") and method in ("ibc", "explicit_bc", "mdn", "bayesian_mdn"):
            assert config.train.steps == 100_000 and config.train.batch_size == 512
        else:
            assert epochs == expected


def test_paper_preset_of_a_particle_is_ibcs():
    """In 16 dimensions 8,691,713 parameters, counted in its code; the learning rate is at 4.3e-8 in the end, as there."""
    config = configs.make_config("particle_16d", "ibc", preset="paper")
    spec, horizon = TASKS["particle_16d"].spec, Horizon.of(100_000, 102_000, 512, config.train.epoch_steps)
    method = ibc.make(config.method, spec, horizon)
    params = jax.eval_shape(method.init, jax.random.key(0)).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params.energy)) == 8_691_713
    (factor,) = config.hyper["learning_rate_decay"]
    assert 1e-3 * step_decay(99_999, horizon, factor, config.method.decay_every) == pytest.approx(
        1e-3 * 0.99**999, rel=1e-3
    )


def test_the_small_published_energy_has_the_parameters_of_ibcs_code():
    (run,) = [run for run in CONFIGS["ibc_particle_published"] if run.name == "particle_2d-ibc-small"]
    config = configs.make_config(run.task, run.method, overrides=run.overrides, preset=run.preset)
    method = ibc.make(config.method, TASKS[run.task].spec, Horizon(1, 1))
    params = jax.eval_shape(method.init, jax.random.key(0)).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params.energy)) == 136_705


@pytest.mark.parametrize("task", planar.VARIANTS)
def test_paper_presets_of_chunks_have_a_component_for_each_mode(task):
    modes, _ = TASKS[task].modes(jnp.zeros((1, TASKS[task].spec.obs_dim)))
    config = configs.make_config(task, "mdn", preset="paper")
    assert config.method.generator.num_components == len(modes)


def test_paper_presets_of_pushing_are_ibcs():
    """The energy has 135,169 parameters, counted in its code; the rate falls to 4.3e-5 of itself on every task."""
    for task in ("push_single", "push_multi", "push_multimodal"):
        for method, rate in (("ibc", 1e-3), ("mdn", 1e-3), ("explicit_bc", 5e-4)):
            config = configs.make_config(task, method, preset="paper")
            horizon = Horizon.of(100_000, TASKS[task].num_demonstrations, 512, config.train.epoch_steps)
            (factor,) = config.hyper["learning_rate_decay"]
            last = step_decay(99_999, horizon, factor, config.method.decay_every)
            assert config.hyper["learning_rate"] == (rate,) and last == pytest.approx(0.99**999, rel=1e-3)
    method = ibc.make(
        configs.make_config("push_single", "ibc", preset="paper").method, TASKS["push_single"].spec, horizon
    )
    params = jax.eval_shape(method.init, jax.random.key(0)).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params.energy)) == 135_169


@pytest.fixture
def own(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, obs=rng.normal(size=(40, 45)), action=rng.normal(size=(40, 24)), episode_ends=[10, 20, 40])
    return str(path)


def test_presets_of_d4rl_are_ibcs(own):
    """The energy has 2,137,601 parameters on the pen, counted in its code; regression's rate falls half as fast."""
    made = {method: configs.make_config(own, method, preset="d4rl") for method in ("ibc", "explicit_bc", "mdn")}
    units = {method: config.data.obs_units for method, config in made.items()}
    assert units == {"ibc": "sqrt_std", "explicit_bc": "std", "mdn": "std"}
    for method, last in (("ibc", 0.99**999), ("explicit_bc", 0.99**499), ("mdn", 0.99**999)):
        config = made[method]
        horizon = Horizon.of(config.train.steps, 40, config.train.batch_size, config.train.epoch_steps)
        (factor,) = config.hyper["learning_rate_decay"]
        assert step_decay(99_999, horizon, factor, config.method.decay_every) == pytest.approx(last, rel=1e-3)
    spec = Spec((-1.0,) * 45, (1.0,) * 45, (-1.0,) * 24, (1.0,) * 24)
    state = jax.eval_shape(ibc.make(made["ibc"].method, spec, Horizon(1, 1)).init, jax.random.key(0))
    kernels = [
        leaf.size for path, leaf in jax.tree.leaves_with_path(state.params.energy) if "spectral" not in str(path)
    ]
    assert sum(kernels) == 2_137_601


def test_presets_of_pixels_are_ibcs():
    """Its code counts 389,280 parameters in the encoder of two colour images, and 857,601 in the value head of a move in the plane."""
    made = {
        method: configs.make_config("coordinates", method, preset="pixels") for method in ("ibc", "explicit_bc", "mdn")
    }
    assert {config.train.batch_size for config in made.values()} == {128}
    channels, shape = (32, 64, 128, 256), (180, 240, 6)
    encoders = made["ibc"].method.encoder, made["explicit_bc"].method.encoder, made["mdn"].method.generator.encoder
    assert [(e.channels, e.coordinates) for e in encoders] == [(channels, False), (channels, True), (channels, True)]
    pixels = shape[0] * shape[1] * shape[2]
    spec = Spec((0.0,) * pixels, (1.0,) * pixels, (-1.0,) * 2, (1.0,) * 2, shape)
    state = jax.eval_shape(ibc.make(made["ibc"].method, spec, Horizon(1, 1)).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params.energy)) == 389_280 + 857_601


def test_presets_of_pixels_are_for_tasks_of_images_and_its_policies():
    with pytest.raises(
        InputError, match="preset=pixels is for tasks of images, .*coordinates.*; for lines take another"
    ):
        configs.make_config("lines", "ibc", preset="pixels")
    with pytest.raises(
        InputError, match="preset=pixels has no settings for flow: expected one of explicit_bc, mdn, ibc"
    ):
        configs.make_config("coordinates", "flow", preset="pixels")


def test_presets_of_d4rl_are_for_own_demonstrations_and_its_policies(own):
    margins = [
        configs.make_config(own, method, preset="d4rl").data.action_margin
        for method in ("ibc", "explicit_bc", "mdn", "nearest_neighbour")
    ]
    assert margins == [0.05] * 4  # scores are in half extents of the box
    with pytest.raises(
        InputError, match="preset=d4rl has no settings for cgan: expected one of nearest_neighbour, explicit_bc"
    ):
        configs.make_config(own, "cgan", preset="d4rl")
    with pytest.raises(InputError, match="preset=d4rl is for demonstrations of your own, .* for the task lines take"):
        configs.make_config("lines", "mdn", preset="d4rl")


def test_the_default_is_one_configuration_for_all_tasks():
    for method in ("mdn", "ebgan_mdn"):
        found = [configs.make_config(task, method) for task in TASKS]
        assert len({(config.method, config.train, str(config.hyper)) for config in found}) == 1
    generators = [configs.make_config("lines", method).method.generator for method in ("mdn", "ebgan_mdn")]
    assert generators[0] == generators[1]


@pytest.mark.parametrize(("method", "constant"), [("mdn", ()), ("ebgan_mdn", ("method.alpha_schedule=constant",))])
def test_small_settings_are_the_papers_on_the_hyperbola(method, constant):
    """But for the number of components, which is one for all tasks, and alpha."""
    overrides = ("method.generator.num_components=2", *constant)
    small = configs.make_config("hyperbola", method, overrides=overrides, preset="small")
    assert small == configs.make_config("hyperbola", method, preset="paper")


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("tuning")])
def test_every_method_is_tuned_by_8_settings_and_2_seeds(name):
    members = dict.fromkeys(METHODS, 0)
    for spec in CONFIGS[name]:
        config = configs.make_config(spec.task, spec.method, spec.num_seeds, 0, spec.overrides, spec.preset)
        members[spec.method] += config.num_seeds * math.prod(map(len, config.hyper.values()))
    assert set(members.values()) == {16}
