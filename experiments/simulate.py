"""Run a trained policy in a simulator of Gymnasium: see `ebgan_mdn_jax.envs.gymnasium`.

    python -m experiments.simulate --workdir=runs/mine --env=gym_pusht/PushT-v0 --episodes=50 --execute=8

Prints returns, largest rewards and success with 95 % bootstrap intervals over episodes, and writes all of it into
``<workdir>/simulations``, with strips of frames of the first episodes (extra ``plots``; ``--film=0``: none), which a report shows.
"""

import importlib.util

import jax

from ebgan_mdn_jax import plotting
from ebgan_mdn_jax.envs import gymnasium
from ebgan_mdn_jax.evaluation import statistics
from ebgan_mdn_jax.policy import Policy
from ebgan_mdn_jax.types import require, resolve_path
from experiments import flags
from experiments.workdir import write_json

USED = (
    flags.WORKDIR,
    flags.MEMBER,
    flags.ENV,
    flags.EPISODES,
    flags.FIRST_SEED,
    flags.EXECUTE,
    flags.ENSEMBLE,
    flags.MAX_STEPS,
    flags.FILM,
)
_SEED = 0  # of the policy's draws


def main() -> None:
    """Restore, simulate, say how it went."""
    require(flags.WORKDIR.value is not None, "--workdir is missing: give the folder of a trained run")
    require(
        flags.ENV.value is not None, "--env is missing: give an environment of Gymnasium, such as gym_pusht/PushT-v0"
    )
    film = min(flags.FILM.value, flags.EPISODES.value)
    drawn = film == 0 or importlib.util.find_spec("matplotlib") is not None
    require(
        drawn, "--film needs matplotlib, which is not installed: pip install 'ebgan_mdn_jax[plots]', or give --film=0"
    )
    policy = Policy.load(flags.WORKDIR.value, flags.member())
    seeds = range(flags.FIRST_SEED.value, flags.FIRST_SEED.value + flags.EPISODES.value)
    episodes = gymnasium.rollouts(
        jax.random.key(_SEED),
        policy.act,
        policy.trained.spec,
        flags.ENV.value,
        seeds,
        flags.EXECUTE.value,
        flags.ENSEMBLE.value,
        flags.MAX_STEPS.value,
        film,
    )
    columns = {"return": episodes.total, "largest_reward": episodes.best, "length": episodes.length}
    if episodes.success is not None:
        columns["success"] = 100.0 * episodes.success
    summary = {name: statistics.summarize(values) for name, values in columns.items()}
    how = "ensemble" if flags.ENSEMBLE.value else f"execute{flags.EXECUTE.value or 'all'}"
    folder = resolve_path(flags.WORKDIR.value) / "simulations"
    path = folder / f"{flags.ENV.value.replace('/', '-').replace(':', '-')},member={flags.MEMBER.value},{how}.json"
    folder.mkdir(exist_ok=True)
    trained = policy.trained
    settings = {
        "environment": flags.ENV.value,
        "method": trained.method_name,
        "training_seed": trained.seed,
        "first_seed": flags.FIRST_SEED.value,
        "execute": flags.EXECUTE.value,
        "ensemble": flags.ENSEMBLE.value,
        "max_steps": flags.MAX_STEPS.value,
    }
    write_json(path, settings | {"statistics": summary, "episodes": {k: v.tolist() for k, v in columns.items()}})
    print(f"{flags.ENV.value}: {trained.method_name}, seed {trained.seed}; {len(seeds)} episodes")
    for name, row in summary.items():
        interval = f" [{row['low']:.4g}, {row['high']:.4g}]" if len(seeds) > 1 else ""
        print(f"  {name:<15}{row['mean']:.4g}{interval}" + (" %" if name == "success" else ""))
    print(f"Means [95 % bootstrap intervals over episodes]: {path}")
    if film:
        titles = [f"seed {seed}, largest reward {best:.2f}" for seed, best in zip(seeds, episodes.best, strict=True)]
        figure = plotting.episodes_figure(episodes.frames, titles[:film])
        path.with_suffix(".png").write_bytes(plotting.png(figure, palette=True))
        print(f"the first {film}: {path.with_suffix('.png')}")


if __name__ == "__main__":
    flags.run(main, *USED)
