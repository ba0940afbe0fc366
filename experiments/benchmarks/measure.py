"""What all benchmarks share: interleaved timing, sizes of the work, and files that say where they were made."""

import csv
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from ebgan_mdn_jax import mixture_outputs, plotting
from ebgan_mdn_jax.methods import ebgan_mdn
from ebgan_mdn_jax.types import InputError, Spec
from experiments.provenance import launch
from experiments.publish import BENCHMARKS, renew_documents
from experiments.tables import markdown_table
from experiments.workdir import write_json

NUM_ROUNDS = 5


def interleaved(contenders: Mapping[str, Callable[[], Any]], num_rounds: int = NUM_ROUNDS) -> dict[str, float]:
    """Median seconds of each contender's call over rounds in which all take turns, so that a slow moment of the machine hits all.

    Each is called once before, to warm up. A call must return when its work is done, or return JAX arrays.
    """
    seconds = {name: [] for name in contenders}
    for run in contenders.values():
        jax.block_until_ready(run())
    for _ in range(num_rounds):
        for name, run in contenders.items():
            began = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def latencies(
    contenders: Mapping[str, Callable[[], Any]], num_calls: int = 300, most_seconds: float = 20.0
) -> dict[str, np.ndarray]:
    """Seconds of each of ``num_calls`` single calls, all taking turns; fewer of those that take more than ``most_seconds`` in all."""
    seconds = {name: [] for name in contenders}
    for run in contenders.values():
        jax.block_until_ready(run())
    for _ in range(num_calls):
        for name, run in contenders.items():
            if sum(seconds[name]) > most_seconds:
                continue
            began = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - began)
    return {name: np.asarray(values) for name, values in seconds.items()}


def matmul_peak(size: int = 2048) -> float:
    """FLOP/s of a large float32 matrix product, at JAX's default precision."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / interleaved({"product": lambda: product(a)})["product"]


def memory_bandwidth(num_bytes: int = 2**28) -> float:
    """Bytes per second read and written by a large copy."""
    x = jnp.zeros(num_bytes // 4)
    copy = jax.jit(lambda x: x + 1)
    return 2 * num_bytes / interleaved({"copy": lambda: copy(x)})["copy"]


def product_flops(widths: Sequence[int], rows: int) -> int:
    """FLOP of the matrix products of one forward pass of an MLP with layers of ``widths`` on ``rows`` rows."""
    return 2 * rows * sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True))


def ebgan_mdn_flops(config: ebgan_mdn.Config, spec: Spec, batch_size: int) -> int:
    """FLOP of the matrix products of one training step of EBGAN-MDN.

    Each energy update draws from the generator and takes the gradient of (N + 2) energies a row: one pass forward, one for the weights,
    one for the inputs of all layers but the first. The generator's update has two losses, of which one goes through the energy.
    """
    energy = [spec.obs_dim + spec.action_dim, *config.energy_hidden, 1]
    head = (config.generator.num_components, spec.action_dim, config.generator.covariance)
    generator = [config.generator.latent_dim + spec.obs_dim, *config.generator.hidden]
    generator.append(mixture_outputs.num_outputs(*head))

    def with_gradient(widths, rows):
        return 3 * product_flops(widths, rows) - product_flops(widths[:2], rows)

    rows = (config.num_negatives + 2) * batch_size
    energy_update = product_flops(generator, batch_size) + with_gradient(energy, rows)
    generator_update = 2 * with_gradient(generator, batch_size) + 2 * product_flops(energy, batch_size)
    return config.energy_steps * energy_update + generator_update


def command(
    name: str,
    measure_rows: Callable[[], Sequence[Mapping[str, Any]]],
    figure: Callable[[Sequence[Mapping[str, str]]], Any] | None = None,
) -> None:
    """Measure, print the rows as a table, write them and where they come from, and show them in README and BUILD.

    ``figure`` draws a `matplotlib.figure.Figure` from the rows of the CSV, shown below the table.
    """
    if len(sys.argv) > 1:
        print(f"error: unexpected argument {sys.argv[1]!r}: benchmarks take none", file=sys.stderr)
        sys.exit(2)
    logging.set_verbosity(logging.ERROR)
    try:
        publish(name, measure_rows())
        if figure:
            with (BENCHMARKS / f"{name}.csv").open(newline="") as file:
                (BENCHMARKS / f"{name}.png").write_bytes(plotting.png(figure(list(csv.DictReader(file))), palette=True))
        renew_documents()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def publish(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows, and write ``<name>.csv`` and ``<name>.json``."""
    header = list(rows[0])
    print(markdown_table(header, [[show(row[column]) for column in header] for row in rows]))
    BENCHMARKS.mkdir(parents=True, exist_ok=True)
    with (BENCHMARKS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: show(value) for column, value in row.items()} for row in rows)
    write_json(BENCHMARKS / f"{name}.json", launch())
    print(f"{BENCHMARKS / name}.csv")


def show(value: Any) -> str:
    """Three digits of a measured number; anything else as it is."""
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)
