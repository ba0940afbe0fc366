r"""Certify the samplers: what they draw on targets whose law is known, beside what theory says that they draw.

    python -m experiments.certify

Every sampler runs 20,000 independent chains of 2,000 steps (the derivative-free search: a population of 20,000) from uniform starts, or
where a target has two modes from one of them, and the ends are its draws. Columns:

* ``mean_error``, ``std_ratio``: of the draws against the *target*, in its deviations; the worst dimension. What a user gets.
* ``theory_std_ratio``: what the same chain would give after infinitely many steps (`samplers.stationary`). NaN where that is not known:
  of the search in two dimensions, and of IBC's chain between modes that it never leaves.
* ``z_mean``, ``z_std``: the draws against *theory*, in standard errors. Beyond 5.2 the implementation is wrong or the chain has not
  arrived: for 16 rows of at most 2 dimensions and 2 tests each, that is a false alarm once in 100,000 runs (``false_fail``).
* ``detectable_std``: the smallest relative error of a deviation that these tests see in half of all runs.
* ``ess_per_s``: effective draws per second, from the variance of the means of whole chains; none where chains do not mix.

The verdict says in words which samplers do not mix, or sample at another temperature.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ebgan_mdn_jax import collectives
from ebgan_mdn_jax.samplers import base, derivative_free, langevin, stationary
from experiments.benchmarks import measure

NUM_CHAINS, NUM_STEPS = 20_000, 2_000
_TESTS = 16 * 2 * 2
_FALSE_FAIL = 1e-5
THRESHOLD = float(stats.norm.isf(_FALSE_FAIL / _TESTS / 2))
_STEP_SIZE = 1e-3  # Ta et al., figure 1
_MOST_CELLS = 6_000  # of a grid: a linear system of that size takes seconds
_ITERATIONS, _SIGMA, _SHRINK = 3, 0.33, 0.5  # of the derivative-free search, as in IBC


class Target(NamedTuple):
    """An energy ``[..., Da] -> [...]`` in a box, and the exact mean and deviation of ``exp(-E)`` there."""

    energy: Callable
    low: tuple[float, ...]
    high: tuple[float, ...]
    law: stationary.Law
    covariance: np.ndarray | None  # of a Gaussian that the box does not cut
    starts_in: tuple[float, float] | None = None  # where chains start, if not anywhere in the box


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Target:
    """A Gaussian in a box 20 deviations wide."""
    precision, centre = jnp.asarray(np.linalg.inv(covariance)), jnp.asarray(mean)
    std = np.sqrt(np.diag(covariance))

    def energy(action):
        away = action - jnp.broadcast_to(centre, action.shape)
        return jnp.sum((away @ precision) * away, axis=-1) / 2

    return Target(energy, tuple(mean - 10 * std), tuple(mean + 10 * std), stationary.Law(mean, std), covariance)


def targets() -> dict[str, Target]:
    """Anisotropic (Ta et al., figure 1), correlated, two separated modes of unequal weight, and cut by the box at its mean."""
    mean, std = np.array([0.3, 0.4]), np.array([0.1, 0.2])
    correlated = np.outer(std, std) * np.array([[1.0, 0.9], [0.9, 1.0]])

    def two_modes(action):
        left, right = (-((action[..., 0] - centre) ** 2) / (2 * 0.1**2) for centre in (-0.5, 0.5))
        return -jnp.logaddexp(jnp.log(0.3) + left, jnp.log(0.7) + right)

    def half(action):
        return action[..., 0] ** 2 / (2 * 0.3**2)

    return {
        "anisotropic": gaussian(mean, np.diag(std**2)),
        "correlated": gaussian(mean, correlated),
        "two modes": _in_one_dimension(two_modes, -1.0, 1.0, starts_in=(-0.6, -0.4)),
        "cut by the box": _in_one_dimension(half, 0.0, 1.0),
    }


def _in_one_dimension(energy, low, high, starts_in=None):
    points = stationary.make_grid(low, high).points
    law = stationary.law_of(points, np.exp(-_on_points(energy)(points)))
    return Target(energy, (low,), (high,), law, None, starts_in)


def _on_points(function):
    """A function of actions ``[..., 1]`` as one of points ``[M]``, in NumPy."""
    return lambda points: np.asarray(function(jnp.asarray(points)[:, None]), np.float64)


def samplers() -> dict[str, dict]:
    """Settings of `langevin.make` by name; the derivative-free search has none."""
    forms = {name: {"noise": name} for name in ("langevin", "langevin_half", "ibc")}
    return forms | {"mala": {"noise": "langevin", "metropolis": True}}


def theory(target: Target, settings: dict) -> stationary.Law:
    """What infinitely long chains of a sampler draw."""
    if settings.get("metropolis"):
        return target.law
    if target.covariance is not None:
        return stationary.langevin_on_gaussian(target.law.mean, target.covariance, _STEP_SIZE, settings["noise"])
    slope = jax.vmap(jax.grad(lambda action: target.energy(action)))
    gradient = lambda points: np.asarray(slope(jnp.asarray(points)[:, None])[:, 0], np.float64)  # noqa: E731
    _, noise = langevin.coefficients(settings["noise"], _STEP_SIZE)
    cells = min(max(1000, int(6 * (target.high[0] - target.low[0]) / float(noise))), _MOST_CELLS)
    grid = stationary.make_grid(target.low[0], target.high[0], cells)
    return stationary.langevin_on_grid(gradient, grid, _STEP_SIZE, settings["noise"])


def run_chains(target: Target, settings: dict, num_chains: int, num_steps: int):
    """The ends of chains ``[C, Da]``, the mean of each chain's second half ``[C, Da]``, infos, and seconds after compilation."""
    sampler = langevin.make(jnp.full(num_steps, _STEP_SIZE), target.low, target.high, **settings)

    def energy_fn(obs, action):
        return target.energy(action)

    def chains(key):
        key_start, key_run = jax.random.split(key)
        low, high = target.starts_in or (jnp.asarray(target.low), jnp.asarray(target.high))
        start = jax.random.uniform(key_start, (num_chains, 1, len(target.low)), minval=low, maxval=high)
        keys, obs = collectives.row_keys(key_run, 1), jnp.zeros((1, 0))
        half = num_steps // 2
        first = base.run(keys, sampler._replace(num_steps=half), energy_fn, obs, start)[0]

        def add(carry, index):
            state, total = carry
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            state, info = sampler.step(step_keys, energy_fn, obs, state)
            return (state, total + state.action), info

        zeros = jnp.zeros_like(start)
        (last, total), infos = jax.lax.scan(add, (first, zeros), half + jnp.arange(num_steps - half))
        return last.action[:, 0], total[:, 0] / (num_steps - half), jax.tree.map(jnp.mean, infos)

    compiled = jax.jit(chains).lower(jax.random.key(0)).compile()
    began = time.perf_counter()
    result = jax.block_until_ready(compiled(jax.random.key(0)))
    return *(np.asarray(values, np.float64) for values in result[:2]), result[2], time.perf_counter() - began


def run_search(target: Target, num_candidates: int):
    """A population of the derivative-free search ``[C, Da]``."""

    def search(key):
        return derivative_free.search(
            key, lambda obs, action: target.energy(action), jnp.zeros(1), target.low, target.high,
            num_candidates, _ITERATIONS, _SIGMA, _SHRINK,
        ).action  # fmt: skip

    return np.asarray(jax.jit(search)(jax.random.key(0)), np.float64)


def compare(draws: np.ndarray, target: Target, law: stationary.Law | None) -> dict:
    """Errors of independent ``draws [C, Da]`` against the target, and in standard errors against ``law``."""
    num, mean, std = len(draws), draws.mean(0), draws.std(0)
    row = {
        "mean_error": np.max(np.abs(mean - target.law.mean) / target.law.std),
        "std_ratio": _farthest_from_one(std / target.law.std),
    }
    # Deviations of a deviation: by the delta method, from the fourth moment.
    kurtosis = ((draws - mean) ** 4).mean(0) / std**4
    relative_error = np.sqrt((kurtosis - 1) / (4 * num))
    known = law is not None
    return row | {
        "theory_std_ratio": _farthest_from_one(law.std / target.law.std) if known else np.nan,
        "z_mean": np.max(np.abs(mean - law.mean) / (law.std / np.sqrt(num))) if known else np.nan,
        "z_std": np.max(np.abs(std / law.std - 1) / relative_error) if known else np.nan,
        "detectable_std": THRESHOLD * np.max(relative_error),
        "false_fail": _FALSE_FAIL,
    }


def _farthest_from_one(ratios: np.ndarray) -> float:
    return float(ratios[np.argmax(np.abs(np.log(ratios)))])


def verdict(row: dict) -> str:
    """In words: does a chain draw the target?"""
    if row["target"] == "two modes" and row["mean_error"] > 0.2:
        return "does not mix"
    if max(row["z_mean"], row["z_std"]) > THRESHOLD:
        return "not what theory says: wrong, or not arrived"
    ratio = row["std_ratio"]
    if abs(ratio - 1) > 0.1 or row["mean_error"] > 0.1:
        return f"samples another law: deviations x {ratio:.2g}, a temperature of {ratio**2:.2g} on a Gaussian"
    return (
        "samples the target" if abs(row["theory_std_ratio"] - 1) < 1e-6 else "samples the target, but for the step size"
    )


def rows(num_chains: int = NUM_CHAINS, num_steps: int = NUM_STEPS) -> list[dict]:
    """A row per target and sampler."""
    table = []
    for name, target in targets().items():
        for sampler, settings in samplers().items():
            draws, means, infos, seconds = run_chains(target, settings, num_chains, num_steps)
            row = {"target": name, "sampler": sampler} | compare(draws, target, theory(target, settings))
            row |= {"acceptance": float(infos.acceptance), "clip_share": float(infos.clip_share)}
            # T steps of correlation time tau have a mean of variance std^2 tau / T.
            effective = num_chains * np.min(draws.var(0) / means.var(0))
            words = verdict(row)
            table.append(row | {"ess_per_s": np.nan if "mix" in words else effective / seconds, "verdict": words})
        draws = run_search(target, num_chains)
        law = None
        if len(target.low) == 1:
            grid = stationary.make_grid(target.low[0], target.high[0])
            law, _ = stationary.derivative_free_on_grid(_on_points(target.energy), grid, _ITERATIONS, _SIGMA, _SHRINK)
        row = compare(draws, target, law) | {"acceptance": 1.0, "clip_share": np.nan}
        table.append(
            {
                "target": name,
                "sampler": "derivative_free",
                **row,
                "ess_per_s": np.nan,
                "verdict": "a search, not a sampler",
            }
        )
    return table


if __name__ == "__main__":
    measure.command("certify", rows)
