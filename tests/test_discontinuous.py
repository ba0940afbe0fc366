"""Functions with jumps, and what policies of known shape score on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ebgan_mdn_jax.evaluation import landscapes
from ebgan_mdn_jax.tasks import TASKS, discontinuous
from ebgan_mdn_jax.tasks.base import Conditional, Data
from ebgan_mdn_jax.types import Batch

DATA = Data(*[Batch(jnp.zeros((1, 1)), jnp.zeros((1, 1)))] * 2, jnp.ones(1, bool))


def score(name, act):
    """Metrics of the policy that takes ``act(obs)``."""
    task = TASKS[name]
    policy = Conditional(sample=None, log_prob=None, act=lambda key, obs: act(obs))
    return jax.jit(lambda: task.evaluate(jax.random.key(0), policy, DATA, task.evaluation))()


def ramp(obs, width):
    """Between -0.5 and 0.5, linear over ``width`` around 0."""
    return jnp.clip(obs / width, -0.5, 0.5)


def test_pieces_in_numpy():
    x = np.linspace(-1.5, 1.5, 301)[:, None] + 1e-4
    expected = np.where(x < -0.4, 0.8 + 0.5 * x, np.where(x < 0.3, -0.5 - 0.5 * x, 0.2 + 0.5 * x))
    np.testing.assert_allclose(discontinuous.PIECEWISE(jnp.asarray(x)), expected, atol=1e-6)
    values = np.asarray(discontinuous._jumps(4)(jnp.asarray([[-0.9], [-0.4], [0.0], [0.4], [0.9]])))
    np.testing.assert_array_equal(values[:, 0], [-0.5, 0.5, -0.5, 0.5, -0.5])


@pytest.mark.parametrize("name", discontinuous.VARIANTS)
def test_the_function_itself_makes_no_error(name):
    segments = TASKS[name].evaluate.keywords["segments"]
    metrics = score(name, segments)
    jumps = {} if name.startswith("slope") else {"gap_share": 0.0}
    assert metrics == jumps | {"piece_error": 0.0, "extrapolation_error": 0.0}
    assert TASKS[name].primary in metrics


@pytest.mark.parametrize("width", [0.005, 0.02, 0.1])
def test_a_ramp_is_in_the_gap_as_far_as_it_is_steep(width):
    """Inputs reach 0.01 to either side; the middle 80 % of a ramp is 0.8 of its width."""
    metrics = score("step", lambda obs: ramp(obs, width))
    assert float(metrics["gap_share"]) == pytest.approx(min(100.0, 100 * 0.8 * width / 0.02), abs=1.0)
    # Beyond 0.01 the ramp is off by 0.5 - |x| / width; 200 inputs over the box.
    x = np.linspace(-1, 1, 200)
    off = np.maximum(0.5 - np.abs(x) / width, 0)[np.abs(x) > 0.01]
    assert float(metrics["piece_error"]) == pytest.approx(off.mean(), abs=1e-4)
    assert float(metrics["extrapolation_error"]) == 0.0


@pytest.mark.parametrize("slope", [1, 10, 1000])
def test_slopes_are_cut_off_lines(slope):
    x = np.linspace(-1.5, 1.5, 301)[:, None]
    segments = TASKS[f"slope_{slope}"].evaluate.keywords["segments"]
    np.testing.assert_allclose(segments(jnp.asarray(x)), np.clip(slope * x, -0.5, 0.5), atol=2e-6 * slope)


@pytest.mark.parametrize(("second", "count"), [(0.7, 1.0), (0.05, 0.0)])
def test_minima_of_the_energy_off_the_right_action_are_spurious(second, count):
    """Two valleys, at the right action and ``second`` away from it, in the direction of 0."""
    segments = TASKS["step"].evaluate.keywords["segments"]

    def energy(obs, action):
        right = jnp.broadcast_to(segments(obs), action.shape)
        away = jnp.minimum(jnp.abs(action - right), jnp.abs(action - right * (1 - 2 * second)) + 0.01)
        return 3.0 * away[..., 0]

    task = TASKS["step"]
    policy = Conditional(None, None, energy, lambda key, obs: segments(obs))
    metrics = jax.jit(lambda: task.evaluate(jax.random.key(0), policy, DATA, task.evaluation))()
    assert float(metrics["spurious_minima"]) == count
    assert float(metrics["steepest"]) == pytest.approx(3.0, rel=1e-3)


def test_extrapolation_goes_on_along_the_outer_pieces():
    metrics = score("piecewise", lambda obs: jnp.where(obs > 0, 0.7, 0.3))  # constant from the edges on
    assert float(metrics["extrapolation_error"]) == pytest.approx(0.5 * 0.25, rel=1e-4)


def test_local_minima_by_hand():
    """Also at the ends; of a flat valley the last action; a flat shoulder is none."""
    valleys, slopes, shoulder = (
        [0.0, 1.0, 0.5, 0.5, 2.0, 1.0],
        [3.0, 1.0, 1.0, 2.0, 2.0, 1.5],
        [0.0, 1.0, 1.0, 2.0, 2.0, 2.5],
    )
    energy = jnp.asarray([valleys, slopes, shoulder]).T
    expected = np.array([[1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0]], bool).T
    np.testing.assert_array_equal(landscapes.local_minima(energy), expected)
    assert float(landscapes.steepest(energy, 0.5)) == 4.0
