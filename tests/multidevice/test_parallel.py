"""The same numbers on 1 and on 4 devices, for every method."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.training import devices, loop, members
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Spec
from tests.small import small

SPEC = Spec((-1.0,), (1.0,), (-2.0, -1.0), (2.0, 1.0))
HORIZON = Horizon(num_steps=40, steps_per_epoch=4)
ROWS = 32
THREE = (0, 6, 13)
# Plain gradient descent whose state is the last gradient.
KEEP_GRADIENTS = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params), lambda gradients, state, params: (gradients, gradients)
)


def data():
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (1, ROWS, 1)).astype(np.float32)
    sign = generator.choice([-1, 1], (1, ROWS, 1)).astype(np.float32)
    return Batch(obs, np.concatenate([sign * (0.5 + obs**2), 0.5 * sign], -1))


@functools.cache  # tests that train the same method share its programs
def make(name, optimizer=KEEP_GRADIENTS, **changes):
    """A method with small networks, and ``changes`` of its Config."""
    return METHODS[name].make(small(name, **changes), SPEC, HORIZON, optimizer)


@functools.cache
def make_chunk(method, layout):
    return loop.make_chunk(method, 8, 1, layout)


def train(method, seeds, steps, count=1, parallel="seeds", batch_devices=0):
    """States and Info of members after ``steps`` on ``count`` devices, on the host."""
    layout = devices.make_layout(jax.devices()[:count], parallel, batch_devices)
    group = members.make_members(method, seeds)
    num_padded = -(-group.size // layout.member_devices) * layout.member_devices
    padded = members.resize(group, num_padded)
    states = members.init_states(method, padded.seed, layout.members)
    states, info = make_chunk(method, layout)(
        states, padded.hyper, np.zeros(num_padded, np.int32), data(), np.int32(steps)
    )
    return host(members.resize((states, info), group.size, layout.everywhere))


@functools.cache
def train_alone(name, steps):
    """Three of the 14 members of a run, on one device."""
    return train(make(name), THREE, steps)


def host(tree):
    """NumPy leaves, typed keys as their data, so that results on different devices compare."""
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x), tree
    )


@pytest.mark.parametrize("name", METHODS)
def test_sharded_members_equal_those_of_one_device_bitwise(name):
    """14 members on 4 devices: two copies fill the gap."""
    spread = train(make(name), range(14), 12, 4)
    assert spread[0].failed_at.shape == (14,)
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[list(THREE)], spread), train_alone(name, 12))


def test_members_are_spread_over_devices():
    method = make("mdn")
    states = members.init_states(method, np.arange(8, dtype=np.int32), devices.make_layout(jax.devices()).members)
    for leaf in jax.tree.leaves(states):
        assert [shard.data.shape[0] for shard in leaf.addressable_shards] == [2] * 4


# Every method on two devices per minibatch and two groups of members; the rest of the layouts once.
@pytest.mark.parametrize(
    ("name", "parallel", "batch_devices"),
    [*((name, "shard_map", 2) for name in METHODS), ("ebgan_mdn", "pmap", 0), ("ebgan_mdn", "shard_map", 0)],
)
def test_shared_minibatches_have_the_raw_gradients_of_one_device(name, parallel, batch_devices):
    """Gradients themselves, to 1e-5 of the largest: under Adam even N-times too large ones would look right."""
    for steps in (1, 12):
        alone, alone_info = train_alone(name, steps)
        split, split_info = train(make(name), THREE, steps, 4, parallel, batch_devices)
        gradients = jax.tree.leaves(alone.train.opt_state)
        largest = max(np.max(np.abs(leaf)) for leaf in gradients)
        for one, four in zip(gradients, jax.tree.leaves(split.train.opt_state), strict=True):
            assert np.max(np.abs(one - four)) < 1e-5 * largest
        chex.assert_trees_all_close(split_info, alone_info, atol=1e-4, rtol=1e-4)


def test_a_poisoned_member_on_another_device_changes_nothing():
    method = make("ebgan_mdn", energy_steps=1)
    layout = devices.make_layout(jax.devices())
    group = members.make_members(method, range(4))
    chunk = make_chunk(method, layout)
    results = []
    for poison in (0.0, np.nan):
        states = members.init_states(method, group.seed, layout.members)
        states, _ = chunk(states, group.hyper, np.zeros(4, np.int32), data(), np.int32(3))
        spoil = lambda leaf, poison=poison: leaf.at[2].add(poison)  # noqa: E731
        energy = jax.jit(lambda tree, spoil=spoil: jax.tree.map(spoil, tree), out_shardings=layout.members)(
            states.train.params.energy
        )
        states = states._replace(train=states.train._replace(params=states.train.params._replace(energy=energy)))
        states, info = chunk(states, group.hyper, np.zeros(4, np.int32), data(), np.int32(5))
        results.append(host((states, info)))
    (sound, sound_info), (poisoned, poisoned_info) = results
    np.testing.assert_array_equal(sound.failed_at, [-1] * 4)
    np.testing.assert_array_equal(poisoned.failed_at, [-1, -1, 4, -1])
    others = lambda tree: jax.tree.map(lambda leaf: np.delete(leaf, 2, 0), tree)  # noqa: E731
    chex.assert_trees_all_equal(others((poisoned, poisoned_info)), others((sound, sound_info)))


def test_layouts_that_do_not_fit_are_refused():
    four = jax.devices()
    with pytest.raises(InputError, match="train.batch_devices=3 does not divide 4 devices"):
        devices.make_layout(four, "shard_map", 3)
    with pytest.raises(InputError, match="only shard_map spreads members and minibatches"):
        devices.make_layout(four, "pmap", 2)
    with pytest.raises(InputError, match="only shard_map spreads members and minibatches"):
        devices.make_layout(four, "seeds", 2)
    method = make("mdn")
    with pytest.raises(InputError, match="train.batch_size=6 does not divide over 4 devices"):
        loop.make_chunk(method, 6, 1, devices.make_layout(four, "pmap"))


# all_gather, which "mixed" needs, is typed as varying over devices, so check_vma cannot see that the result does not.
@pytest.mark.parametrize(("negatives", "check_vma"), [("uniform", True), ("uniform", False), ("mixed", False)])
def test_shard_map_takes_the_step_of_the_full_batch(negatives, check_vma):
    """Negatives from other rows too: they come from the whole batch wherever it lies."""
    method = make("ebgan_mdn", optax.identity(), negatives=negatives, num_negatives=8, reweight=False)
    state = jax.jit(method.init)(jax.random.key(0))
    batch = jax.tree.map(lambda x: x[0], data())
    whole, info = jax.jit(method.step)(state, batch, method.hyper)
    step = lambda state, batch: method.step(state, batch, method.hyper, "batch")  # noqa: E731
    split = jax.shard_map(
        step,
        mesh=devices.make_layout(jax.devices(), "shard_map").mesh,
        in_specs=(P(), P("batch")),
        out_specs=P(),
        check_vma=check_vma,
    )
    after, split_info = jax.jit(split)(state, batch)
    chex.assert_trees_all_close(host(after.params), host(whole.params), atol=1e-6, rtol=0)
    chex.assert_trees_all_close(host(split_info), host(info), atol=1e-4, rtol=1e-4)
