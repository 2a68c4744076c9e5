"""The committed rows as Parquet: one file, or a folder of them.

Row groups and files end where the rows alone say so, and little more than one row group is held in memory.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import IO, Any

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from ..scoring.errors import StorageFailed
from ..scoring.storage import Folder
from .committed_rows import CommittedRows
from .parts_folder import SUCCESS, part_name, parts_in
from .row_groups import BYTES, regroup

PART_BYTES = 128 * 1024 * 1024
"""What a file of a folder has at most, unless a row group is larger in the file than in memory."""
pa: Any = pyarrow
pq: Any = pyarrow.parquet


def write_file(found: CommittedRows, stream: IO[bytes], compression: str | None) -> None:
    """One file, each column compressed on its own."""
    schema = _schema(found)
    with pq.ParquetWriter(stream, schema, compression=compression or "none") as file:
        for group in regroup(_tables(found, schema)):
            file.write_table(group)


def write_parts(found: CommittedRows, output: Folder, compression: str | None) -> None:
    """A folder of files, each appearing whole, and at the end _SUCCESS; without any rows there is one file too.

    What was written is removed if writing fails. Raises FileExistsError for a part or a _SUCCESS that is there.
    """
    if taken := parts_in(output):
        raise FileExistsError(output.file_url(taken[0]))
    schema = _schema(found)
    groups = regroup(_tables(found, schema))
    group = next(groups, None)
    written: list[str] = []
    try:
        while group is not None or not written:
            name = part_name(len(written))
            with output.create_stream(name) as stream:
                group = _write_part(stream, schema, compression, group, groups)
            written.append(name)
        output.create(SUCCESS, b"")
    except BaseException:
        for name in written:
            with contextlib.suppress(OSError, StorageFailed):  # what went wrong first is what matters
                output.remove(name)
        raise


def _write_part(stream: IO[bytes], schema: Any, compression: str | None, group: Any, more: Iterator[Any]) -> Any:
    """Write row groups until another one could be too much; returns that one, or None at the end."""
    with pq.ParquetWriter(stream, schema, compression=compression or "none") as file:
        while group is not None:
            file.write_table(group)
            group = next(more, None)
            if stream.tell() > PART_BYTES - BYTES:
                break
    return group


def _schema(found: CommittedRows) -> Any:
    """One schema for all. A column of types that have nothing in common becomes text: the rows are committed, and a
    job must not fail for them at its end."""
    fields: dict[str, dict[Any, None]] = {}
    for schema in _schemas(found):
        for field in schema:
            fields.setdefault(field.name, {})[_plain(field.type)] = None
    return pa.schema([_field(name, list(types)) for name, types in fields.items()])


def _schemas(found: CommittedRows) -> Iterator[Any]:
    """Every schema that differs, in the order of the rows."""
    seen: set[bytes] = set()
    for _, data in found:
        key = _schema_message(data)
        if key not in seen:
            seen.add(key)
            yield pa.ipc.open_stream(data).schema


def _schema_message(data: memoryview) -> bytes:
    """The first message of an Arrow stream: a continuation mark, a length, the message of this length."""
    return bytes(data[: 8 + int.from_bytes(data[4:8], "little")])


def _plain(kind: Any) -> Any:
    """Categories as their values: which there are depends on the mini-batch."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _field(name: str, types: list[Any]) -> Any:
    try:
        return pa.unify_schemas([pa.schema([(name, kind)]) for kind in types], promote_options="permissive").field(0)
    except pa.ArrowTypeError:
        return pa.field(name, pa.string())


def _tables(found: CommittedRows, schema: Any) -> Iterator[Any]:
    """Neighbours of the same schema as one table: casting a thousand tables of one row takes its time."""
    for chunks in found.parts():
        for _, group in itertools.groupby((data for _, data in chunks), key=_schema_message):
            tables = [pa.ipc.open_stream(data).read_all() for data in group]
            yield _conform(pa.concat_tables(tables).combine_chunks(), schema)


def _conform(table: Any, schema: Any) -> Any:
    return pa.table([_column(table, field) for field in schema], schema=schema)


def _column(table: Any, field: Any) -> Any:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    column = table[field.name]
    try:
        return column.cast(field.type, safe=False)  # safe would refuse whole numbers above 2^53 as double
    except pa.ArrowNotImplementedError:  # a list as text
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], field.type)
