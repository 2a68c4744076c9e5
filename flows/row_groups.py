"""Parquet row groups that do not show how the rows came: their borders follow from the rows alone.

A group ends before the row that would make it longer than ROWS or larger than BYTES. The bytes of a row are those of
its values in memory, which is the same number however the rows were cut before; the size of a buffer would not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.compute  # pyright: ignore[reportMissingTypeStubs]

ROWS = 65_536
BYTES = 32 * 1024 * 1024
pa: Any = pyarrow
pc: Any = pyarrow.compute
Numbers = np.ndarray[Any, np.dtype[np.int64]]


def regroup(tables: Iterable[Any]) -> Iterator[Any]:
    """The rows of all tables, which have one schema, as tables that are one row group each."""
    held: list[Any] = []
    rows = size = 0
    for table in tables:
        ends = np.cumsum(_table_bytes(table))
        start = 0
        while start < len(table):
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + BYTES - size, side="right")) - start
            count = min(max(fitting, 0 if held else 1), ROWS - rows, len(table) - start)
            if count == 0:
                yield pa.concat_tables(held).combine_chunks()
                held, rows, size = [], 0, 0
                continue
            held.append(table.slice(start, count))
            start += count
            rows += count
            size += int(ends[start - 1]) - before
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _table_bytes(table: Any) -> Numbers:
    """Bytes of each row."""
    total = np.zeros(len(table), np.int64)
    for column in table.columns:
        total += _bytes(column.combine_chunks())
    return total


def _bytes(array: Any) -> Numbers:
    """Bytes of each value, without what says where it lies."""
    if isinstance(array, pa.ChunkedArray):  # longer than the offsets of one array reach
        return np.concatenate([_bytes(chunk) for chunk in array.chunks])
    if isinstance(array, pa.ExtensionArray):
        return _bytes(array.storage)
    kind, types = array.type, pa.types
    if types.is_struct(kind):
        return sum((_bytes(field) for field in array.flatten()), np.zeros(len(array), np.int64))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = _lengths(pc.list_value_length(array))
        ends = np.cumsum(lengths)
        inner = np.concatenate([[0], np.cumsum(_bytes(array.flatten()))])
        return inner[ends] - inner[ends - lengths]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return _lengths(pc.binary_length(array))
    return np.full(len(array), _width(kind), np.int64)


def _lengths(found: Any) -> Numbers:
    return np.asarray(found.fill_null(0)).astype(np.int64)


def _width(kind: Any) -> int:
    """Bytes of any value of the type; 1 for one that has no width, such as the type of a column without values."""
    try:
        return max(1, kind.bit_width // 8)
    except ValueError:
        return 1
