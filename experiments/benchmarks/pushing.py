"""How often the demonstrator of pushing succeeds, in how many actions, and what a step of the simulator costs.

Command:  python -m experiments.benchmarks.pushing
Expected: of 20 episodes of IBC's environment with its arm, measured with its code: success 100 % of the single target at a tolerance of 2
          cm and 95 % at 1 cm, 100 and 85 % of two targets at 4 and 2 cm, 95 % of two blocks; 47 actions to the single target.
Run time: about 3 minutes of a CPU core.

``success`` and ``length``, the mean number of actions where it succeeds, are of 500 episodes, ``steps_per_core_s`` by the process's own
time.
"""

import dataclasses
import time

import jax
import numpy as np

from ebgan_mdn_jax.envs import pushing, pushing_bullet, pushing_oracle
from experiments.benchmarks import measure

_NUM_EPISODES = 500
SCENES = {"single": pushing.SINGLE, "multi": pushing.MULTI, "multimodal": pushing.MULTIMODAL}
_SETTINGS = (("single", 0.02), ("single", 0.01), ("multi", 0.04), ("multi", 0.02), ("multimodal", 0.04))


def episodes(scene: pushing.Scene, num: int):
    """A compiled program, of a key, that gives the final states of the demonstrator's episodes ``[num]``."""

    def run(key):
        key_start, key_order = jax.random.split(key)
        start = pushing.reset(key_start, scene, (num,))
        memory = pushing_oracle.begin(key_order, scene, start)

        def advance(carry, _):
            memory, state = carry
            memory, action = pushing_oracle.act(scene, memory, state)
            return (memory, pushing.step(scene, state, action)), None

        return jax.lax.scan(advance, (memory, start), None, scene.num_steps)[0][1]

    return jax.jit(run).lower(jax.random.key(0)).compile()


def rows(settings=_SETTINGS, num_episodes=_NUM_EPISODES) -> list[dict]:
    """A row per scene and tolerance."""
    pushing_bullet.require_pybullet()
    table = []
    for name, tolerance in settings:
        run = episodes(dataclasses.replace(SCENES[name], tolerance=tolerance), num_episodes)
        began = time.process_time()
        final = jax.tree.map(np.asarray, run(jax.random.key(1)))
        seconds = time.process_time() - began
        table.append(
            {
                "scene": name,
                "tolerance_m": tolerance,
                "episodes": num_episodes,
                "success": 100 * final.success.mean(),
                "length": final.num_steps[final.success].mean(),
                "steps_per_core_s": final.num_steps.sum() / seconds,
            }
        )
    return table


if __name__ == "__main__":
    measure.command("pushing", rows)
