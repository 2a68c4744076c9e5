"""Parquet and Arrow files as runs of rows: where to cut them, and copying a run into a file of its own."""

from __future__ import annotations

import contextlib
import io
import itertools
from bisect import bisect_left
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from .csv_records import NotSplittable
from .endings import PARQUET, ending
from .storage import Folder

pa: Any = pyarrow
pq: Any = pyarrow.parquet

_MAGIC = b"PAR1"
_BATCH = 8 * 2**20
"""Bytes of rows held while they are copied, about."""
_GLANCE = 2**18
"""Bytes of a remote file's record batch that are fetched to see how many rows it has, at least."""
_MAX_ROWS = 65_536
_HELD = 32 * 2**20
"""Bytes of a row group up to which it is fetched in a few large requests and held, compressed. Of a larger one no more
than that is held either, but it takes many requests."""


class Part(NamedTuple):
    """A row group or record batch."""

    rows: int
    size: int
    """Bytes in the file; for a record batch its share by rows."""


class ColumnarFile(Protocol):
    """An open file of rows."""

    def parts(self, size: int) -> list[Part]:
        """Its row groups or record batches, found without reading the rows; `size` is the file's, in bytes."""
        ...

    def write(self, start: int, end: int, target: Path) -> None:
        """Copy the rows [start, end) into a new file, a few at a time. Raises NotSplittable if there are fewer."""
        ...


@contextlib.contextmanager
def opened(folder: Folder, name: str) -> Generator[ColumnarFile]:
    """Open a file by its footer. Raises NotSplittable for one that is encrypted, of another format or damaged."""
    kind = _Parquet if ending(name) in PARQUET else _Arrow
    with contextlib.ExitStack() as stack:
        try:
            yield kind(folder, name, stack)
        except pa.ArrowInvalid as error:
            raise NotSplittable(str(error)) from error


def _open(folder: Folder, name: str, buffer: int = 0) -> Any:
    stream: Any = folder.open(name)
    raw = stream.detach()  # Arrow asks for just the ranges it needs; a buffer of MBs would fetch much more
    return io.BufferedReader(raw, buffer) if buffer else raw


class _Parquet:
    def __init__(self, folder: Folder, name: str, stack: contextlib.ExitStack) -> None:
        self._stream = stack.enter_context(_open(folder, name))
        self._stream.seek(-len(_MAGIC), 2)
        if self._stream.read(len(_MAGIC)) != _MAGIC:
            raise NotSplittable("encrypted, or no Parquet file")
        self._file = pq.ParquetFile(self._stream)

    def parts(self, size: int) -> list[Part]:
        return [Part(group.num_rows, _compressed(group)) for group in self._groups()]

    def _groups(self) -> Iterator[Any]:
        metadata = self._file.metadata
        return (metadata.row_group(index) for index in range(metadata.num_row_groups))

    def write(self, start: int, end: int, target: Path) -> None:
        with pq.ParquetWriter(target, self._file.schema_arrow) as writer:
            pending: list[Any] = []
            for batch in self._batches(start, end):
                pending.append(batch)
                if sum(each.nbytes for each in pending) >= _BATCH:
                    writer.write_table(pa.Table.from_batches(pending))
                    pending.clear()
            if pending:
                writer.write_table(pa.Table.from_batches(pending))

    def _batches(self, start: int, end: int) -> Generator[Any]:
        before = 0
        for index, group in enumerate(self._groups()):
            if before < end and before + group.num_rows > start:
                yield from _rows(self._read(index, group), start - before, end - before)
            before += group.num_rows
        if before < end:
            raise NotSplittable(f"{before} rows")

    def _read(self, index: int, group: Any) -> Iterator[Any]:
        rows = min(_MAX_ROWS, max(1, _BATCH * group.num_rows // max(1, group.total_byte_size)))
        held = _compressed(group) <= _HELD
        buffer = 0 if held else max(2**16, min(2**22, _HELD // group.num_columns))  # bytes a column
        file = pq.ParquetFile(self._stream, metadata=self._file.metadata, pre_buffer=held, buffer_size=buffer)
        return file.iter_batches(rows, row_groups=[index])


def _compressed(group: Any) -> int:
    return sum(group.column(index).total_compressed_size for index in range(group.num_columns))


_row_counts: WeakKeyDictionary[Folder, dict[tuple[str, int], list[int]]] = WeakKeyDictionary()
"""Rows of the record batches of each file (of some size): each takes a request to find, and each piece needs them."""


class _Arrow:
    def __init__(self, folder: Folder, name: str, stack: contextlib.ExitStack) -> None:
        def source(buffer: int = 0) -> Any:
            # Mapped, a local file needs no memory of its own, however large its record batches are.
            local = folder.is_local
            return stack.enter_context(pa.memory_map(folder.file_url(name)) if local else _open(folder, name, buffer))

        stream = source()
        self._file = pa.ipc.open_file(stream)
        known, key = _row_counts.setdefault(folder, {}), (name, stream.seek(0, 2))
        if key not in known:
            # How many rows a batch has comes with the batch: with nothing but its narrowest column that is cheap.
            options = pa.ipc.IpcReadOptions(included_fields=_narrowest(self._file.schema))
            file = pa.ipc.open_file(source(_GLANCE), options=options)
            known[key] = [file.get_batch(index).num_rows for index in range(file.num_record_batches)]
        self._counts = known[key]

    def parts(self, size: int) -> list[Part]:
        total = max(1, sum(self._counts))
        return [Part(rows, size * rows // total) for rows in self._counts]

    def write(self, start: int, end: int, target: Path) -> None:
        before = 0
        with pa.ipc.new_file(str(target), self._file.schema) as writer:
            for index, rows in enumerate(self._counts):
                if before < end and before + rows > start:
                    batch = self._file.get_batch(index)
                    if batch.num_rows != rows:
                        raise NotSplittable(f"{batch.num_rows} rows where there were {rows}")
                    first = max(start - before, 0)
                    writer.write_batch(batch.slice(first, min(end - before, rows) - first))
                before += rows
        if before < end:
            raise NotSplittable(f"{before} rows")


def _narrowest(schema: Any) -> list[int]:
    def width(index: int) -> int:
        try:
            return schema.field(index).type.bit_width
        except ValueError:  # a type of varying width
            return 2**31

    return [min(range(len(schema)), key=width)] if len(schema) else []


def _rows(batches: Iterator[Any], start: int, end: int) -> Generator[Any]:
    """The rows [start, end) of those batches; no batch behind them is read."""
    before = 0
    while before < end and (batch := next(batches, None)) is not None:
        first, last = max(start - before, 0), min(end - before, batch.num_rows)
        if first < last:
            yield batch.slice(first, last - first)
        before += batch.num_rows


def balanced(parts: list[Part], size: int) -> list[int]:
    """Where to cut, as row numbers with 0 and the end among them, so that no piece is larger than `size` bytes.

    As few pieces as whole parts make, then as equal as whole parts make them; a part larger than `size` is cut by rows.
    """
    units = [unit for part in parts for unit in _units(part, size)]
    rows = [0, *itertools.accumulate(unit.rows for unit in units)]
    sizes = [0, *itertools.accumulate(unit.size for unit in units)]
    needed = _needed(sizes, size)
    borders, at = [0], 0
    while at < len(units):
        aim = sizes[at] + (sizes[-1] - sizes[at]) / needed[at]
        # At least so far that the rest fits into the pieces left for it, at most to what fits into this one.
        low = max(at + 1, bisect_left(needed, 1 - needed[at], key=lambda count: -count))
        high = max(low, bisect_left(sizes, sizes[at] + size + 1) - 1)
        near = bisect_left(sizes, aim, low, high)
        at = near - 1 if near > low and aim - sizes[near - 1] < sizes[near] - aim else near
        borders.append(rows[at])
    return borders if borders[-1] else []


def _units(part: Part, size: int) -> list[Part]:
    count = max(1, min(part.rows, -(-part.size // size)))
    borders = [(part.rows * index // count, part.size * index // count) for index in range(count + 1)]
    return [Part(b - a, y - x) for (a, x), (b, y) in itertools.pairwise(borders) if b > a]


def _needed(sizes: list[int], size: int) -> list[int]:
    """How many pieces the units from each on need; `sizes` are their running totals."""
    needed = [0] * len(sizes)
    for at in range(len(sizes) - 2, -1, -1):
        end = max(at + 1, bisect_left(sizes, sizes[at] + size + 1) - 1)
        needed[at] = 1 + needed[end]
    return needed
