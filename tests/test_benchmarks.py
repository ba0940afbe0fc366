"""Benchmarks run at tiny sizes, and what they count is right; how fast anything is, no test says."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import networks
from ebgan_mdn_jax.methods import METHODS, ebgan_mdn
from ebgan_mdn_jax.types import Spec
from experiments.benchmarks import inference, masking, measure, members

TINY = ("method.energy_hidden=8", "method.generator.hidden=8", "method.num_negatives=4", "data.num_demonstrations=64")


def test_contenders_take_turns():
    turns = []
    medians = measure.interleaved({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, num_rounds=3)
    assert turns == ["a", "b"] * 4 and set(medians) == {"a", "b"} and min(medians.values()) >= 0


def test_counted_flops_are_those_of_the_compiler():
    """Of a large network, whose products outweigh all else that the compiler counts."""
    config = ebgan_mdn.Config(energy_hidden=(256, 256), num_negatives=30)
    spec = Spec((-1.0,) * 64, (1.0,) * 64, (-1.0,) * 64, (1.0,) * 64)
    rows, widths = 32 * 8, [128, 256, 256, 1]
    network = networks.EnergyMLP(config.energy_hidden)
    obs, action = jnp.ones((8, 64)), jnp.ones((32, 8, 64))
    params = network.init(jax.random.key(0), obs, action)

    def compiled(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]

    forward = compiled(lambda p: network.apply(p, obs, action).sum(), params)
    assert measure.product_flops(widths, rows) == pytest.approx(forward, rel=0.02)
    backward = compiled(jax.grad(lambda p: network.apply(p, obs, action).sum()), params)
    update = 3 * measure.product_flops(widths, rows) - measure.product_flops(widths[:2], rows)
    assert update == pytest.approx(backward, rel=0.03)
    one, five = (measure.ebgan_mdn_flops(ebgan_mdn.Config(energy_steps=n), spec, 8) for n in (1, 5))
    assert 4 < five / one < 5


def test_files_say_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "BENCHMARKS", tmp_path)
    measure.publish("toy", [{"size": 1, "ms": 0.123456}, {"size": 2, "ms": 45.6789}])
    assert "0.123" in capsys.readouterr().out
    assert measure.read("toy") == [{"size": "1", "ms": "0.123"}, {"size": "2", "ms": "45.7"}]
    assert {"command", "commit", "hardware", "versions"} <= set(json.loads((tmp_path / "toy.json").read_text()))


def test_arguments_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["members", "--fast"])
    with pytest.raises(SystemExit) as stopped:
        measure.command("members", lambda: pytest.fail("measured"))
    assert stopped.value.code == 2 and "'--fast'" in capsys.readouterr().err


def test_members_and_masking_at_tiny_sizes():
    table = members.rows((1, 3), 2, TINY)
    assert [row["members"] for row in table] == [1, 3] and table[0]["time_over_1_member"] == 1
    assert all(row["ms_per_step"] > 0 and 0 < row["peak_share"] < 1 for row in table)
    small, large = masking.rows((2, 16), 2, TINY[:2] + TINY[3:])
    assert small["alone_s"] > small["compile_s"] > 0 and small["masked_s"] == large["masked_s"]


def test_inference_covers_every_method_and_way():
    table = inference.rows((2,), num_calls=2)
    assert {row["method"] for row in table} == set(METHODS)
    assert {"rerank", "resample", "sample"} <= {row["act_by"] for row in table if row["method"] == "ebgan_mdn"}
    assert all(np.isfinite(row["p50_ms"]) and row["p99_ms"] >= row["p50_ms"] for row in table)


def test_published_benchmarks_come_from_committed_code():
    for path in measure.BENCHMARKS.glob("*.csv"):
        with path.open(newline="") as file:
            assert list(csv.DictReader(file))
        launch = json.loads(path.with_suffix(".json").read_text())
        assert launch["command"] == f"python -m experiments.benchmarks.{path.stem}"
        assert not launch["commit"].endswith("-dirty") and launch["commit"] != "unknown"
