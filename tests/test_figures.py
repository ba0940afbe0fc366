"""Figures of a sweep show the numbers of its CSV files."""

import csv
import functools
import io
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from test_report import write_run

from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import TASKS, pusht
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Latents
from experiments import figures
from experiments.config import make_config
from experiments.configs import CONFIGS, FIGURES
from experiments.configs.base import ArraysFigure, CurvesFigure, ScatterFigure, SweepFigure, TaskFigure
from experiments.summary import Run, load_runs, members_csv

KL = {8: [0.3, 0.5, 0.1, 0.9], 32: [0.2, 0.2, 0.5, 0.7], 128: [0.1, math.nan, 0.3, 0.2]}


@pytest.fixture
def published(tmp_path):
    """``members.csv`` of a sweep over N with a baseline, a grid of weights in one run, and training infos."""
    lines = ["task,run,method,seed,hyper,metric,value"]
    for count, values in KL.items():
        for seed, value in enumerate(values):
            start = f"lines,lines-ebgan_mdn-num_negatives={count},ebgan_mdn,{seed},,"
            lines.append(f'{start}"kl@S=10,tau=0.05",{"" if math.isnan(value) else value}')
            lines.append(f"{start}training/gradient_cosine,{0.1 * count + seed}")
            lines.append(f"{start}training/seconds,{count}")
    lines += [f'lines,lines-mdn,mdn,{seed},,"kl@S=10,tau=0.05",{0.1 * seed}' for seed in range(3)]
    for weight in (0, 0.5):
        for entropy in (0, 1):
            setting = f'"energy_weight={weight}, entropy_weight={entropy}"'
            lines += [
                f"circle,circle-ebgan_mdn-logit,ebgan_mdn,{seed},{setting},w1,{weight + seed}" for seed in range(2)
            ]
    (tmp_path / "members.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_line_has_the_mean_and_interval_of_every_value(published):
    members = figures.read_members(published / "members.csv")
    (panel,) = figures.sweep_panels(SweepFigure("n", "num_negatives", ("kl", "tmc"), log=True), members)
    assert (panel.title, panel.x_label, panel.log_x) == ("lines", "num_negatives", True)
    assert list(panel.lines) == ["ebgan_mdn", "mdn"]
    line, level = panel.lines.values()
    np.testing.assert_array_equal(line.x, [8, 32, 128])
    for place, values in enumerate(KL.values()):
        expected = statistics.summarize(values)
        ours = (line.value[place], line.low[place], line.high[place])
        np.testing.assert_allclose(ours, [expected[name] for name in ("mean", "low", "high")])  # NaN where one diverged
    assert level.x is None and level.value == pytest.approx([0.1])
    (alone,) = figures.sweep_panels(SweepFigure("n", "num_negatives", ("kl",), levels=False), members)
    assert list(alone.lines) == ["ebgan_mdn"]


def test_hyperparameters_are_swept_too_and_the_others_tell_lines_apart(published):
    members = figures.read_members(published / "members.csv")
    (panel,) = figures.sweep_panels(SweepFigure("w", "energy_weight", ("w1",), tasks=("circle",)), members)
    assert list(panel.lines) == ["ebgan_mdn (logit, entropy_weight=0)", "ebgan_mdn (logit, entropy_weight=1)"]
    for line in panel.lines.values():
        np.testing.assert_array_equal(line.x, [0, 0.5])
        np.testing.assert_allclose(line.value, [0.5, 1.0])


def test_places_are_numbers_of_the_tasks_of_several_sweeps(tmp_path):
    for name, task, values in (("one", "particle_1d", (90, 100)), ("four", "particle_4d", (20, 40))):
        lines = ["task,run,method,seed,hyper,metric,value"]
        lines += [f"{task},{task}-ibc-langevin,ibc,{seed},,success,{value}" for seed, value in enumerate(values)]
        (tmp_path / name).mkdir()
        (tmp_path / name / "members.csv").write_text("\n".join(lines) + "\n")
    spec = TaskFigure("dimensions", "dimensions", ("success",), ("one",))
    assert figures.draw(spec, tmp_path / "four", tmp_path).startswith(b"\x89PNG")
    members = [member for name in ("one", "four") for member in figures.read_members(tmp_path / name / "members.csv")]
    (panel,) = figures.task_panels(spec, members)
    assert list(panel.lines) == ["ibc (langevin)"]
    np.testing.assert_array_equal(panel.lines["ibc (langevin)"].x, [1, 4])
    np.testing.assert_allclose(panel.lines["ibc (langevin)"].value, [95, 30])
    assert figures.task_panels(spec._replace(variants=("langevin",)), members)
    assert not figures.task_panels(spec._replace(variants=("uniform",)), members)
    with pytest.raises(InputError, match="two.*publish that first"):
        figures.draw(spec._replace(others=("one", "two")), tmp_path / "four", tmp_path)


def test_seconds_and_scatters(published):
    members = figures.read_members(published / "members.csv")
    (panel,) = figures.sweep_panels(SweepFigure("s", "num_negatives", ("training/seconds",)), members)
    np.testing.assert_array_equal(panel.lines["ebgan_mdn"].value, [8, 32, 128])
    assert panel.y_label == "training seconds per member"
    (panel,) = figures.scatter_panels(ScatterFigure("c", "training/gradient_cosine", "kl"), members)
    assert len(panel.lines) == 3  # the baseline has no energy
    x, y = panel.lines["ebgan_mdn (num_negatives=128)"]
    np.testing.assert_allclose(x, [12.8, 13.8, 14.8, 15.8])
    np.testing.assert_array_equal(y, KL[128])
    assert panel.title.startswith("lines: rank correlation ")


def test_rank_correlations_tell_members_from_settings():
    x = np.arange(4.0)
    # Within each setting more is less; between settings more is more.
    groups = [(x, 10 - x**3), (x + 10, 100 - x)]
    overall, within = figures.rank_correlations(groups)
    assert within == pytest.approx(-1.0) and overall == pytest.approx(1 - 6 * 2 * (2 * 9 + 2 * 1) / (8 * 63))
    assert figures.rank_correlations([(np.append(x, np.nan), np.append(x, 1.0))]) == pytest.approx((1.0, 1.0))
    assert np.isnan(figures.rank_correlations([(x, np.ones(4))])).all()


def test_derived_metrics():
    entropy = -0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.25)
    training = {"training/weight_entropy": entropy, "training/nll": -1.5}
    member = figures.Member("lines", "mdn", 0, {"num_components": "3"}, training)
    assert figures.value_of(member, "effective_components") == pytest.approx(2**1.5)
    # 64 hidden units and a bias, for a weight, a mean and a scale of each of 3 components; 500 rows.
    assert figures.value_of(member, "bic") == pytest.approx(2 * 500 * -1.5 + 65 * 9 * math.log(500))
    assert figures.value_of(member._replace(metrics={}), "bic") is None
    assert figures.value_of(member._replace(settings={}), "bic") is None


def test_what_cannot_be_drawn_is_said(published):
    with pytest.raises(InputError, match="nothing to draw as figure n"):
        figures.draw(SweepFigure("n", "num_negatives", ("success@0.1",)), published, published)
    with pytest.raises(InputError, match=r"curves.csv does not exist: publish the sweep again"):
        figures.draw(CurvesFigure("c", ("nll",)), published, published)
    members = [figures.Member("lines", "mdn", 0, {"negatives": "data"}, {"kl": 1.0})]
    with pytest.raises(InputError, match="negatives=data is no number"):
        figures.sweep_panels(SweepFigure("n", "negatives", ("kl",)), members)


def curve_run(path, infos, seeds):
    """A finished run with these training curves ``{field: [T, S]}``."""
    write_run(path, task="lines", method="ebgan_mdn", metrics={"kl": [0.1] * seeds}, seeds=seeds)
    num = len(next(iter(infos.values())))
    rows = [{"step": 10 * (t + 1)} | {name: list(values[t]) for name, values in infos.items()} for t in range(num)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_curves_are_thinned_to_means_with_their_roughness(tmp_path):
    """Of 100 intervals two make a point; a zigzag of height 1 has roughness 1, a straight line that of its slope."""
    zigzag = np.stack([np.arange(100) % 2, np.arange(100) % 2 + 10.0], axis=1)
    straight = np.stack([0.01 * np.arange(100), 0.01 * np.arange(100)], axis=1)
    curve_run(tmp_path / "lines-ebgan_mdn-logit", {"energy_loss": zigzag, "nll": straight}, 2)
    text = figures.curves_csv(load_runs(tmp_path)[0], ("energy_loss", "nll", "mse"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * figures.POINTS and tuple(rows[0]) == figures.CURVE_COLUMNS
    first, last = rows[0], rows[figures.POINTS - 1]
    assert (first["step"], last["step"], last["num_seeds"]) == ("20", "1000", "2")
    assert [float(last[name]) for name in ("mean", "low", "high", "roughness")] == [5.5, 0.5, 10.5, 1.0]
    assert [float(rows[-1][name]) for name in ("mean", "low", "high", "roughness")] == [0.985, 0.985, 0.985, 0.01]
    (tmp_path / "curves.csv").write_text(text)
    panels = figures.curve_panels(CurvesFigure("c", ("energy_loss",)), tmp_path / "curves.csv")
    assert [panel.y_label for panel in panels] == ["energy_loss", "roughness of energy_loss"]
    np.testing.assert_array_equal(panels[1].lines["ebgan_mdn (logit)"].value, np.ones(50))
    np.testing.assert_array_equal(panels[0].lines["ebgan_mdn (logit)"].high, np.full(50, 10.5))


def test_curves_leave_out_seeds_once_they_diverge(tmp_path):
    values = np.array([[1.0, 2.0], [1.5, np.nan], [np.nan, np.nan]])
    curve_run(tmp_path / "lines-ebgan_mdn", {"nll": np.where(np.isnan(values), None, values)}, 2)
    rows = list(csv.DictReader(io.StringIO(figures.curves_csv(load_runs(tmp_path)[0], ("nll",)))))
    assert [row["num_seeds"] for row in rows] == ["2", "1", "0"]
    assert [row["mean"] for row in rows] == ["1.5", "1.5", ""]
    assert [row["roughness"] for row in rows] == ["", "0.5", ""]


def test_seconds_of_a_run_are_shared_by_its_members(tmp_path):
    write_run(tmp_path / "lines-mdn", task="lines")
    (tmp_path / "lines-mdn" / "timing.jsonl").write_text(
        '{"step": 10, "seconds": 2.0}\n{"step": 20, "seconds": 6.0}\n{"st'
    )
    text = members_csv(load_runs(tmp_path)[0])
    assert [line.rpartition(",")[2] for line in text.splitlines() if "training/seconds" in line] == ["2.0"] * 3


@functools.cache
def metric_names(task, with_density, with_codes):
    task = TASKS[task]
    dim = task.spec.action_dim
    codes = Latents(
        lambda obs, action: (action[:, :1], action[:, :1]),
        lambda latent, obs: jnp.zeros((*latent.shape[:-1], dim)),
        lambda obs, action: action[:, 0],
    )
    policy = Conditional(
        lambda key, obs, num: jnp.zeros((num, obs.shape[0], dim)),
        (lambda obs, action: jnp.zeros(action.shape[:-1])) if with_density else None,
        act=lambda key, obs: jnp.zeros((obs.shape[0], dim)),
        latents=codes if with_codes else None,
    )
    num = task.num_demonstrations // task.num_folds if task.drawn else 5  # drawings are judged as a whole
    heldout = Batch(jnp.zeros((num, task.spec.obs_dim)), jnp.zeros((num, dim)))
    places = pusht.Neighbourhoods(jnp.zeros((3, task.spec.obs_dim)), jnp.zeros((3, pusht.NUM_NEIGHBOURS, 2)))
    data = Data(heldout, heldout, jnp.ones(num, bool), places if task in pusht.VARIANTS.values() else ())
    names = list(jax.eval_shape(lambda: task.evaluate(jax.random.key(0), policy, data, task.evaluation)))
    return names + (["score", "success", "length"] if task.simulate else [])


def stand_in_arrays(rng, spec):
    """Arrays of every kind that a figure may ask for, of 3 members with 20 draws at 7 observations."""
    shapes = {
        "train_obs": (30, spec.obs_dim),
        "train_action": (30, spec.action_dim),
        "obs": (7, spec.obs_dim),
        "samples": (3, 20, 7, spec.action_dim),
        "actions": (8, spec.action_dim),
        "energy": (8, 7),
        "arm_targets": (4, 2),
        "arm_samples": (3, 20, 4, 3, 2),
        "arm_demonstrations": (5, 4, 3, 2),
        "drawing_rollouts": (30, 3, 26, 2),
        "drawing_demonstrations": (30, 6, 25, 2),
        "drawing_heldout": (30, 26, 2),
    }
    return {name: np.sort(rng.uniform(-1, 1, shape), axis=0) for name, shape in shapes.items()}


def stand_in(path, config):
    """A run of ``config`` as if it were finished, with random metrics."""
    rng = np.random.default_rng(0)
    module, spec = METHODS[config.method_name], TASKS[config.task_name].spec
    method = module.make(config.method, spec, Horizon(10, 1))
    varied = [name for name, values in config.hyper.items() if len(values) > 1]
    settings = [dict(zip(config.hyper, values, strict=True)) for values in itertools.product(*config.hyper.values())]
    members = [{"seed": seed, "hyper": setting} for setting in settings for seed in config.seeds]
    infos = {name: rng.uniform(1, 2, (60, len(members))) for name in module.Info._fields}
    metrics = metric_names(config.task_name, method.log_prob is not None, method.latents is not None)
    results = {
        "task": config.task_name,
        "method": config.method_name,
        "members": members,
        "metrics": {name: rng.uniform(1, 2, len(members)).tolist() for name in metrics},
        "training": {name: values[-1].tolist() for name, values in infos.items()} | {"seconds": [2.0] * len(members)},
        "statistics": [{"hyper": {name: setting[name] for name in varied}} for setting in settings],
    }
    path.mkdir()
    np.savez(path / "arrays.npz", **stand_in_arrays(rng, spec))
    rows = [{"step": step} | {name: values[step].tolist() for name, values in infos.items()} for step in range(60)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(path, results, "{}")


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_config_has_what_its_figures_show(name, tmp_path):
    """Drawn from stand-ins with the metrics that its tasks and methods have; each metric and setting named has a panel."""
    specs, runs = FIGURES[name], []
    assert len({spec.name for spec in specs}) == len(specs)
    for spec in CONFIGS[name]:
        config = make_config(spec.task, spec.method, 2, 0, spec.overrides, preset=spec.preset)
        runs.append(stand_in(tmp_path / spec.name, config))
    (tmp_path / "members.csv").write_text(members_csv(runs))
    for file, text in figures.data_files(specs, runs).items():
        (tmp_path / file).write_text(text)
    members = figures.read_members(tmp_path / "members.csv")
    for spec in specs:
        for other in spec.others if isinstance(spec, TaskFigure) else ():
            (tmp_path / other).mkdir()
            (tmp_path / other / "members.csv").write_text((tmp_path / "members.csv").read_text())
        assert len(figures.draw(spec, tmp_path, tmp_path)) <= (200_000 if isinstance(spec, ArraysFigure) else 60_000)
        if isinstance(spec, SweepFigure):
            panels = figures.sweep_panels(spec, members)
            assert {panel.y_label for panel in panels} == {figures.axis_label(metric) for metric in spec.metrics}
            assert not spec.tasks or {panel.title for panel in panels} == set(spec.tasks)


def test_a_level_that_shares_its_name_with_a_line_is_told_apart(published):
    with (published / "members.csv").open("a") as file:
        file.writelines(
            f'lines,lines-ebgan_mdn,ebgan_mdn,{seed},,"kl@S=10,tau=0.05",{0.2 * seed}\n' for seed in range(3)
        )
    (panel,) = figures.sweep_panels(
        SweepFigure("n", "num_negatives", ("kl",)), figures.read_members(published / "members.csv")
    )
    assert list(panel.lines) == ["ebgan_mdn", "mdn", "ebgan_mdn without num_negatives"]
    assert panel.lines["ebgan_mdn"].x is not None and panel.lines["ebgan_mdn without num_negatives"].x is None


def test_arrays_are_published_to_four_digits_for_two_seeds_and_ten_draws(tmp_path):
    run = stand_in(tmp_path / "lines-mdn", make_config("lines", "mdn", 2, 0, ()))
    spec = ArraysFigure("s", "samples", ("lines-mdn",))
    (name, text), *others = figures.data_files((spec,), [run]).items()
    assert name == "arrays.csv" and not others
    (tmp_path / name).write_text(text)
    arrays = figures.read_arrays(tmp_path / name)["lines-mdn"].arrays
    saved = np.load(tmp_path / "lines-mdn" / "arrays.npz")
    assert set(arrays) == {"train_obs", "train_action", "obs", "samples"}
    np.testing.assert_allclose(arrays["samples"], saved["samples"][:2, :10], rtol=6e-4)
    with pytest.raises(InputError, match="figure s: no run lines-cgan is finished; there are lines-mdn"):
        figures.arrays_csv([run], [spec._replace(runs=("lines-cgan",))])
