"""The only place with command-line flags, and the shell that every driver runs in."""

import errno
import logging as python_logging
import os
import signal
import sys
import traceback
import typing
from collections.abc import Callable

import jax
from absl import app, flags, logging

from ebgan_mdn_jax import data
from ebgan_mdn_jax.data import formats
from ebgan_mdn_jax.methods import METHODS
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.training.devices import Parallel
from ebgan_mdn_jax.types import InputError, require
from experiments import processes
from experiments.configs import CONFIGS
from experiments.preemption import Preempted, raise_at_sigterm
from experiments.presets import Preset

# Of a folder that cannot be written, or a full disk.
_NO_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)

TASK = flags.DEFINE_enum("task", "hyperbola", list(TASKS), "Where demonstrations come from.")
DATA = flags.DEFINE_string(
    "data", None, "In place of a task: your own demonstrations, such as an .npz of obs, action and episode_ends."
)
METHOD = flags.DEFINE_enum("method", "ebgan_mdn", list(METHODS), "What to train.")
PRESET = flags.DEFINE_enum(
    "preset",
    "default",
    list(typing.get_args(Preset)),
    "Settings to begin with: our defaults, those of the paper's authors on the task, or small ones that train in seconds on a CPU.",
)
SEEDS = flags.DEFINE_integer("seeds", 1, "How many seeds to train side by side.", lower_bound=1)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "The first seed, of training or of episodes.", lower_bound=0)
STEPS = flags.DEFINE_integer(
    "steps", None, "Generator (policy) steps; default 5000, or what the preset says.", lower_bound=1
)
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run or sweep; to train, by default runs/<task>-<method>, runs/<config> or runs/<task>-<method>-sweep.",
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder with your copies of real recordings, and where synthetic data are kept; default: a cache."
)
MEMBERS_PER_STEP = flags.DEFINE_integer(
    "members_per_step", None, "Members that run vectorised; default 1 on CPU, all on an accelerator.", lower_bound=1
)
CONFIG = flags.DEFINE_enum("config", None, list(CONFIGS), "Sweep to run.")
GRID = flags.DEFINE_multi_string(
    "grid",
    [],
    "Values to combine as path=value,value,..., repeatable: hyper.* become members, others (and task, method) runs.",
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the plan, for which every program is compiled, and stop.")
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "Run as one of several processes: host:port of the first, or auto to ask the cluster (Slurm, ...).",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "This process's number, from 0.", lower_bound=0)
NUM_DEVICES = flags.DEFINE_integer("num_devices", 0, "Devices to use; 0: all that have something to do.", lower_bound=0)
PARALLEL = flags.DEFINE_enum(
    "parallel", None, list(typing.get_args(Parallel)), "Spread members over devices, or each minibatch; default seeds."
)
BATCH_DEVICES = flags.DEFINE_integer(
    "batch_devices", None, "Devices that share a minibatch; default 1 for seeds, all for the others.", lower_bound=0
)
CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every", None, "Steps between checkpoints; default 1000.", lower_bound=1
)
TENSORBOARD = flags.DEFINE_boolean(
    "tensorboard", False, "Write TensorBoard event files too, a folder per member in <workdir>/tensorboard."
)
BASELINE = flags.DEFINE_string(
    "baseline", None, "Compare with this method, run or line of the table: how often each other is better, by seed."
)
RECOMPUTE = flags.DEFINE_boolean(
    "recompute", False, "Work out the published table.csv anew from members.csv; without --config all of them."
)
CHUNK = flags.DEFINE_integer("chunk", 16, "Steps of a chunk of actions.", lower_bound=1)
ACTIONS = flags.DEFINE_enum("actions", "position", ["position", "displacement"], "What actions are.")
OUTPUT = flags.DEFINE_string("output", "policy.bin", "File to write.")
MEMBER = flags.DEFINE_string("member", "0", "Index of the member, seeds fastest; or best: by the held-out rows.")
ENV = flags.DEFINE_string("env", None, "Environment of Gymnasium, such as gym_pusht/PushT-v0 or HalfCheetah-v5.")
EPISODES = flags.DEFINE_integer("episodes", 50, "Episodes to run, each with a seed of its own.", lower_bound=1)
EXECUTE = flags.DEFINE_integer("execute", 0, "Steps of a chunk that are done before the next; 0: all.", lower_bound=0)
ENSEMBLE = flags.DEFINE_boolean("ensemble", False, "Plan at every step and do the average of the last chunks (ACT).")
MAX_STEPS = flags.DEFINE_integer(
    "max_steps", None, "Steps after which an episode is cut off; default: the environment's own limit.", lower_bound=1
)
FILM = flags.DEFINE_integer("film", 4, "Episodes to draw, the first ones.", lower_bound=0)
EXECUTOR = flags.DEFINE_enum("executor", "slurm", ["slurm", "local"], "Where jobs run.")
SLURM = flags.DEFINE_multi_string(
    "slurm",
    [],
    "Options of the jobs as key=value,key=value, repeatable: partition=gpu,time=60 (minutes); setup=COMMAND runs before.",
)
SET = flags.DEFINE_multi_string(
    "set",
    [],
    "Override as path=value, repeatable: method.num_negatives=64, hyper.energy_weight=0,1 (a grid of members).",
)


PROCESSES = (COORDINATOR, NUM_PROCESSES, PROCESS_ID)
TRAINING = (
    PRESET,
    SEEDS,
    FIRST_SEED,
    STEPS,
    MEMBERS_PER_STEP,
    NUM_DEVICES,
    PARALLEL,
    BATCH_DEVICES,
    CHECKPOINT_EVERY,
    TENSORBOARD,
    SET,
    *PROCESSES,
)
_ALL = (
    TASK,
    DATA,
    METHOD,
    CONFIG,
    GRID,
    WORKDIR,
    DATA_DIR,
    DRY_RUN,
    BASELINE,
    RECOMPUTE,
    CHUNK,
    ACTIONS,
    OUTPUT,
    MEMBER,
    ENV,
    EPISODES,
    EXECUTE,
    ENSEMBLE,
    MAX_STEPS,
    FILM,
    EXECUTOR,
    SLURM,
    *TRAINING,
)


def task() -> str:
    """A task's name, or the path of the user's own demonstrations.

    Raises:
      InputError: if flags ask for both, or the file is of another kind.
    """
    if DATA.value is None:
        return TASK.value
    require(not TASK.present, f"--task has no meaning beside --data={DATA.value}")
    require(not DATA_DIR.present, f"--data_dir has no meaning beside --data={DATA.value}")
    require(
        formats.has_reader(DATA.value),
        f"--data={DATA.value}: expected your own demonstrations, {formats.EXPECTED}",
    )
    return DATA.value


def member() -> int | str:
    """What ``--member`` names, an index or "best".

    Raises:
      InputError: if it is neither.
    """
    value = MEMBER.value
    require(value == "best" or value.isdecimal(), f"--member={value}: expected a member's index, such as 0, or best")
    return value if value == "best" else int(value)


def overrides() -> list[str]:
    """All overrides, those with a flag of their own first."""
    named = {
        "train.steps": STEPS.value,
        "train.members_per_step": MEMBERS_PER_STEP.value,
        "train.parallel": PARALLEL.value,
        "train.batch_devices": BATCH_DEVICES.value,
        "train.checkpoint_every": CHECKPOINT_EVERY.value,
    }
    return [f"{path}={value}" for path, value in named.items() if value is not None] + SET.value


def run(main: Callable[[], None], *used: flags.FlagHolder) -> None:
    """Parse flags and call ``main``; whatever the user got wrong becomes one line on stderr and exit code 2.

    A stop at SIGTERM becomes one line and exit code 143, as shells and schedulers know it. Flags that ``main`` does not use are refused
    rather than ignored.
    """

    def parse(argv):
        if {"--help", "-h", "--helpshort"} & set(argv):
            print((sys.modules["__main__"].__doc__ or "").strip(), "\n")
            for flag in used:
                print(f"  --{flag.name}: {flags.FLAGS[flag.name].help}")
            sys.exit(0)
        try:
            left = flags.FLAGS(argv)
        except flags.Error as error:
            _fail(str(error).splitlines()[0])
        if len(left) > 1:
            _fail(f"unexpected argument {left[1]!r}: all settings are flags, such as --workdir=...")
        if WORKDIR.value == "":
            _fail("--workdir= is empty: give a folder")
        names = [flag.name for flag in used]
        for flag in _ALL:
            if flag.present and flag.name not in names:
                _fail(f"--{flag.name} has no meaning here: expected {', '.join(f'--{name}' for name in names)}")
        return left

    def guarded(argv):
        del argv
        configure_jax()
        try:
            with raise_at_sigterm():
                processes.start(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
                main()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2) if getattr(error, "agreed", False) else processes.leave(2)
        except Preempted as error:
            print(error, file=sys.stderr)
            sys.exit(128 + signal.SIGTERM) if error.agreed else processes.leave(128 + signal.SIGTERM, at_once=True)
        except KeyboardInterrupt:
            print("stopped by Ctrl-C: the same command goes on from the newest checkpoint", file=sys.stderr)
            processes.leave(128 + signal.SIGINT)
        except BrokenPipeError:  # the reader of our output has gone, such as head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            if error.errno not in _NO_WRITING:
                raise
            print(
                f"error: {error.filename} cannot be written ({error.strerror}): mend that, or copy the run",
                file=sys.stderr,
            )
            processes.leave(2)
        except Exception:
            if jax.process_count() == 1:
                raise
            traceback.print_exc()
            processes.leave(1)

    app.run(guarded, flags_parser=parse)


def configure_jax() -> None:
    """Less noise, and compiled programs that the next launch finds again; before anything is done with JAX."""
    logging.set_verbosity(logging.ERROR)
    python_logging.getLogger("jax").setLevel(python_logging.ERROR)
    jax.config.update("jax_compilation_cache_dir", str(data.cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
