"""What the demonstrations of Push-T score when their actions are replayed in the simulator, and how far off that leads.

Command:  python -m experiments.benchmarks.pusht
Expected: the recorded states, as the simulator is that of the recording: its angle, reference point and time step.
Run time: about half a minute of a CPU core.

An episode starts from its first recorded state, at rest. ``score`` is the mean of largest rewards in %, ``success`` the % of episodes that
cover 95 % of the outline; ``apart_px`` and ``apart_rad`` are medians over episodes of the largest difference of positions, and of that of
angles, to the last recorded state. The recording is read from ``$EBGAN_MDN_JAX_DATA``, or downloaded.
"""

import os
import pathlib

import numpy as np

from ebgan_mdn_jax.data import pusht
from ebgan_mdn_jax.tasks.pusht import ENVIRONMENT
from ebgan_mdn_jax.types import Batch
from experiments.benchmarks import measure


def replay(episode: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Rewards ``[T]`` of an episode's actions in the simulator, and the differences ``[5]`` to its last recorded state."""
    import gymnasium

    env = gymnasium.make(f"gym_pusht:{ENVIRONMENT}").unwrapped
    env.reset(seed=0)
    state = episode.obs[0].tolist()
    # In this order: turning the block moves it, as its centre of mass is not its origin.
    env.block.angle, env.block.position, env.agent.position = state[4], state[2:4], state[:2]
    steps = [env.step(action.astype(float)) for action in episode.action]
    apart = steps[-2][0] - episode.obs[-1]  # the recording ends before its last action
    apart[4] = (apart[4] + np.pi) % (2 * np.pi) - np.pi
    return np.asarray([step[1] for step in steps]), np.abs(apart)


def rows() -> list[dict]:
    """One row, of all episodes."""
    folder = os.environ.get("EBGAN_MDN_JAX_DATA")
    found = pusht.read(pathlib.Path(folder) / pusht.PLACES[1]) if folder else pusht.download()
    rewards, apart = zip(*map(replay, found), strict=True)
    best, apart = np.asarray([values.max() for values in rewards]), np.asarray(apart)
    return [
        {
            "episodes": len(found),
            "steps": sum(map(len, rewards)),
            "score": 100 * best.mean(),
            "success": 100 * np.mean(best >= 1),
            "apart_px": np.median(apart[:, :4].max(axis=1)),
            "apart_rad": np.median(apart[:, 4]),
        }
    ]


if __name__ == "__main__":
    measure.command("pusht", rows)
