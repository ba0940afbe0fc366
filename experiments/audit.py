"""How often does a data set have several actions at one observation? To be asked before a method is trained on it.

    python -m experiments.audit --data=my_demonstrations.npz --chunk=16
    python -m experiments.audit --data=pusht_cchi_v7_replay.zarr --chunk=16

At 500 steps, spread over all that have a whole chunk ahead, the 16 nearest observations of 16 other episodes are found, dimensions
measured in their standard deviations. Where their chunks lead is compared as one Gaussian and as two (`evaluation.modality`): by
``--actions=position`` the last action less the first one, by "displacement" the sum of all. ``by_chance`` is what the same test says of
Gaussians with the moments of these neighbours; what exceeds it, by more than the error of such counts, is multimodal. ``densest``: the
third of queries whose neighbours are nearest, where the audit is least likely to take what changes with the observation for modes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ebgan_mdn_jax.data import episodes, formats
from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.evaluation import modality
from ebgan_mdn_jax.types import require
from experiments import flags
from experiments.tables import markdown_table

Actions = Literal["position", "displacement"]
USED = (flags.DATA, flags.CHUNK, flags.ACTIONS)
NUM_QUERIES, NUM_NEIGHBOURS = 500, 16


def audit(recorded: Sequence[Episode], chunk: int, actions: Actions) -> list[Mapping[str, str]]:
    """Rows for all queries and for the densest third.

    Raises:
      InputError: if there are too few episodes with a whole chunk.
    """
    whole = [episode for episode in recorded if len(episode.obs) >= chunk]
    require(
        len(whole) > NUM_NEIGHBOURS,
        f"--chunk={chunk}: {len(whole)} of {len(recorded)} episodes have so many steps; the audit needs {NUM_NEIGHBOURS + 1}",
    )
    obs = np.concatenate([episode.obs[: len(episode.obs) - chunk + 1] for episode in whole])
    owner = np.repeat(np.arange(len(whole)), [len(episode.obs) - chunk + 1 for episode in whole])
    leads = np.concatenate([_leads_to(episode, chunk, actions) for episode in whole])
    scale = obs.std(axis=0)
    obs = jnp.asarray((obs - obs.mean(axis=0)) / np.where(scale > 1e-6 * np.abs(obs).max(), scale, 1.0), jnp.float32)
    query = np.unique(np.linspace(0, len(obs) - 1, NUM_QUERIES).astype(int))
    rows = np.asarray(modality.neighbours(obs[query], owner[query], obs, owner, len(whole), NUM_NEIGHBOURS))
    points = jnp.asarray(leads[rows], jnp.float32)
    found = np.asarray(modality.two_gaussians(points).bimodal)
    chance = np.asarray(modality.two_gaussians(modality.null(jax.random.key(0), points)).bimodal)
    distance = np.linalg.norm(np.asarray(obs)[rows] - np.asarray(obs)[query][:, None], axis=-1).mean(axis=1)
    densest = distance <= np.quantile(distance, 1 / 3)
    return [_row("all", found, chance), _row("densest", found[densest], chance[densest])]


def _leads_to(episode: Episode, chunk: int, actions: Actions) -> np.ndarray:
    """Where each whole chunk leads, ``[T - H + 1, Da]``."""
    ahead = episodes.windows(episode, 1, chunk).action[: len(episode.obs) - chunk + 1]
    ahead = ahead.reshape(len(ahead), chunk, -1)
    return ahead.sum(axis=1) if actions == "displacement" or chunk == 1 else ahead[:, -1] - ahead[:, 0]


def _row(queries: str, found: np.ndarray, chance: np.ndarray) -> Mapping[str, str]:
    error = 100 * np.sqrt((found.mean() * (1 - found.mean()) + chance.mean() * (1 - chance.mean())) / len(found))
    numbers = {"bimodal, %": 100 * found.mean(), "by_chance, %": 100 * chance.mean(), "error, points": error}
    return {"queries": f"{queries} ({len(found)})"} | {name: f"{value:.1f}" for name, value in numbers.items()}


def main() -> None:
    """Print the table."""
    require(flags.DATA.value is not None, "--data is missing: give the path of your demonstrations")
    rows = audit(formats.read(flags.DATA.value), flags.CHUNK.value, flags.ACTIONS.value)
    print(markdown_table(list(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    flags.run(main, *USED)
