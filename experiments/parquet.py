"""``members.parquet``: every value of every member in long format, with a column for each setting that varies.

Columns ``task, run, method, seed, hyper, metric, value`` as in ``members.csv``; then ``hyper.<name>`` for each hyperparameter, and the path
(``method.num_negatives``) for each other setting, that takes several values in the runs of one method on one task. Cells are null where a
run has no such setting, and where a value is not finite.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from experiments.summary import MEMBER_COLUMNS, Run, member_rows

_SECTIONS = ("train", "data", "method", "evaluation")


def members_parquet(runs: Sequence[Run]) -> bytes:
    """The file's content."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = list(member_rows(runs))
    columns = dict(zip(MEMBER_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    columns["value"] = pa.array(columns["value"], pa.float64())
    settings = [_settings(run) for run in runs]
    varied = _varied(runs, settings)
    # `member_rows` goes through the runs, through the metrics of each, and through its members.
    repeated = [
        member
        for run, members in zip(runs, settings, strict=True)
        for _ in range(len(run.results["metrics"]) + len(run.results["training"]))
        for member in members
    ]
    for path in varied:
        columns[path] = _column([setting.get(path) for setting in repeated])
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _settings(run: Run) -> list[dict[str, Any]]:
    """Of each member, the path and value of every setting."""
    try:
        config = json.loads(run.config)
    except ValueError:
        config = {}
    shared = {path: value for name in _SECTIONS for path, value in _leaves(config.get(name), name)}
    return [
        shared | {f"hyper.{name}": _as_typed(value) for name, value in member["hyper"].items()}
        for member in run.results["members"]
    ]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}")
    else:
        yield path, json.dumps(value) if isinstance(value, list) else value


def _as_typed(value: float) -> float:
    """The number that the user typed: hyperparameters are stored as float32, of which 0.01 is 0.009999999776."""
    return float(str(np.float32(value)))


def _varied(runs: Sequence[Run], settings: Sequence[list[dict]]) -> list[str]:
    """Paths that take several values in the runs of one method on one task."""
    seen: dict[tuple, set] = {}
    for run, members in zip(runs, settings, strict=True):
        for member in members:
            for path, value in member.items():
                seen.setdefault((run.results["task"], run.results["method"], path), set()).add(value)
    return list(dict.fromkeys(path for (*_, path), values in seen.items() if len(values) > 1))


def _column(values: list[Any]):
    """An Arrow array of numbers or truth values if all are, else of text."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values])
