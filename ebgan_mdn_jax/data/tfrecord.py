"""Episodes in TFRecord files of TF-Agents' trajectories, the format of IBC's demonstrations and its samples of D4RL, without TensorFlow.

A file is a row of records: length (uint64), masked CRC-32C of the length, content, masked CRC-32C of the content, all little endian. The
content is a ``tf.train.Example``, a protocol buffer with a list of floats, integers or byte strings for each feature. A record is one
transition: ``observation`` and ``action`` (floats), and as int32 in bytes its ``step_type`` and ``next_step_type``: 0 for the first of an
episode, 1 in the middle, 2 for the last. The transition after the last one, from 2 to 0, leads to another episode and has no action that
anyone took. Needs the extra "formats".
"""

import functools
import pathlib
import struct
from collections.abc import Iterator

import numpy as np

from ebgan_mdn_jax.data.windows import Episode
from ebgan_mdn_jax.types import InputError, require

SUFFIX = ".tfrecord"
_FIRST, _LAST = 0, 2


def records(path: pathlib.Path) -> Iterator[bytes]:
    """Contents of the records of a file, each held to its checksum.

    Raises:
      InputError: if the file is cut short or a checksum is wrong.
    """
    import google_crc32c

    def check(data: bytes, expected: bytes, place: int):
        crc = google_crc32c.value(data)
        masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        require(
            struct.pack("<I", masked) == expected,
            f"{path}: the record at byte {place} is damaged (its checksum is wrong); copy the file again",
        )

    content, place = path.read_bytes(), 0
    while place < len(content):
        head = content[place : place + 12]
        require(len(head) == 12, f"{path}: ends within the record at byte {place}; copy the file again")
        check(head[:8], head[8:], place)
        end = place + 12 + struct.unpack("<Q", head[:8])[0]
        require(end + 4 <= len(content), f"{path}: ends within the record at byte {place}; copy the file again")
        check(content[place + 12 : end], content[end : end + 4], place)
        yield content[place + 12 : end]
        place = end + 4


def features(record: bytes) -> dict[str, np.ndarray]:
    """The features of a ``tf.train.Example``: float32 or int64 arrays ``[n]``, or an array of byte strings."""
    example = _example_class()()
    example.ParseFromString(record)
    result = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is not None:
            dtype = {"float_list": np.float32, "int64_list": np.int64, "bytes_list": object}[kind]
            result[name] = np.array(getattr(feature, kind).value, dtype)
    return result


def read(path: pathlib.Path) -> list[Episode]:
    """The episodes of a file, or of all files in a folder by name; one that the file leaves unfinished counts too.

    Raises:
      InputError: if there is no such file, it is damaged, or a record is no transition.
    """
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    require(bool(files) and files[0].is_file(), f"{path}: there is no {SUFFIX} file")
    result = []
    for file in files:
        rows: list[tuple[np.ndarray, ...]] = []
        for index, record in enumerate(records(file)):
            step, following, row = _transition(record, f"{file}: record {index}")
            if step != _LAST:
                require(
                    bool(rows) or step == _FIRST, f"{file}: record {index} goes on with an episode that has no start"
                )
                rows.append(row)
            if rows and _LAST in (step, following):
                result.append(_episode(rows, file))
                rows = []
        if rows:
            result.append(_episode(rows, file))
    return result


def _transition(record: bytes, where: str) -> tuple[int, int, tuple[np.ndarray, ...]]:
    """Step type, the next one, and observation, action and reward."""
    try:
        values = features(record)
        types = [int(np.frombuffer(values[name][0], "<i4")[0]) for name in ("step_type", "next_step_type")]
        return *types, (values["observation"], values["action"], values["reward"][0])
    except Exception as error:  # whatever a foreign record lacks
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"{where} is no transition ({reason}); expected observation, action, reward, step_type and next_step_type"
        ) from error


def _episode(rows: list[tuple[np.ndarray, ...]], file: pathlib.Path) -> Episode:
    for part, values in zip(("observation", "action"), zip(*rows, strict=True), strict=False):
        sizes = {len(value) for value in values}
        require(len(sizes) == 1, f"{file}: an episode has {part}s of {sorted(sizes)} numbers, expected one size")
    return Episode(*(np.stack(values) for values in zip(*rows, strict=True)))


@functools.cache
def _example_class() -> type:
    """The message ``Example {Features features = 1}``, ``Features {map<string, Feature> feature = 1}``, described here."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="ebgan_mdn_jax/example.proto", package="ebgan_mdn_jax", syntax="proto3"
    )

    def message(name, fields, parent=file.message_type):
        added = parent.add(name=name)
        for number, (field_name, kind, label) in enumerate(fields, start=1):
            of = (
                {"type": kind}
                if isinstance(kind, int)
                else {"type": field.TYPE_MESSAGE, "type_name": f".ebgan_mdn_jax.{kind}"}
            )
            added.field.add(name=field_name, number=number, label=label, **of)
        return added

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    lists = {"bytes_list": field.TYPE_BYTES, "float_list": field.TYPE_FLOAT, "int64_list": field.TYPE_INT64}
    for name, kind in lists.items():
        message(name, [("value", kind, many)])
    feature = message("Feature", [(name, name, one) for name in lists])
    feature.oneof_decl.add(name="kind")
    for member in feature.field:
        member.oneof_index = 0
    container = message("Features", [("feature", "Features.FeatureEntry", many)])
    entry = message("FeatureEntry", [("key", field.TYPE_STRING, one), ("value", "Feature", one)], container.nested_type)
    entry.options.map_entry = True
    message("Example", [("features", "Features", one)])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ebgan_mdn_jax.Example"))
