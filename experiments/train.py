"""Train one method on one task, all seeds and hyperparameters in one program, and evaluate it.

    python -m experiments.train --task=hyperbola --method=ebgan_mdn --seeds=16 --workdir=runs/hyperbola
    python -m experiments.train --data=my_demonstrations.npz --method=mdn --set=data.history=2 --set=data.chunk=8 --workdir=runs/mine

Killed at any moment and started again, the same command goes on and ends with the same ``results.json``.
"""

from experiments import flags, processes
from experiments.config import make_config
from experiments.events import require_tensorboard
from experiments.run import train
from experiments.tables import results_table

USED = (flags.TASK, flags.DATA, flags.METHOD, flags.WORKDIR, flags.DATA_DIR, *flags.TRAINING)


def main() -> None:
    """Train, evaluate, print the results."""
    config = make_config(
        flags.task(),
        flags.METHOD.value,
        flags.SEEDS.value,
        flags.FIRST_SEED.value,
        flags.overrides(),
        flags.PRESET.value,
    )
    workdir = flags.WORKDIR.value or f"runs/{config.task_name}-{config.method_name}"
    if flags.TENSORBOARD.value:
        require_tensorboard()
    results = train(
        config,
        workdir,
        flags.DATA_DIR.value,
        flags.NUM_DEVICES.value,
        processes.log,
        tensorboard=flags.TENSORBOARD.value,
    )
    processes.log(results_table(results))


if __name__ == "__main__":
    flags.run(main, *USED)
