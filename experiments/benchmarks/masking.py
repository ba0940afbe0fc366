"""Is it faster to train different numbers of negatives in one program, or in one program each? EBGAN-MDN on the hyperbola.

Command:  python -m experiments.benchmarks.masking
Run time: about 2 minutes on 2 CPU cores.

One program would hold the largest number for every member and mask the rest, so all members take the time of the largest. A row says
what 16 seeds x 1600 steps take at its number of negatives: alone, compilation included, and within the masked program.
"""

from experiments.benchmarks import measure
from experiments.benchmarks.members import call_of
from experiments.config import make_config
from experiments.program import build, choose_layout, choose_members_per_step, compile_on

_NEGATIVES = (8, 32, 128, 256)
_SEEDS, _STEPS = 16, 1600


def rows(negatives, num_steps: int, overrides=("method.generator.num_components=2",)) -> list[dict]:
    """Measure one member of each program, ``num_steps`` steps a call."""
    programs = {}
    for number in negatives:
        run = build(
            make_config("hyperbola", "ebgan_mdn", 1, 0, [*overrides, f"method.num_negatives={number}"], preset="small")
        )
        layout = choose_layout(run.config, 1, 1)
        programs[number] = compile_on(run, layout, choose_members_per_step(run, layout))
    seconds = measure.interleaved({number: call_of(program, num_steps) for number, program in programs.items()})
    of_sweep = {number: _SEEDS * _STEPS * value / num_steps for number, value in seconds.items()}
    largest = max(negatives)
    return [
        {
            "num_negatives": number,
            "ms_per_member_step": 1e3 * seconds[number] / num_steps,
            "compile_s": programs[number].seconds,
            "alone_s": programs[number].seconds + of_sweep[number],
            "masked_s": programs[largest].seconds / len(negatives) + of_sweep[largest],
        }
        for number in negatives
    ]


if __name__ == "__main__":
    measure.command("masking", lambda: rows(_NEGATIVES, 100))
