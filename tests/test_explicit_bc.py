"""Explicit behavioural cloning with spectrally normalised layers: what it carries, and how steep it can be."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ebgan_mdn_jax.methods import explicit_bc
from ebgan_mdn_jax.types import Batch, Horizon, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))


def train(spectral):
    """Trained on a line of slope 3."""
    method = explicit_bc.make(explicit_bc.Config(hidden=(16, 16), spectral=spectral), SPEC, Horizon(600, 1))
    obs = jnp.linspace(-0.3, 0.3, 32)[:, None]
    batch = Batch(obs, 3 * obs)

    def step(state, _):
        return method.step(state, batch, method.hyper._replace(learning_rate=0.01))

    start = jax.jit(method.init)(jax.random.key(0))
    state, info = jax.jit(lambda state: jax.lax.scan(step, state, length=600))(start)
    grid = jnp.linspace(-1, 1, 201)[:, None]
    slope = np.diff(jax.jit(method.act)(jax.random.key(0), state.params, grid)[:, 0]) / 0.01
    return method, batch, start, state, np.abs(slope).max()


def test_a_spectral_policy_is_no_steeper_than_one_and_a_plain_one_learns_the_slope():
    method, batch, start, state, steepest = train(True)
    assert 0.9 < steepest < 1.02
    carried = jax.tree.leaves(start.params.policy["spectral"]), jax.tree.leaves(state.params.policy["spectral"])
    assert len(carried[0]) == 3 and all(np.any(old != new) for old, new in zip(*carried, strict=True))
    assert len(jax.tree.leaves(state.opt_state)) == 1 + 2 * 6  # directions are not trained
    halves = jax.tree.map(lambda rows: rows.reshape(2, 16, 1), batch)
    whole, _ = jax.jit(method.step)(state, batch, method.hyper)
    split, _ = jax.jit(jax.vmap(lambda rows: method.step(state, rows, method.hyper, "batch"), axis_name="batch"))(
        halves
    )
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], split.params), whole.params, rtol=1e-4, atol=1e-6)
    assert 2.9 < train(False)[-1] < 3.5


def test_dropout_is_of_training_and_of_each_row_alone():
    config = explicit_bc.Config(hidden=(16, 16), dropout=0.5)
    method = explicit_bc.make(config, SPEC, Horizon(600, 1), optax.identity())
    state = jax.jit(method.init)(jax.random.key(0))
    obs = jnp.linspace(-1, 1, 8)[:, None]
    batch = Batch(obs, jnp.sin(3 * obs))
    step = jax.jit(method.step)
    (first, info), (second, later) = (step(state._replace(step=jnp.asarray(k)), batch, method.hyper) for k in (0, 1))
    assert info.mse != later.mse  # other units at every step
    plain = np.mean((np.asarray(method.act(jax.random.key(0), state.params, obs)) - np.asarray(batch.action)) ** 2)
    assert abs(float(info.mse) - plain) > 1e-4  # acting drops none
    halves = jax.tree.map(lambda rows: rows.reshape(2, 4, 1), batch)
    split, _ = jax.jit(jax.vmap(lambda rows: method.step(state, rows, method.hyper, "batch"), axis_name="batch"))(
        halves
    )
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], split.params), first.params, rtol=1e-5, atol=1e-7)
