"""Environment steps per second of the particle, all episodes in one program, with random set-points.

Command:  python -m experiments.benchmarks.particle
Run time: under a minute on 2 CPU cores.
"""

import jax

from ebgan_mdn_jax.envs import particle
from experiments.benchmarks import measure

_NUM_EPISODES = 4096


def episodes(num_dimensions: int):
    """A call that runs `_NUM_EPISODES` whole episodes and returns how many succeeded by chance."""

    @jax.jit
    def run(key):
        key_start, key_actions = jax.random.split(key)
        start = particle.reset(key_start, num_dimensions, (_NUM_EPISODES,))

        def advance(state, key):
            return particle.step(state, jax.random.uniform(key, state.position.shape)), None

        final, _ = jax.lax.scan(advance, start, jax.random.split(key_actions, particle.NUM_STEPS))
        return final.success.sum()

    jax.block_until_ready(run(jax.random.key(0)))
    return lambda: jax.block_until_ready(run(jax.random.key(1)))


def rows(dimensions=(1, 2, 8, 32)) -> list[dict]:
    """A row per number of dimensions."""
    seconds = measure.interleaved({n: episodes(n) for n in dimensions})
    steps = _NUM_EPISODES * particle.NUM_STEPS
    return [{"dimensions": n, "episodes": _NUM_EPISODES, "steps_per_s": steps / seconds[n]} for n in dimensions]


if __name__ == "__main__":
    measure.command("particle", rows)
