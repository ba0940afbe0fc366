r"""Is log(N + 1) less the InfoNCE loss a bound on mutual information? On a joint Gaussian, whose mutual information is known.

    python -m experiments.mutual_information

Observation and action are standard normal with correlation 0.9. Of 20,000 pairs, the value of ``losses.mi_bound`` with N = 64 negatives
that are

* ``marginal``: independent draws of p(a), for which the bound is proven (van den Oord et al. 2018, Poole et al. 2019), whatever the energy;
* ``one chain``: successive states of one Langevin chain on p(a) per pair: draws of p(a), but not independent of each other;
* ``conditional``: ends of Langevin chains on the energy itself, as IBC trains with;
* ``uniform``: in the box [-5, 5].

The energy is that of ``p(a|o) / p(a)``, the best one for marginal negatives, or that of ``p(a|o)``, the best one for uniform ones.
``excess`` is the value less the mutual information, in standard errors; above 3 it is no bound.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import collectives, losses
from ebgan_mdn_jax.samplers import base, langevin
from experiments.benchmarks import measure

NUM_PAIRS, NUM_NEGATIVES = 20_000, 64
CORRELATION = 0.9
BOX = 5.0
_STEP_SIZE, _NUM_STEPS = 0.01, 500  # of chains that arrive: from anywhere in the box to a law of a deviation near 0.45
_ENERGIES = ("p(a|o) / p(a)", "p(a|o)")


def mutual_information() -> float:
    """Of the pair, in nats."""
    return -0.5 * np.log(1 - CORRELATION**2)


def energy(name: str, obs: jax.Array, action: jax.Array) -> jax.Array:
    """``-log`` of the density or ratio called ``name``, up to a constant, ``[N, B]`` of ``action [N, B, 1]``."""
    action = action[..., 0]
    mean = jnp.broadcast_to(CORRELATION * obs[:, 0], action.shape)
    conditional = (action - mean) ** 2 / (2 * (1 - CORRELATION**2))
    return conditional if name == "p(a|o)" else conditional - action**2 / 2


def draw_negatives(kind: str, key: jax.Array, name: str, obs: jax.Array) -> jax.Array:
    """Negatives ``[N, B, 1]`` of a kind, see above; ``name`` is the energy's."""
    shape = (NUM_NEGATIVES, obs.shape[0], 1)
    if kind == "marginal":
        return jax.random.normal(key, shape)
    uniform = jax.random.uniform(key, shape, minval=-BOX, maxval=BOX)
    if kind == "uniform":
        return uniform
    num_steps = NUM_NEGATIVES if kind == "one chain" else _NUM_STEPS
    sampler = langevin.make(jnp.full(num_steps, _STEP_SIZE), (-BOX,), (BOX,))
    keys = collectives.row_keys(jax.random.fold_in(key, 1), obs.shape[0])
    if kind == "conditional":
        return base.run(keys, sampler, lambda obs, action: energy(name, obs, action), obs, uniform)[0].action
    start = jax.random.normal(key, (1, *shape[1:]))  # where a chain that has arrived is
    trace = lambda chains: chains.action[0]  # noqa: E731
    return base.run(keys, sampler, lambda _, action: action[..., 0] ** 2 / 2, obs, start, trace)[2]


def rows(num_pairs: int = NUM_PAIRS) -> list[dict]:
    """A row per kind of negatives and energy."""
    truth, table = mutual_information(), []
    key_pairs, key_negatives = jax.random.split(jax.random.key(0))
    normal = jax.random.normal(key_pairs, (2, num_pairs, 1))
    obs, action = normal[0], CORRELATION * normal[0] + np.sqrt(1 - CORRELATION**2) * normal[1]
    for kind in ("marginal", "one chain", "conditional", "uniform"):
        for name in _ENERGIES:

            @jax.jit
            def of_pairs(kind=kind, name=name):
                drawn = draw_negatives(kind, key_negatives, name, obs)
                loss = losses.info_nce(energy(name, obs, action[None])[0], energy(name, obs, drawn))
                return losses.mi_bound(loss, NUM_NEGATIVES)

            values = np.asarray(of_pairs(), np.float64)
            mean, error = values.mean(), values.std(ddof=1) / np.sqrt(num_pairs)
            excess = (mean - truth) / error
            verdict = "above it: no bound" if excess > 3 else "at most the mutual information"
            table.append(
                {"negatives": kind, "energy": name, "value": mean, "standard_error": error}
                | {"mutual_information": truth, "excess": excess, "verdict": verdict}
            )
    return table


if __name__ == "__main__":
    measure.command("mutual_information", rows)
