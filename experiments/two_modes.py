"""A CVAE with two actions to tell apart, against its exact laws: how much does the code say, and from which beta on nothing?

    python -m experiments.two_modes

2 minutes of one CPU core.

The action is +-1 with equal chance, without noise, at one observation. An affine encoder can be every Gaussian one of two actions, so what
training may fall short of is the decoder and its own noise. ``rate`` and ``information`` in nats and ``error``, how often a code decodes
nearest to the other action, are means over seeds; ``low`` and ``high`` are the least and the largest rate. Beside them what
`theory.two_mode_law` says. Squared error: beta in units of 2, where the rate becomes 0. Absolute error: the rate becomes ``1 / (pi
beta^2)``, so that ``slope``, that of log rate over log beta from the row above, becomes -2.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax import plotting, theory
from ebgan_mdn_jax.evaluation import latents as codes_of
from ebgan_mdn_jax.methods import cvae
from ebgan_mdn_jax.theory import information
from ebgan_mdn_jax.training import devices, loop, members
from ebgan_mdn_jax.types import Batch, Horizon, Spec
from experiments.benchmarks import measure

SEEDS = range(4)
BETAS = {
    "squared": (0.01, 0.1, 0.3, 0.6, 1.0, 1.4, 1.6, 1.8, 1.9, 2.1, 2.2, 2.5, 4.0),
    "l1": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0),
}
_LAW: dict[str, information.Loss] = {"squared": "squared", "l1": "absolute"}
_TEXT = ("loss", "slope")
_ROWS, _STEPS, _DRAWS = 512, 4000, 20_000


def train(loss: cvae.Reconstruction, betas: Sequence[float], num_steps: int = _STEPS) -> dict[str, np.ndarray]:
    """Rate, information and error of a code for each beta and seed, ``[betas, seeds]``."""
    config = cvae.Config((), (32, 32), latent_dim=1, reconstruction=loss, decay_every=num_steps // 8)
    method = cvae.make(config, Spec((0.0,), (0.0,), (-1.0,), (1.0,)), Horizon(num_steps, 1))
    group = members.make_members(method, list(SEEDS), {"beta": betas, "learning_rate": [0.01]})
    states = members.init_states(method, group.seed, devices.make_layout().members)
    action = jnp.tile(jnp.asarray([[1.0], [-1.0]]), (_ROWS // 2, 1))
    data = Batch(jnp.zeros((1, _ROWS, 1)), action[None])
    chunk = loop.make_chunk(method, _ROWS, group.size)
    states, _ = chunk(states, group.hyper, np.zeros(group.size, np.int32), data, np.int32(num_steps))

    def measured(params):
        obs, action = jnp.zeros((2, 1)), jnp.asarray([[1.0], [-1.0]])
        codes = codes_of.Codes(*method.latents.encode(params, obs, action))
        latent = codes_of.sample(jax.random.key(0), codes, _DRAWS)
        wrong = method.latents.decode(params, latent, obs) * action[None] < 0
        nats = codes_of.information(latent, codes, jnp.ones((2, 2), bool))
        return {"rate": jnp.mean(method.latents.rate(params, obs, action)), "information": jnp.mean(nats)} | {
            "error": jnp.mean(wrong)
        }

    values = jax.jit(lambda params: jax.lax.map(measured, params))(states.train.params)
    return {name: np.asarray(value, np.float64).reshape(len(betas), -1) for name, value in values.items()}


def rows() -> list[dict]:
    """A row per loss and beta."""
    table = []
    for loss, betas in BETAS.items():
        measured = train(loss, betas)
        means = {name: value.mean(axis=1) for name, value in measured.items()}
        slopes = np.diff(np.log(means["rate"])) / np.diff(np.log(betas))
        for i, beta in enumerate(betas):
            law = theory.two_mode_law(1.0, beta, _LAW[loss])
            table.append(
                {"loss": loss, "beta": beta, "rate": means["rate"][i], "low": measured["rate"][i].min()}
                | {"high": measured["rate"][i].max(), "law": law.rate, "information": means["information"][i]}
                | {"its law": law.information, "error": means["error"][i], "error's law": law.error}
                | {"slope": slopes[i - 1] if loss == "l1" and i else "\u2013"}
            )
    return table


def figure(table: Sequence[Mapping[str, str]]):
    """Rates and errors over beta, and the laws dashed."""
    panels = []
    for loss in BETAS:
        of_loss = [row for row in table if row["loss"] == loss]
        columns = {name: np.array([float(row[name]) for row in of_loss]) for name in of_loss[0] if name not in _TEXT}
        betas = columns["beta"]
        for name, law, label in (("rate", "law", "rate, nats"), ("error", "error's law", "decoded wrongly")):
            low, high = (columns["low"], columns["high"]) if name == "rate" else [columns[name]] * 2
            lines = {loss: plotting.Band(betas, columns[name], low, high)}
            laws = {loss: plotting.Band(betas, *[columns[law]] * 3)}
            panels.append(plotting.Panel(f"{loss} error", "beta", label, lines, True, True, laws))
    return plotting.bands_figure(panels)


if __name__ == "__main__":
    measure.command("two_modes", rows, figure)
