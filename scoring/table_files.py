"""Table files as they lie on disk: CSV, TSV, JSON Lines, Parquet and Arrow, text also compressed.

A compressed file cannot be split, so a large one is read in chunks; every other file is read at once.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from .endings import COLUMNAR, JSON_LINES, PARQUET, TEXT, ending
from .errors import Unreadable

pa: Any = pyarrow
pq: Any = pyarrow.parquet

CHUNK_BYTES = 16 * 2**20
"""A compressed file that is no longer than this when it is not compressed is read at once."""
CHUNK_ROWS = 50_000
_FIRST_ROWS = 100
"""Rows of a long file's first chunk; how large they are says how many rows the next has."""


def _open_zstd(path: str) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(pa.input_stream(path, compression="zstd")))


_OPENERS: dict[str, Callable[[str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zstd}
COMPRESSIONS = set(_OPENERS)


@dataclass
class Table:
    """Rows of a file: `data` with the types that the reader finds, `carried` the asked columns as they are written.

    Text of a CSV file is carried as text (007, 1.50, NA), the columns of all other formats in their own types.
    """

    data: pd.DataFrame
    carried: pd.DataFrame
    first_row: int = 0


Columns = str | list[str]
"""Names of columns, or "all"."""


def kind_of(path: str) -> str:
    """What says the kind of a file: `.csv` of `x.CSV` and of `x.csv.gz`; all of `.parquet.gz`, which is no kind."""
    last, before = ending(path), ending(Path(path).stem)
    if last in _OPENERS:
        return before if before in TEXT else before + last
    return last


def read_chunks(path: str, text: set[str], carry: Columns) -> Iterator[Table]:
    """The rows of a table file, in their order: at least one chunk, of bounded size where the file is compressed.

    Args:
        path: a local file.
        text: columns whose values are text, whatever they look like.
        carry: columns for Table.carried.

    Raises Unreadable, and what the format's reader raises.
    """
    kind = kind_of(path)
    if kind in COLUMNAR:
        yield _columnar(path, kind, carry)
        return
    long = _is_long(path)
    chunks = _json_lines(path, text, carry, long) if kind in JSON_LINES else _delimited(path, text, carry, long)
    first_row = 0
    for data, carried in chunks:
        yield Table(data, carried, first_row)
        first_row += len(data)


def read_columns(path: str, carry: Columns) -> pd.DataFrame:
    """The asked columns of a whole file as they are written; a row for each row of the file even if none is asked."""
    kind = kind_of(path)
    if kind in COLUMNAR:
        return _carried(_arrow_table(path, kind), carry)
    if kind in JSON_LINES:
        return pd.concat([carried for _, carried in _json_lines(path, set(), carry, long=False)], ignore_index=True)
    with _csv(path, dtype=str, na_filter=False, index_col=False, **_usecols(carry)) as reader:
        return _asked(reader.read(), carry)


def _open(path: str) -> IO[bytes]:
    opener = _OPENERS.get(ending(path))
    return opener(path) if opener else Path(path).open("rb")


def _is_long(path: str) -> bool:
    if ending(path) not in _OPENERS:
        return False
    with _open(path) as stream:
        return len(stream.read(CHUNK_BYTES + 1)) > CHUNK_BYTES


@contextlib.contextmanager
def _csv(path: str, **options: Any) -> Generator[Any]:
    separator = "\t" if kind_of(path) == ".tsv" else ","
    with (
        _open(path) as stream,
        cast("Any", pd.read_csv)(stream, sep=separator, iterator=True, **options) as reader,
    ):
        yield reader


def _usecols(carry: Columns) -> dict[str, Any]:
    # Without a column there would be no rows; a name that is not there is ours to report.
    if carry == "all":
        return {}
    return {"usecols": (lambda name: name in carry) if carry else [0]}  # pyright: ignore[reportUnknownLambdaType]


def _delimited(path: str, text: set[str], carry: Columns, long: bool) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(_csv(path, dtype=dict.fromkeys(text, "object")))
        twin: Any = None
        if carry:
            twin = stack.enter_context(_csv(path, dtype=str, na_filter=False, index_col=False, **_usecols(carry)))
        rows, first_row = _FIRST_ROWS if long else None, 0
        with contextlib.suppress(StopIteration):
            while True:
                data = reader.read(rows)
                carried = data[[]]
                if twin is not None:
                    if not data.index.equals(pd.RangeIndex(first_row, first_row + len(data))):
                        raise Unreadable("rows have more fields than the header has names: no column can be carried")
                    carried = _asked(twin.read(rows), carry)
                if not long:
                    yield data, carried
                    return
                yield data.reset_index(drop=True), carried.reset_index(drop=True)
                first_row += len(data)
                used = data.memory_usage(deep=True).sum() + carried.memory_usage(deep=True).sum()
                rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES * max(1, len(data)) // max(1, int(used))))


def _asked(frame: pd.DataFrame, carry: Columns) -> pd.DataFrame:
    names = [str(name) for name in frame.columns] if carry == "all" else carry
    _check_there(names, frame.columns)
    return frame[names]


def _check_there(names: Columns, there: Any) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise Unreadable(f"column {', '.join(map(repr, missing))} of output_columns is not in the file")


def _json_lines(path: str, text: set[str], carry: Columns, long: bool) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    records: list[dict[str, Any]] = []
    first_row, size, yielded = 0, 0, False
    with _open(path) as stream:
        for line in stream:
            if not line.strip(b" \t\r\n\xef\xbb\xbf"):
                continue
            records.append(_record(line, first_row + len(records)))
            size += len(line)
            if long and (size >= CHUNK_BYTES or len(records) >= CHUNK_ROWS):
                yield _frames(records, text, carry)
                first_row, size, records, yielded = first_row + len(records), 0, [], True
    if records or not yielded:
        yield _frames(records, text, carry)


def _record(line: bytes, row: int) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise Unreadable(f"row {row} is not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise Unreadable(f"row {row} is not a JSON object")
    return cast("dict[str, Any]", record)


def _frames(records: list[dict[str, Any]], text: set[str], carry: Columns) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values are kept as JSON has them in what is carried and in text; else a missing one turns a column to float."""
    data = pd.DataFrame(records)

    def kept(name: str) -> pd.Series[Any]:
        return pd.Series([record.get(name) for record in records], dtype="object")

    for name in text & set(data.columns):
        data[name] = kept(name)
    names = [str(name) for name in data.columns] if carry == "all" else carry
    if records:
        _check_there(names, data.columns)
    return data, pd.DataFrame({name: kept(name) for name in names}, index=data.index)


def _columnar(path: str, kind: str, carry: Columns) -> Table:
    table = None if kind in PARQUET and not carry else _arrow_table(path, kind)
    data: pd.DataFrame = pd.read_parquet(path) if kind in PARQUET else cast("Any", table).to_pandas()
    return Table(data, pd.DataFrame(index=pd.RangeIndex(len(data))) if table is None else _carried(table, carry))


def _arrow_table(path: str, kind: str) -> Any:
    if kind in PARQUET:
        with pq.ParquetFile(path) as file:
            return file.read()
    with pa.memory_map(path) as source:
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:  # not the file format, so the stream format, under the same endings
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()


def _carried(table: Any, carry: Columns) -> pd.DataFrame:
    """Columns in Arrow's own types, in which a whole number may be missing."""
    there = [name for name in table.column_names if not name.startswith("__index_level_")]
    names = there if carry == "all" else carry
    _check_there(names, there)
    chosen = table.select(names).replace_schema_metadata(None)
    frame = chosen.to_pandas(types_mapper=pd.ArrowDtype)
    return frame if names else pd.DataFrame(index=pd.RangeIndex(table.num_rows))
