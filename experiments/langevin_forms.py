"""Three forms of Langevin dynamics against theory (Ta et al. 2022, arXiv 2207.05824, figure 1).

    python -m experiments.langevin_forms

The target is a Gaussian in two dimensions with mean (0.3, 0.4) and standard deviations (0.1, 0.2), chains start uniformly in the unit
square, and the step size is 0.001 throughout, as in the authors' notebook. "ibc" is the form of implicit behavioural cloning, the other
two are the textbook's (`samplers.langevin`). Draws are the ends of 400 or 20,000 chains, or the last 400 states of one long chain.

``mean_error`` and ``std_error`` are the largest relative errors over the two dimensions, as in the paper; ``std_over_target`` is the first
dimension's deviation in units of the target's, and ``theory`` what that is for the stationary law of this discretisation
(`langevin.gaussian_std`).
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import collectives, plotting
from ebgan_mdn_jax.samplers import base, langevin
from experiments.benchmarks import measure

MEAN, STD = np.array([0.3, 0.4]), np.array([0.1, 0.2])
STEP_SIZE = 1e-3
FORMS: tuple[langevin.Noise, ...] = ("ibc", "langevin", "langevin_half")
_MANY = "20,000 chains"
_LONG, _KEPT = 4000, 400


def energy(obs: jax.Array, action: jax.Array) -> jax.Array:
    """Of the target, ``[N, B]`` of ``action [N, B, 2]``; there is nothing to observe."""
    return jnp.sum(((action - MEAN[None, None]) / STD[None, None]) ** 2, axis=-1) / 2


def draws(noise: langevin.Noise, num_chains: int, num_steps: int, num_kept: int = 1) -> np.ndarray:
    """The last ``num_kept`` states of every chain, ``[num_kept * num_chains, 2]``."""
    sampler = langevin.make(jnp.full(num_steps, STEP_SIZE), (-np.inf,) * 2, (np.inf,) * 2, noise)
    key_start, key_chains = jax.random.split(jax.random.key(0))

    @jax.jit
    def run():
        start = jax.random.uniform(key_start, (1, num_chains, 2))
        keys, obs = collectives.row_keys(key_chains, num_chains), jnp.zeros((num_chains, 1))
        if num_kept == 1:
            return base.run(keys, sampler, energy, obs, start)[0].action
        return base.run(keys, sampler, energy, obs, start, lambda chains: chains.action[0])[2][-num_kept:]

    return np.asarray(run(), np.float64).reshape(-1, 2)


def rows() -> list[dict]:
    """A row per form and way to get draws."""
    ways = [("400 chains", 400, 500, 1), (f"last {_KEPT} of 1 chain", 1, _LONG, _KEPT)]
    ways += [(_MANY, 20_000, steps, 1) for steps in (10, 30, 100, 300, 1000, 2000)]
    table = []
    for noise in FORMS:
        theory = np.asarray(langevin.gaussian_std(STD, STEP_SIZE, noise)) / STD
        for name, num_chains, num_steps, num_kept in ways:
            drawn = draws(noise, num_chains, num_steps, num_kept)
            ratio = drawn.std(axis=0) / STD
            table.append(
                {"noise": noise, "draws": name, "steps": num_steps}
                | {"mean_error": np.max(np.abs(drawn.mean(axis=0) / MEAN - 1)), "std_error": np.max(np.abs(ratio - 1))}
                | {"std_over_target": ratio[0], "theory": theory[0]}
            )
    return table


def figure(table: Sequence[Mapping[str, str]]):
    """The deviation of 20,000 chains by their steps, and where theory has it end."""
    lines, theories = {}, {}
    for noise in FORMS:
        of_form = [row for row in table if row["noise"] == noise and row["draws"] == _MANY]
        steps, ratio, theory = (
            np.array([float(row[key]) for row in of_form]) for key in ("steps", "std_over_target", "theory")
        )
        lines[noise] = plotting.Band(steps, ratio, ratio, ratio)
        theories[noise] = plotting.Band(None, *[theory[:1]] * 3)
    panel = plotting.Panel("first dimension", "steps", "deviation, of the target's", lines, True, True, theories)
    return plotting.bands_figure([panel])


if __name__ == "__main__":
    measure.command("langevin_forms", rows, figure)
