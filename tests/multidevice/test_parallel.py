"""The same numbers on 1 and on 4 devices, for every method."""

import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax.methods import METHODS, ebgan_mdn
from ebgan_mdn_jax.training import loop, members
from ebgan_mdn_jax.types import Batch, Horizon, Spec
from experiments import run
from experiments.config import make_config

SPEC = Spec((-1.0,), (1.0,), (-2.0, -1.0), (2.0, 1.0))
HORIZON = Horizon(num_steps=40, steps_per_epoch=4)
ROWS = 32


def data():
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (1, ROWS, 1)).astype(np.float32)
    sign = generator.choice([-1, 1], (1, ROWS, 1)).astype(np.float32)
    return Batch(obs, np.concatenate([sign * (0.5 + obs**2), 0.5 * sign], -1))


def train(method, seeds, steps, devices, parallel="seeds", members_per_step=1):
    group = members.make_members(method, seeds)
    chunk = loop.make_chunk(method, 8, members_per_step, devices, parallel)
    states = members.init_states(method, group.seed, loop.state_sharding(devices, parallel))
    return chunk(states, group.hyper, np.zeros(len(group), np.int32), data(), np.int32(steps))


def host(tree):
    """NumPy leaves, typed keys as their data, so that results on different devices compare."""
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x), tree
    )


@pytest.mark.parametrize("name", METHODS)
def test_sharded_members_equal_solo_runs_bitwise(name):
    method = METHODS[name].make(METHODS[name].Config(), SPEC, HORIZON)
    states, _ = train(method, range(16), 12, jax.devices())
    assert len(jax.tree.leaves(states.params)[0].sharding.device_set) == 4
    for seed in (0, 6, 15):
        alone, _ = train(method, [seed], 12, jax.devices()[:1])
        chex.assert_trees_all_equal(jax.tree.map(lambda x, i=seed: x[i : i + 1], host(states)), host(alone))


@pytest.mark.parametrize("name", METHODS)
def test_pmap_has_the_raw_gradients_of_the_full_batch(name):
    """Steps with the identity optimiser are raw gradients; under Adam even N-times too large ones would look right."""
    module = METHODS[name]
    method = module.make(module.Config(), SPEC, HORIZON, optimizer=optax.identity())
    for steps in (1, 20):
        alone, alone_info = train(method, [3, 4], steps, jax.devices()[:1])
        split, split_info = train(method, [3, 4], steps, jax.devices(), "pmap")
        chex.assert_trees_all_close(host(split.params), host(alone.params), atol=2e-6, rtol=0)
        chex.assert_trees_all_close(host(split_info), host(alone_info), atol=1e-4, rtol=1e-4)


# all_gather, which "mixed" needs, is typed as varying over devices, so check_vma cannot see that the result does not.
@pytest.mark.parametrize(("negatives", "check_vma"), [("uniform", True), ("uniform", False), ("mixed", False)])
def test_shard_map_takes_the_step_of_the_full_batch(negatives, check_vma):
    """Negatives from other rows too: they come from the whole batch wherever it lies."""
    config = ebgan_mdn.Config(negatives=negatives, num_negatives=8)
    method = ebgan_mdn.make(config, SPEC, HORIZON, optimizer=optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    batch = jax.tree.map(lambda x: x[0], data())
    whole, info = jax.jit(method.step)(state, batch, method.hyper)
    step = lambda state, batch: method.step(state, batch, method.hyper, "member")  # noqa: E731
    split = jax.shard_map(
        step, mesh=loop.member_mesh(jax.devices()), in_specs=(P(), P("member")), out_specs=P(), check_vma=check_vma
    )
    after, split_info = jax.jit(split)(state, batch)
    chex.assert_trees_all_close(host(after.params), host(whole.params), atol=1e-6, rtol=0)
    chex.assert_trees_all_close(host(split_info), host(info), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("parallel", ["seeds", "pmap"])
def test_a_run_on_four_devices_resumes_and_agrees_with_one(parallel, tmp_path):
    """Whole runs: by seeds bitwise; by pmap up to the order of sums, so only the first steps are compared."""
    overrides = [
        "train.steps=24",
        "train.checkpoint_every=8",
        f"train.parallel={parallel}",
        "data.num_demonstrations=64",
    ]
    overrides += ["evaluation.num_inputs=5", "evaluation.num_quadrature=50", "evaluation.num_draws=20"]
    config = make_config("hyperbola", "mdn", 4, 0, overrides)
    lines, results = [], {}
    for count in (1, 4):
        results[count] = run.train(config, tmp_path / str(count), str(tmp_path / "data"), count, log=lines.append)
    if parallel == "seeds":
        assert results[1] == results[4]
    else:
        np.testing.assert_allclose(results[1]["training"]["nll"], results[4]["training"]["nll"], rtol=1e-3)
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "4", again)
    (again / "results.json").unlink()
    shutil.rmtree(again / "checkpoints" / "24")
    assert run.train(config, again, str(tmp_path / "data"), 4, log=lines.append) == results[4]
    assert any("resuming" in line and "at step 16" in line for line in lines)
