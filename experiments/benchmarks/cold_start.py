"""How long until the first training step: EBGAN-MDN on the hyperbola in a new process, with an empty and with a filled cache.

Command:  python -m experiments.benchmarks.cold_start
Run time: about 2 minutes on 2 CPU cores.

The cache holds compiled programs and the prepared data set.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from experiments.benchmarks import measure

# Prints seconds since its start: when all is imported, when the program is compiled, and when one step is done.
_SCRIPT = """
import time
began = time.perf_counter()
import json
import jax
from experiments import flags
from experiments.benchmarks.members import call_of
from experiments.config import make_config
from experiments.program import build, compile_program
flags.configure_jax()
imported = time.perf_counter() - began
program = compile_program(build(make_config("hyperbola", "ebgan_mdn", 1, preset="small")))
compiled = time.perf_counter() - began
jax.block_until_ready(call_of(program, 1)())
print(json.dumps({"import": imported, "compiled": compiled, "first step": time.perf_counter() - began}))
"""


def rows(num_rounds: int = measure.NUM_ROUNDS) -> list[dict]:
    """Start processes with a cold and then a warm cache, ``num_rounds`` times."""
    measured = {"empty": [], "filled": []}
    for _ in range(num_rounds):
        with tempfile.TemporaryDirectory() as cache:
            for values in measured.values():
                command = [sys.executable, "-c", _SCRIPT]
                env = os.environ | {"XDG_CACHE_HOME": cache}
                done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
                values.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        state: {name: statistics.median(value[name] for value in values) for name in values[0]}
        for state, values in measured.items()
    }
    return [
        {"until": name, "empty_cache_s": medians["empty"][name], "filled_cache_s": medians["filled"][name]}
        for name in medians["empty"]
    ]


if __name__ == "__main__":
    measure.command("cold_start", rows)
