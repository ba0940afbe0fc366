"""The published sweep ``chunk_beta`` held to what theory allows the codes of a CVAE (`latent_theory`).

    python -m experiments.chunk_bounds

8 seconds.

A row per task and loss, means over seeds. ``gain`` is ``C = D_0 - D_min``: the least loss of an action that ignores the code, less the one
with beta = 0. ``beta_crit``: above it no minimiser decodes the mode with under 10 % errors (`theory.beta_crit`); ``last``: the
largest beta of the sweep with which some seed does. ``over cap``: information less C / beta, in standard errors over seeds, where that is
most; ``over floor``: information less Fano's floor at the measured error, nats, where that is least. ``off law``: the largest difference
of the decoding error to that of two modes without noise, percentage points, from a beta of 0.001 on. ``collapse``: for squared error the
beta from which the rate is 0 (`theory.collapse_betas` of the modes); ``rate beyond``: the largest measured there. ``early``: how many
runs at which beta have no code (a rate under 0.01) though the codes of another run would cost at least 5 % less there: training did not
find the minimum that theory is about.
"""

from collections import Counter

import numpy as np

from ebgan_mdn_jax import theory
from experiments import latent_theory
from experiments.benchmarks import measure
from experiments.figures import read_members
from experiments.latent_theory import Line, gain, line_of, modes
from experiments.publish import RESULTS

_ERROR = 0.1


def rows() -> list[dict]:
    """A row per task and loss."""
    groups = {}
    for member in read_members(RESULTS / "chunk_beta" / "members.csv"):
        groups.setdefault((member.task, *(name for name in member.settings if name != "beta")), []).append(member)
    return [row(line_of(members)) for members in groups.values()]


def row(line: Line) -> dict:
    """Of one task and loss."""
    actions, weights = modes(line.task)
    least, spread = (line.values[0.0][f"{name}@{line.loss}"] for name in ("reconstruction", "spread"))
    positive = {beta: metrics for beta, metrics in sorted(line.values.items()) if beta > 0}
    decoded = [beta for beta, metrics in positive.items() if np.min(metrics["decoding_error"]) < 100 * _ERROR]
    over_cap, over_floor = [], []
    for beta, metrics in positive.items():
        excess = metrics["information"] - (spread - least) / beta  # seed by seed
        over_cap.append(excess.mean() / (excess.std(ddof=1) / np.sqrt(excess.size)))
        error = metrics["decoding_error"].mean() / 100
        over_floor.append(metrics["information"].mean() - theory.fano_floor(weights, error))
    squared = line.loss == "squared"
    collapse = theory.collapse_betas(actions, weights)[1] / actions.shape[1] if squared else np.inf
    beyond = [metrics["rate"].max() for beta, metrics in positive.items() if beta > collapse]
    betas = np.array([beta for beta in positive if beta >= 1e-3])
    law = latent_theory.law("decoding_error", line, betas)
    errors = np.array([positive[beta]["decoding_error"].mean() for beta in betas])
    off_law = "\u2013" if law is None else np.max(np.abs(errors - law.value))
    early = Counter(collapsed_early(line))
    return (
        {"task": line.task, "loss": line.loss, "D_0": spread.mean(), "D_min": least.mean(), "gain": gain(line)}
        | {"beta_crit": theory.beta_crit(gain(line), weights, _ERROR), "last": max(decoded, default=0.0)}
        | {"over cap": max(over_cap), "over floor": min(over_floor), "off law": off_law}
        | {"collapse": collapse if squared else "\u2013", "rate beyond": max(beyond) if squared else "\u2013"}
        | {"early": ", ".join(f"{count} at {beta:g}" for beta, count in early.items()) or "0"}
    )


def collapsed_early(line: Line, margin: float = 0.05, least_rate: float = 0.01) -> list[float]:
    """The betas of runs without a code that pay more, by this share, than the codes of another run of the line would: one for each run."""
    losses, rates = (
        np.concatenate([metrics[name] for metrics in line.values.values()])
        for name in (f"reconstruction@{line.loss}", "rate")
    )
    betas = np.concatenate([np.full(len(metrics["rate"]), beta) for beta, metrics in line.values.items()])
    least = np.min(losses[None] + betas[:, None] * rates[None], axis=1)
    return sorted(betas[(rates < least_rate) & (losses + betas * rates > (1 + margin) * least)].tolist())


if __name__ == "__main__":
    measure.command("chunk_bounds", rows)
