"""Benchmarks run at tiny sizes, and what they count is right; how fast anything is, no test says."""

import csv
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax import losses, mixture, networks
from ebgan_mdn_jax.methods import METHODS, ebgan_mdn
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.types import Spec
from experiments.benchmarks import chunks, inference, masking, measure, members, reaching, throughput, worker
from experiments.configs import CONFIGS

ROOT = pathlib.Path(__file__).resolve().parents[1]
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
    small = GeneratorConfig(3, hidden=(64, 64))
    one, five = (measure.ebgan_mdn_flops(ebgan_mdn.Config(small, energy_steps=n), spec, 8) for n in (1, 5))
    assert 4 < five / one < 5


def test_files_say_where_they_come_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "BENCHMARKS", tmp_path)
    measure.publish("toy", [{"size": 1, "ms": 0.123456}, {"size": 2, "ms": 45.6789}])
    assert "0.123" in capsys.readouterr().out
    assert (tmp_path / "toy.csv").read_text() == "size,ms\n1,0.123\n2,45.7\n"
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
    assert {row["method"]: row["evaluations"] for row in table if row["evaluations"] > 1} == {
        "ibc": 4,
        "flow": 20,
        "diffusion": 100,
    }
    assert all(np.isfinite(row["p50_ms"]) and row["p99_ms"] >= row["p50_ms"] for row in table)


@pytest.mark.slow
def test_costs_of_chunks_stand_beside_the_published_scores():
    table = chunks.rows(2, ("chunk_flows",))
    runs = {run.name for run in CONFIGS["chunk_flows"] if run.task == chunks.TASK}
    assert len(table) == len(runs) and {row["evaluations"] for row in table} == {1, 20, 100}
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and 0 <= row["on_support"] <= 100 for row in table)


@pytest.mark.slow
def test_latency_in_reaching_is_of_every_policy_and_the_planner():
    table = reaching.rows(("reach_two_link",), num_calls=3)
    runs = [run.name for run in CONFIGS["reaching"] if run.task == "reach_two_link"]
    assert {f"{row['task']}-{row['policy']}" for row in table} == {*runs, "reach_two_link-planner"}
    assert all(row["p99_ms"] >= row["p50_ms"] > 0 for row in table)


@pytest.fixture
def torch_step():
    """The PyTorch side of the comparison."""
    pytest.importorskip("torch", reason="needs the extra bench")
    from experiments.benchmarks import torch_step

    return torch_step


def test_all_implementations_have_the_same_losses_and_gradients(torch_step):
    """On given weights, negatives and draws: the loop, the vectorised form, and ours."""
    import torch

    rng = np.random.default_rng(0)
    obs, action, drawn = (rng.uniform(-1, 1, (8, 2)).astype(np.float32) for _ in range(3))
    negatives = rng.uniform(-1, 1, (5, 8, 2)).astype(np.float32)
    nets = torch_step.make_networks(2, 2, 2, (16, 16))
    tensors = [torch.from_numpy(x) for x in (obs, action, negatives, drawn)]
    loop = torch_step.energy_loss_loop(nets, *tensors, 0.5)
    actions = np.concatenate([action[None], negatives, drawn[None]])
    inputs = torch.from_numpy(np.concatenate([np.broadcast_to(obs, actions.shape), actions], -1))
    vectorised = torch_step.energy_loss_vectorised(nets, inputs, 0.5)
    flat = [tensor for layer in nets.energy for tensor in layer]
    gradients = [torch.autograd.grad(loss, flat) for loss in (loop, vectorised)]

    def to_ours(tensors):
        pairs = zip(tensors[::2], tensors[1::2], strict=True)
        layers = {
            f"Dense_{i}": {"kernel": k.detach().numpy().T, "bias": b.detach().numpy()} for i, (k, b) in enumerate(pairs)
        }
        return {"params": {"MLP_0": layers}}

    def ours(params):
        energies = networks.EnergyMLP((16, 16)).apply(params, obs, actions)
        return jnp.mean(losses.info_nce(energies[0], energies[1:-1], energies[-1:], 0.5, "weight"))

    loss, gradient = jax.value_and_grad(ours)(to_ours(flat))
    for other, theirs in zip((loop, vectorised), gradients, strict=True):
        assert float(other.detach()) == pytest.approx(float(loss), rel=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gradient, to_ours(theirs))

    log_weights, means, scales = torch_step.mixture(nets, tensors[0], 1e-3)
    parts = (log_weights, means, scales.expand_as(means))
    model = mixture.Mixture(*(jnp.asarray(part.detach().numpy()) for part in parts))
    noise = torch.from_numpy(rng.normal(size=(8, 2)).astype(np.float32))
    component = torch.zeros(8, dtype=torch.long)
    total = torch_step.generator_loss(nets, tensors[0], tensors[1], 1e-3, (component, noise))
    draw = np.asarray(model.means[:, 0] + model.scales[:, 0] * noise.numpy())
    energy = networks.EnergyMLP((16, 16)).apply(to_ours(flat), obs, draw)
    expected = jnp.mean(energy - mixture.log_prob(model, jnp.asarray(action)))
    assert float(total.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_throughput_at_tiny_sizes(torch_step, monkeypatch):
    steps = {kind: worker.train_torch(worker.Size(1, 1, 2), 2, 1, kind) for kind in (True, False)}
    for run in (*steps.values(), worker.train_ours(worker.Size(1, 1, 2), 2)):
        run(2)
    few = [
        throughput.Setting("ours", "one"),
        throughput.Setting("torch", "two", 1, 2),
        throughput.Setting("loop", "one"),
    ]
    monkeypatch.setattr(throughput, "settings", lambda count: few)
    table = throughput.rows(("hyperbola",), (2,), 1, 0.01)
    assert [row["implementation"] for row in table] == ["ours", "torch", "loop"]
    assert all(row["best"] == "yes" and row["ms_per_member_step"] > 0 for row in table)


def test_published_benchmarks_come_from_committed_code():
    names = {path.stem for path in (ROOT / "experiments" / "benchmarks").glob("*.py")} | {
        "certify",
        "chunk_bounds",
        "damage",
        "graph_energy",
        "langevin_forms",
        "lipschitz",
        "mutual_information",
        "search_dimensions",
        "two_modes",
    }
    assert {path.stem for path in measure.BENCHMARKS.glob("*.csv")} == names - {
        "__init__",
        "measure",
        "worker",
        "torch_step",
    }
    for path in measure.BENCHMARKS.glob("*.csv"):
        with path.open(newline="") as file:
            assert list(csv.DictReader(file))
        launch = json.loads(path.with_suffix(".json").read_text())
        assert launch["command"] in (
            f"python -m experiments.benchmarks.{path.stem}",
            f"python -m experiments.{path.stem}",
        )
        assert not launch["commit"].endswith("-dirty") and launch["commit"] != "unknown"


def test_the_published_times_are_of_every_method_and_way():
    with (measure.BENCHMARKS / "inference.csv").open(newline="") as file:
        published = {(row["method"], row["act_by"]) for row in csv.DictReader(file)}
    assert published == set(inference.methods())
