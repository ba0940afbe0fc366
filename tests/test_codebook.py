"""Codebooks: against NumPy, and what restarts where."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from ebgan_mdn_jax.methods import codebook

learn = jax.jit(codebook.learn)


def test_quantisation_and_averages_are_those_of_loops():
    """Two levels and two minibatches, the second with other rows; no code is so rare that it restarts."""
    generator = np.random.default_rng(0)
    codes, usage = generator.normal(size=(2, 3, 2)), generator.uniform(0.2, 0.5, (2, 3))
    ours = jnp.asarray(codes, jnp.float32), jnp.asarray(usage, jnp.float32)
    for _ in range(2):
        latent = generator.normal(size=(20, 2))
        start, found = codes.copy(), np.zeros((20, 2), int)
        left, entropies = latent.copy(), []
        for level in range(2):
            for row in range(20):
                found[row, level] = np.argmin([np.sum((left[row] - code) ** 2) for code in start[level]])
            for k in range(3):
                rows = left[found[:, level] == k]
                total = 0.9 * usage[level, k] * codes[level, k] + 0.1 * rows.sum(0) / 20
                usage[level, k] = 0.9 * usage[level, k] + 0.1 * len(rows) / 20
                codes[level, k] = total / usage[level, k]
            entropies.append(scipy.stats.entropy(np.bincount(found[:, level], minlength=3)))
            left -= start[level][found[:, level]]
        rows = jnp.asarray(latent, jnp.float32)
        current, *ours, used = learn(jax.random.key(0), *ours, rows, 0.9, 0.1)
        np.testing.assert_allclose(current, start, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(codebook.quantise(current, rows), found)
        np.testing.assert_allclose(codebook.look_up(current, jnp.asarray(found)), latent - left, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours[0], codes, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours[1], usage, rtol=1e-5)
        np.testing.assert_allclose(used, np.mean(np.exp(entropies)), rtol=1e-5)


def test_all_codes_start_at_data_and_groups_of_any_size_have_one():
    corners = np.float32([[-0.9, -0.8], [0.1, 0.9], [0.8, -0.3]])
    rows = np.repeat(corners, (100, 4, 2), axis=0)
    rows += np.random.default_rng(0).normal(size=rows.shape).astype(np.float32) * 1e-3
    codes, usage = jnp.zeros((1, 3, 2)), jnp.zeros((1, 3))
    current, after, usage, used = learn(jax.random.key(0), codes, usage, jnp.asarray(rows), 0.99, 0.1)
    for group in (current[0], after[0]):
        np.testing.assert_allclose(np.sort(group, axis=0), np.sort(corners, axis=0), atol=0.01)
    # A share of 1/3 each at the start, and one in a hundred parts of what the minibatch has.
    np.testing.assert_allclose(np.sort(usage[0]), 0.99 / 3 + 0.01 * np.asarray([2, 4, 100]) / 106, rtol=1e-5)
    np.testing.assert_allclose(used, np.exp(scipy.stats.entropy([100, 4, 2])), rtol=1e-5)


def test_a_dead_code_restarts_far_from_the_living_ones():
    """At rows 0, 1 and 3 with a living code at 0 it is at 1 and 3 by their squared distances, 1 and 9; others stay."""
    rows, level, usage = (
        jnp.asarray([[0.0], [1.0], [3.0]]),
        jnp.asarray([[0.5], [9.0], [0.0]]),
        jnp.asarray([0.0, 0.5, 0.4]),
    )
    level = level.at[1].set(0.0)
    keys = jax.random.split(jax.random.key(0), 4000)
    fresh, shares = jax.jit(jax.vmap(lambda key: codebook.restarted(key, level, usage, rows, 0.01)))(keys)
    np.testing.assert_array_equal(fresh[:, 1:], 0.0)
    np.testing.assert_allclose(shares, np.broadcast_to([1 / 3, 0.5, 0.4], shares.shape), rtol=1e-6)
    assert set(np.unique(fresh[:, 0])) == {1.0, 3.0}
    count = int(np.sum(fresh[:, 0] == 3.0))
    assert scipy.stats.binomtest(count, 4000, 0.9).pvalue > 1e-6
    kept, same = jax.jit(codebook.restarted)(keys[0], level, usage + 0.01, rows, 0.01)
    np.testing.assert_array_equal(kept, level)
    np.testing.assert_array_equal(same, usage + 0.01)


def test_the_gradient_goes_straight_through():
    """The slope is that at the quantised value, handed on to the latent."""
    latent, quantised = jnp.asarray([0.3, -0.2]), jnp.asarray([1.0, 2.0])
    value, slope = jax.value_and_grad(lambda z: jnp.sum(codebook.straight_through(z, quantised) ** 3))(latent)
    np.testing.assert_allclose(value, 9.0, rtol=1e-6)
    np.testing.assert_allclose(slope, 3 * quantised**2, rtol=1e-6)
    constant = jax.grad(lambda q: jnp.sum(codebook.straight_through(latent, q) ** 3))(quantised)
    np.testing.assert_array_equal(constant, 0.0)
