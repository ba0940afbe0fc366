"""What a sweep would do: grids become members or programs, and programs are compiled once."""

import re

import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from ebgan_mdn_jax.training.devices import make_layout
from ebgan_mdn_jax.types import InputError
from experiments import plan, program, run
from experiments.config import make_config, split_values
from experiments.configs.base import run_spec

SPECS = (run_spec("hyperbola", "mdn", 2), run_spec("lines", "ebgan_mdn", 3, "train.steps=8", variant="short"))
TINY = (
    "train.steps=32", "data.num_demonstrations=64", "evaluation.num_inputs=5", "evaluation.num_quadrature=50",
    "evaluation.num_draws=20",
)  # fmt: skip


def test_hyper_becomes_members_and_everything_else_programs():
    grid = ["hyper.scale_floor=0.01,0.02,0.05", "method.generator.hidden=(8,8),(16,)", "train.batch_size=16,32"]
    configs = plan.expand(SPECS, grid, ["train.log_every=4"])
    assert list(configs)[:2] == ["hyperbola-mdn-hidden=8x8,batch_size=16", "hyperbola-mdn-hidden=8x8,batch_size=32"]
    assert list(configs)[-1] == "lines-ebgan_mdn-short,hidden=16,batch_size=32"
    assert len(configs) == 8
    last = configs["lines-ebgan_mdn-short,hidden=16,batch_size=32"]
    assert last.method.generator.hidden == (16,) and last.train.batch_size == 32 and last.train.steps == 8
    assert last.hyper["scale_floor"] == (0.01, 0.02, 0.05) and last.num_seeds == 3 and last.train.log_every == 4
    assert plan.count_members(last) == 9


def test_tasks_and_methods_are_paths_too():
    configs = plan.expand(SPECS[:1], ["task=lines,circle", "method=mdn,explicit_bc"], num_seeds=5, first_seed=7)
    assert list(configs) == ["lines-mdn", "lines-explicit_bc", "circle-mdn", "circle-explicit_bc"]
    assert configs["circle-mdn"].task_name == "circle" and list(configs["circle-mdn"].seeds) == [7, 8, 9, 10, 11]


def test_values_may_hold_commas_in_parentheses():
    assert split_values("1, 2,3") == ["1", "2", "3"]
    assert split_values("(64,64),(128,)") == ["(64,64)", "(128,)"]
    assert split_values("") == []


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["method.generator.hidden"], "expected path=value,value,..."),
        (["hyper.scale_floor="], "expected path=value,value,..."),
        (["hyper.scale_floor=1,2", "hyper.scale_floor=3"], "hyper.scale_floor is given twice"),
        (["train.batch_size=8,8"], "a value occurs twice"),
        (["hyper.scale_flor=1,2"], "run hyperbola-mdn: --grid=hyper.scale_flor=...: no such path; did you mean hyper.scale_floor?"),
        (["train.batch_size=8,many"], "run hyperbola-mdn-batch_size=many: --grid=train.batch_size=many: expected"),
        (["method=mdn,gan"], "unknown method 'gan': expected one of"),
        (["task=parabola"], "two runs are called parabola-mdn"),
    ],
)  # fmt: skip
def test_grids_that_make_no_sense(grid, message):
    specs = (SPECS[0], run_spec("lines", "mdn", 2))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        plan.expand(specs if "task" in grid[0] else specs[:1], grid)
    assert "\n" not in str(error.value)


def test_a_grid_and_one_value_for_every_run_contradict_each_other():
    for grid, override in (
        ("train.batch_size=16,32", "train.batch_size=64"),
        ("hyper.scale_floor=1,2", "hyper.scale_floor=3"),
    ):
        with pytest.raises(InputError, match="is given for every run too; leave one of them out"):
            plan.expand(SPECS[:1], [grid], [override])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "lines", "grid": "task=circle"}, "--task has no meaning beside --grid=task"),
        ({}, "--config is missing: expected one of quickstart"),
        ({"config": "quickstart", "task": "lines"}, "--task has no meaning beside --config"),
    ],
)
def test_flags_that_do_not_fit_together(values, message):
    absl_flags.FLAGS.unparse_flags()
    absl_flags.FLAGS(["test", *(f"--{name}={value}" for name, value in values.items())])
    with flagsaver.flagsaver(), pytest.raises(InputError, match=re.escape(message)):
        plan.configs_from_flags()
    for name in values:
        absl_flags.FLAGS[name].unparse()


class Compilations:
    """Counts programs compiled while the context lasts, and times that a method's step is traced."""

    def __enter__(self):
        self.names = []
        self._listen = lambda name, *_, **__: self.names.append(name) if "backend_compile" in name else None
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self._listen)


def test_a_grid_of_hyperparameters_compiles_exactly_once_and_training_compiles_nothing_more(
    data_dir, tmp_path, monkeypatch
):
    """Learning rates x energy weight x alpha's floor x 16 seeds: 128 members."""
    grid = ["hyper.energy_learning_rate=1e-3,1e-4", "hyper.energy_weight=0,1", "hyper.alpha_floor=0.1,0.5"]
    overrides = [
        *TINY,
        "train.steps=2",
        "method.num_negatives=4",
        "method.energy_hidden=8",
        "method.generator.hidden=8",
    ]
    (config,) = plan.expand([run_spec("hyperbola", "ebgan_mdn", 16)], grid, overrides).values()
    built = program.build(config, str(data_dir))
    traces = []
    step = built.method.step
    built = built._replace(method=built.method._replace(step=lambda *args: traces.append(1) or step(*args)))
    with Compilations() as compiled:
        one = program.compile_program(built)
    assert len(compiled.names) == 1 and built.members.size == 128
    traced = len(traces)

    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(run, "evaluate", stop)
    other = built._replace(
        members=built.members._replace(hyper=built.members.hyper._replace(alpha=np.full(128, 0.3, np.float32)))
    )
    for index, members in enumerate((built.members, other.members)):
        chosen = one._replace(run=built._replace(members=members))
        with Compilations() as compiled, pytest.raises(InterruptedError):
            run.train(config, tmp_path / str(index), str(data_dir), log=lambda line: None, program=chosen)
        assert len(traces) == traced
    assert len(compiled.names) == 1  # the second time the program of the initial states, and nothing of training


def test_a_plan_says_what_there_is_to_do(data_dir):
    configs = plan.expand(
        [run_spec("hyperbola", "mdn", 2)], ["hyper.scale_floor=0.01,0.02", "train.batch_size=16,32"], TINY
    )
    lines = []
    planned = plan.compile_plan(configs, lambda name: name.endswith("16"), str(data_dir), 0, lines.append)
    assert list(planned.programs) == ["hyperbola-mdn-batch_size=32"] and not planned.borrowed
    assert lines[0] == "plan: 2 runs, 8 members in 2 programs; 1 finished"
    assert re.match(
        r"  hyperbola-mdn-batch_size=32: 4 members \(2 seeds x 2 settings\), 32 steps; 1 cpu device, [\d.]+ [kM]B, compiled in",
        lines[1],
    )
    assert re.match(
        r"8 members in 2 programs, 1 compilation \([\d.]+ s\), estimated memory per device at most [\d.]+ [kM]B of",
        lines[2],
    )


def test_a_plan_reads_every_data_set_once(data_dir, monkeypatch):
    loads, built, load, compile_program = [], [], program.data.load, plan.compile_program
    monkeypatch.setattr(program.data, "load", lambda name, *of: loads.append(of[1:]) or load(name, *of))
    compiled = compile_program(program.build(make_config("hyperbola", "mdn", 2, 0, TINY), str(data_dir)))
    monkeypatch.setattr(plan, "compile_program", lambda run, num_devices: built.append(run) or compiled)
    loads.clear()
    changes = {"a": (), "b": ("train.batch_size=16",), "c": ("data.action_noise=0.1",), "d": ("data.redraw=True",)}
    specs = [run_spec("hyperbola", "mdn", 2, *change, variant=name) for name, change in changes.items()]
    plan.compile_plan(plan.expand(specs, [], TINY), lambda name: False, str(data_dir), 0, lambda line: None)
    (num,) = {of[0] for of in loads}
    assert loads == [(num, None), (num, (0, 1))] and len(built) == 4
    assert built[1].dataset is built[0].dataset  # and as it was, though another run has noise on its copy
    assert not np.array_equal(built[2].dataset.train.action, built[0].dataset.train.action)


def test_runs_that_only_choose_and_judge_actions_otherwise_are_trained_once(data_dir):
    grid = ["method.sample_by=sample,mode", "evaluation.num_samples=3,10"]
    configs = plan.expand([run_spec("hyperbola", "mdn", 2)], grid, TINY)
    lines = []
    planned = plan.compile_plan(configs, lambda name: False, str(data_dir), 0, lines.append)
    first, *others = configs
    assert list(planned.programs) == [first] and planned.borrowed == dict.fromkeys(others, first)
    assert lines[0] == "plan: 4 runs, 2 members in 1 program"
    assert f"  {others[-1]}: trained as {first}" in lines
    # One that is finished lends its training, whichever comes first.
    assert plan.trained_as(configs, [first, *others[1:]]) == dict.fromkeys(configs, others[0])


def test_members_per_step_halves_until_the_program_fits_the_memory(data_dir, monkeypatch):
    wide = [*TINY, "method.num_negatives=256", "method.energy_hidden=8", "method.generator.hidden=8"]
    config = make_config("hyperbola", "ebgan_mdn", 12, 0, wide, "small")
    built = program.build(config, str(data_dir))
    full = program.compile_on(built, make_layout(), 12)
    assert (full.members_per_step, full.num_padded) == (12, 12)
    single = program.compile_on(built, make_layout(), 1)
    assert full.bytes_per_device > 3 * single.bytes_per_device
    limit = (single.bytes_per_device + full.bytes_per_device) / 2
    monkeypatch.setattr(program, "device_memory", lambda: limit)
    monkeypatch.setattr(program, "choose_members_per_step", lambda *_: 12)
    chosen = program.compile_program(built)
    assert 1 <= chosen.members_per_step < 12 and chosen.bytes_per_device <= 0.9 * limit
    assert chosen.num_padded % chosen.members_per_step == 0 and chosen.num_padded >= 12
    asked = make_config("hyperbola", "ebgan_mdn", 12, 0, [*wide, "train.members_per_step=12"], "small")
    assert program.compile_program(program.build(asked, str(data_dir))).members_per_step == 12  # as the user says


def test_a_preset_is_an_axis_of_the_grid():
    """Each run starts from its preset, and the name tells them apart."""
    runs = plan.expand((run_spec("two_link", "ebgan_mdn", 1),), ["preset=paper,default"], ["train.batch_size=16"])
    assert list(runs) == ["two_link-ebgan_mdn-preset=paper", "two_link-ebgan_mdn-preset=default"]
    paper, default = runs.values()
    assert (paper.method.generator.num_components, default.method.generator.num_components) == (2, 64)
    assert paper.train.batch_size == default.train.batch_size == 16
