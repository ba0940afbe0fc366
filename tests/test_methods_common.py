"""What every method of the registry promises."""

import dataclasses
import functools
import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ebgan_mdn_jax.methods import METHODS, nearest_neighbour
from ebgan_mdn_jax.methods.base import Transport, in_data_units
from ebgan_mdn_jax.methods.generator import GeneratorConfig
from ebgan_mdn_jax.normalization import Normalization, identity
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.training import devices, loop, members
from ebgan_mdn_jax.types import Batch, Horizon, InputError, Latents, Spec
from tests.small import small

SPEC = Spec((-1.0,), (1.0,), (-2.0, -1.0), (2.0, 1.0))
HORIZON = Horizon(num_steps=40, steps_per_epoch=4)
ROWS = 24
# Shows raw gradients, which Adam would hide.
GRADIENT_DESCENT = optax.identity()


@pytest.fixture(params=METHODS)
def module(request):
    """Each method's module in turn."""
    return METHODS[request.param]


def batch(dtype=np.float32, rows=ROWS):
    generator = np.random.default_rng(0)
    obs = generator.uniform(-1, 1, (rows, 1))
    sign = generator.choice([-1, 1], (rows, 1))
    return Batch(obs.astype(dtype), np.concatenate([sign * (0.5 + obs**2), 0.5 * sign], 1).astype(dtype))


def name_of(module):
    return next(name for name, other in METHODS.items() if other is module)


@functools.cache  # so that tests which jit the same function share its program
def make(module, spec=SPEC):
    return module.make(small(name_of(module)), spec, HORIZON, GRADIENT_DESCENT)


@functools.cache
def make_trained(module):
    """With the optimiser of its default."""
    return module.make(small(name_of(module)), SPEC, HORIZON)


def hyper_of(method, **changes):
    """Strongly typed, so that other values are the same program."""
    values = method.hyper._asdict() | changes
    return type(method.hyper)(**{name: np.float32(value) for name, value in values.items()})


@functools.cache
def make_chunk(method, members_per_step=1):
    return loop.make_chunk(method, batch_size=8, members_per_step=members_per_step)


def train(method, seeds, num_steps, members_per_step=1, dtype=np.float32):
    """Final states and infos of ``seeds``, trained side by side on the toy batch."""
    group = members.make_members(method, seeds, dtype=dtype)
    states = members.init_states(method, group.seed, devices.make_layout().members)
    data = Batch(*(x[None] for x in batch(dtype)))
    chunk = make_chunk(method, members_per_step)
    return chunk(states, group.hyper, np.zeros(group.size, np.int32), data, np.int32(num_steps))


def assert_equal(a, b):
    """Bitwise, typed keys included."""
    a, b = jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, (a, b))
    chex.assert_trees_all_equal(a, b)


def test_config_and_hyper_are_plain_data(module):
    config = module.Config()
    assert dataclasses.is_dataclass(config) and hash(config) == hash(module.Config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.init = "lecun"
    assert all(isinstance(value, float) for value in module.Hyper())


def test_values_outside_a_literal_are_refused(module):
    """The command line checks them, and so must the library: a typo may not fall through to another branch."""
    checked = 0

    def check(cls, build):
        nonlocal checked
        for name, hint in typing.get_type_hints(cls).items():
            if typing.get_origin(hint) is typing.Literal:
                checked += 1
                with pytest.raises(InputError, match=f"{name}='typo': expected one of"):
                    build(**{name: "typo"})

    check(module.Config, module.Config)
    if hasattr(module.Config(), "generator"):
        check(GeneratorConfig, GeneratorConfig)
    assert checked


def test_shapes_and_finite_values(module):
    method = make(module)
    state = jax.jit(method.init)(jax.random.key(0))
    data = batch()
    after, info = jax.jit(method.step)(state, data, hyper_of(method))
    assert int(after.step) == 1
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    chex.assert_tree_all_finite((after.params, info))
    chex.assert_shape(list(info), ())
    key = jax.random.key(1)
    assert jax.jit(method.sample, static_argnums=3)(key, after.params, data.obs, 5).shape == (5, ROWS, 2)
    assert jax.jit(method.act)(key, after.params, data.obs).shape == (ROWS, 2)
    for density in (method.energy, method.log_prob):
        if density is not None:
            for lead in ((), (2, 3)):
                action = jnp.zeros((*lead, ROWS, 2))
                assert jax.jit(density)(after.params, data.obs, action).shape == (*lead, ROWS)


def test_optional_parts_are_what_they_are_called(module):
    method = make(module)
    assert method.latents is None or isinstance(method.latents, Latents)
    assert method.transport is None or isinstance(method.transport, Transport)
    assert isinstance(method.num_evaluations, int) and method.num_evaluations >= 1
    assert set(method.losses) <= set(module.Info._fields)


# Policies that are maps of noise, beside those that are not.
MAPS = {
    "flow": ({},),
    "diffusion": ({},),
    "cgan": ({}, {"latent_dim": 0}),
    "ebgan": ({},),
    "energy_score": ({}, {"network": "lipschitz"}),
    "cvae": (
        {"reconstruction": "l1"},
        {"sample_by": "mean", "prior": "learned"},
        {"sample_by": "mean", "prior": "flow"},
    ),
}
NO_MAPS = {
    "diffusion": ({"eta": 0.1},),
    "ebgan": ({"sample_by": "rerank"},),
    "cvae": ({}, {"sample_by": "zero", "reconstruction": "l1"}),
}


def test_transport_is_what_sample_applies_to_noise(module):
    """To that of the key, or of the first of its two halves; in data units too. Each action is of its own observation and noise."""
    name = name_of(module)
    assert name in MAPS or make(module).transport is None
    for changes in NO_MAPS.get(name, ()):
        assert module.make(small(name, **changes), SPEC, HORIZON).transport is None
    units = Normalization((10.0,), (2.0,), (5.0, -1.0), (3.0, 0.5))
    obs, key = jnp.asarray(batch().obs), jax.random.key(1)
    for changes in MAPS.get(name, ()):
        inner = module.make(small(name, **changes), SPEC, HORIZON)
        params = jax.jit(inner.init)(jax.random.key(0)).params
        for method in (inner, in_data_units(inner, units)):
            draws = jax.jit(method.sample, static_argnums=3)(key, params, obs, 5)
            apply = jax.jit(functools.partial(method.transport.apply, params))
            shape = (5, ROWS, method.transport.noise_dim)
            noises = [jax.random.normal(k, shape) for k in (key, jax.random.split(key)[0])]
            assert any(np.allclose(apply(obs, noise), draws, rtol=1e-4, atol=1e-5) for noise in noises)
        other = apply(obs.at[3].add(1.0), noises[0].at[:, 7].add(1.0).at[2, 9].add(1.0))
        change = np.any(np.abs(other - apply(obs, noises[0])) > 1e-5, axis=-1)
        expected = np.zeros_like(change)
        expected[:, 3] = True
        if shape[-1]:
            expected[:, 7] = expected[2, 9] = True
        np.testing.assert_array_equal(change, expected)


def test_log_prob_is_the_density_of_sample(module):
    """Integrates to one, and gives the frequencies of samples: DKW band of false-fail rate 1e-6."""
    spec = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
    method = make(module, spec=spec)
    if method.log_prob is None:
        pytest.skip("has no density")
    params = jax.jit(method.init)(jax.random.key(3)).params
    obs = jnp.asarray([[0.3]])
    grid = np.linspace(-12.0, 12.0, 6001, dtype=np.float32)
    log_prob = jax.jit(method.log_prob)(params, obs, grid[:, None, None])[:, 0]
    density = np.exp(np.asarray(log_prob, np.float64))
    cumulative = np.cumsum(density) * (grid[1] - grid[0])
    np.testing.assert_allclose(cumulative[-1], 1.0, atol=1e-4)
    draws = np.sort(jax.jit(method.sample, static_argnums=3)(jax.random.key(4), params, obs, 4000)[:, 0, 0])
    empirical = np.searchsorted(draws, grid, side="right") / draws.size
    band = np.sqrt(np.log(2 / 1e-6) / (2 * draws.size))
    assert np.max(np.abs(empirical - cumulative)) < band + 2e-3


def test_training_learns_and_depends_on_the_seed(module):
    method = make_trained(module)
    _, first = train(method, [0, 1], HORIZON.steps_per_epoch)
    states, info = train(method, [0, 1], HORIZON.num_steps)
    name = method.losses[0]
    assert np.all(getattr(info, name) < getattr(first, name))  # means over the steps
    one, two = (jax.tree.map(lambda x, i=i: x[i], states.train.params) for i in (0, 1))
    with pytest.raises(AssertionError):
        assert_equal(one, two)


def test_noise_changes_from_step_to_step(module):
    """The same state but for its step counter takes another step wherever the method draws noise."""
    method = make(module)
    state = jax.jit(method.init)(jax.random.key(0))
    step = jax.jit(method.step)
    first, _ = step(state, batch(), hyper_of(method))
    again, _ = step(state, batch(), hyper_of(method))
    later, _ = step(state._replace(step=state.step + 1), batch(), hyper_of(method))
    assert_equal(first.params, again.params)
    if "energy" in state.params._fields:
        with pytest.raises(AssertionError):
            assert_equal(first.params.energy, later.params.energy)


def test_member_of_a_mapped_run_equals_its_solo_run_bitwise(module):
    method = make_trained(module)
    together, info = train(method, [0, 1], 12)
    for seed in (0, 1):
        alone, solo_info = train(method, [seed], 12)
        pick = lambda tree, i=seed: jax.tree.map(lambda x: x[i : i + 1], tree)  # noqa: E731
        assert_equal(pick(together), alone)
        assert_equal(pick(info), solo_info)


def test_cutting_the_chunks_elsewhere_changes_nothing(module):
    method = make_trained(module)
    whole, _ = train(method, [0], 12)
    group = members.make_members(method, [0])
    chunk = make_chunk(method)
    states = members.init_states(method, group.seed, devices.make_layout().members)
    for steps in (5, 1, 6):
        data = Batch(*(x[None] for x in batch()))
        states, _ = chunk(states, group.hyper, np.zeros(1, np.int32), data, np.int32(steps))
    assert_equal(whole, states)


@pytest.mark.slow
def test_vectorised_member_equals_its_solo_run_in_float64(module):
    """float32 cannot show this: Adam turns the rounding of near-zero gradients into full steps."""
    with jax.enable_x64(True):
        method = make_trained(module)
        together, _ = train(method, range(16), 50, 16, np.float64)
        alone, _ = train(method, [11], 50, 1, np.float64)
        leaves = jax.tree.leaves(alone.train.params)
        assert all(leaf.dtype == jnp.float64 for leaf in leaves)
        chex.assert_trees_all_close(
            jax.tree.map(lambda x: x[11:12], together.train.params), alone.train.params, atol=1e-8, rtol=0
        )


def test_new_hyperparameters_and_lengths_compile_nothing(module):
    method = make_trained(module)
    group = members.make_members(method, [0, 1])
    chunk = make_chunk(method)
    sharding = devices.make_layout().members
    data = jax.device_put(Batch(*(x[None] for x in batch())))
    states = members.init_states(method, group.seed, sharding)
    states, _ = chunk(states, group.hyper, np.zeros(2, np.int32), data, np.int32(2))
    compiled = []
    listener = lambda name, *_, **__: compiled.append(name) if "backend_compile" in name else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for name in method.hyper._fields:
            other = members.make_members(method, [5, 6], {name: [0.25]})
            states, _ = chunk(states, other.hyper, np.zeros(2, np.int32), data, np.int32(3))
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)


# Settings that between them give every hyperparameter something to do, where the defaults do not.
VARIANTS = {
    "ibc": (
        ({"num_candidates": 64, "langevin_share": 0.5, "gradient_penalty": "2"}, {"penalty_margin": 0.01}),
        ({"num_candidates": 64, "search": "langevin", "second_pass": True}, {}),
        ({"num_candidates": 64, "replay_buffer": 2_000}, {}),
    ),
    "cvae": (({}, {}), ({"regulariser": "sinkhorn"}, {}), ({"prior": "flow"}, {})),
    "vq": (({"num_levels": 2, "latent_dim": 2, "num_codes": 4}, {"restart_below": 1.0}),),
    "energy_score": (({"network": "lipschitz"}, {"lipschitz": 1.0}),),  # a limit that is reached at once
}


def test_every_hyperparameter_changes_training_or_the_actions(module):
    """Params themselves may hold a copy of Hyper, so what is compared is logs of a few steps, energies and draws."""
    idle = set(module.Hyper._fields)
    for changes, hyper in VARIANTS.get(name_of(module), (({}, {}),)):
        config = small(name_of(module), **changes)
        method = make(module) if not changes else module.make(config, SPEC, HORIZON, GRADIENT_DESCENT)
        start = jax.jit(method.init)(jax.random.key(0))
        if module is not nearest_neighbour:  # whose memory is full after an epoch
            start = start._replace(step=jnp.asarray(HORIZON.num_steps, jnp.int32))
        step, sample = jax.jit(method.step), jax.jit(method.sample, static_argnums=3)
        energy = jax.jit(method.energy or (lambda params, obs, action: obs))

        def outcome(hyper, start=start, step=step, sample=sample, energy=energy):
            state = start
            for _ in range(3):
                state, info = step(state, batch(), hyper)
            data = batch()
            return (
                info,
                energy(state.params, data.obs, data.action),
                sample(jax.random.key(1), state.params, data.obs, 5),
            )

        reference = outcome(hyper_of(method, **hyper))
        for name in sorted(idle):
            value = hyper.get(name, getattr(method.hyper, name))
            other = outcome(hyper_of(method, **hyper | {name: value * 0.5 or 0.5}))
            if any(np.any(a != b) for a, b in zip(jax.tree.leaves(reference), jax.tree.leaves(other), strict=True)):
                idle.remove(name)
    # At the end of a run alpha is at its floor and the warm-up is over; tests/test_ebgan_mdn.py has both.
    assert idle <= {"alpha", "warm_up"}


def test_split_batch_takes_the_step_of_the_full_batch(module):
    """``vmap(axis_name=...)`` stands in for data parallelism."""
    method = make(module)
    state = jax.jit(method.init)(jax.random.key(0))
    whole, info = jax.jit(method.step)(state, batch(), hyper_of(method))
    parts = jax.tree.map(lambda x: x.reshape(4, ROWS // 4, *x.shape[1:]), batch())
    split = jax.vmap(lambda part: method.step(state, part, hyper_of(method), "batch"), axis_name="batch")
    states, infos = jax.jit(split)(parts)
    for part in range(4):
        pick = lambda tree, i=part: jax.tree.map(lambda x: x[i], tree)  # noqa: E731
        chex.assert_trees_all_close(pick(states.params), whole.params, atol=1e-7, rtol=1e-5)
        chex.assert_trees_all_close(pick(infos), info, atol=1e-5, rtol=1e-4)


# What wraps a method in data units is the same code for all: one with every function, and one that searches in its box.
@pytest.mark.parametrize("name", ["ebgan_mdn", "ibc"])
def test_data_units(name):
    """In data units a method is the same policy: samples scaled, densities with the volume of the map."""
    normalization = Normalization((10.0,), (2.0,), (5.0, -1.0), (3.0, 0.5))
    inner = make(METHODS[name])
    outer = in_data_units(inner, normalization)
    params = jax.jit(inner.init)(jax.random.key(0)).params
    data = batch()
    obs = data.obs * 2.0 + 10.0
    action = normalization.action_to_data(data.action)
    data = normalization.batch(Batch(obs, action))  # rounded alike: resampling among thousands is not continuous in obs
    key = jax.random.key(1)
    np.testing.assert_allclose(
        jax.jit(outer.sample, static_argnums=3)(key, params, obs, 5),
        normalization.action_to_data(jax.jit(inner.sample, static_argnums=3)(key, params, data.obs, 5)),
        rtol=1e-4,
    )
    if inner.log_prob is not None:
        expected = jax.jit(inner.log_prob)(params, data.obs, data.action) - np.log(3.0 * 0.5)
        np.testing.assert_allclose(jax.jit(outer.log_prob)(params, obs, action), expected, rtol=1e-4, atol=1e-4)
    if inner.energy is not None:
        expected = jax.jit(inner.energy)(params, data.obs, data.action)
        np.testing.assert_allclose(jax.jit(outer.energy)(params, obs, action), expected, rtol=1e-4, atol=1e-5)
    state = jax.jit(inner.init)(jax.random.key(0))
    stepped, _ = jax.jit(outer.step)(state, Batch(obs, action), hyper_of(inner))
    expected, _ = jax.jit(inner.step)(state, data, hyper_of(inner))
    chex.assert_trees_all_close(stepped.params, expected.params, atol=3e-3)


@pytest.mark.parametrize("name", ["ebgan_mdn", "ibc"])
def test_identity_normalization_changes_no_bit(name):
    inner = make(METHODS[name])
    outer = in_data_units(inner, identity(SPEC))
    state, hyper = jax.jit(inner.init)(jax.random.key(0)), hyper_of(inner)
    assert_equal(jax.jit(inner.step)(state, batch(), hyper), jax.jit(outer.step)(state, batch(), hyper))


@pytest.mark.parametrize("task", ["hyperbola", "ur5_sincos", "ur5_pose", "particle_32d"])
def test_methods_fit_the_shapes_of_tasks(module, task):
    """One step: the fewest dimensions, the most, more actions than observations, and fewer."""
    spec = TASKS[task].spec
    method = module.make(module.Config(), spec, HORIZON)
    state = jax.eval_shape(method.init, jax.random.key(0))
    data = Batch(*(jax.ShapeDtypeStruct((4, dim), jnp.float32) for dim in (spec.obs_dim, spec.action_dim)))
    after, _ = jax.eval_shape(lambda state, data: method.step(state, data, method.hyper), state, data)
    chex.assert_trees_all_equal_shapes(state, after)
