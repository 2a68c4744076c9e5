"""Writers: the committed rows of a job as one file. One function a format, all with one signature.

The bytes depend on the rows alone, not on how they were cut into mini-batches and parts, and memory is bounded.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import IO, Any

from ..scoring import encoded
from .committed_rows import CommittedRows

_BLOCK = 1024 * 1024

Writer = Callable[[CommittedRows, IO[bytes], str | None], None]
"""Takes the rows, an open file that it leaves open, and a compression or None."""


def write_csv(found: CommittedRows, stream: IO[bytes], compression: str | None) -> None:
    """One header, and all rows in its columns."""
    columns = found.columns

    def texts() -> Iterator[bytes | memoryview]:
        yield encoded.header(columns) if columns else b""
        for outcome, data in found:
            same = outcome.columns == columns
            yield data if same else encoded.realign(bytes(data), outcome.columns or [], columns)

    _write_text(texts(), stream, compression)


def write_lines(found: CommittedRows, stream: IO[bytes], compression: str | None) -> None:
    """Rows as they are, of a format without a header."""
    _write_text((data for _, data in found), stream, compression)


def write_parquet(found: CommittedRows, stream: IO[bytes], compression: str | None) -> None:
    """One file, each column compressed on its own."""
    from .parquet_output import write_file  # pyarrow takes a while to import, and most outputs are CSV

    write_file(found, stream, compression)


WRITERS: dict[str, Writer] = {
    encoded.CSV: write_csv,
    encoded.JSONL: write_lines,
    encoded.AZUREML: write_lines,
    encoded.PARQUET: write_parquet,
}


def _write_text(texts: Iterable[bytes | memoryview], stream: IO[bytes], compression: str | None) -> None:
    with nullcontext(stream) if compression is None else _compressed(stream, compression) as out:
        for block in _blocks(texts):
            out.write(block)


def _compressed(stream: IO[bytes], compression: str) -> Any:
    """A stream that compresses; without a time in it, so that the same rows give the same bytes."""
    if compression == "gzip":  # pyarrow has its slowest level only
        return gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=0)
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

    pa: Any = pyarrow
    return pa.CompressedOutputStream(pa.PythonFile(_LeftOpen(stream), "w"), compression)


class _LeftOpen(io.RawIOBase):
    """A stream that closing does not reach: a compressor also closes what it writes to, and when it failed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return self._stream.write(data)


def _blocks(texts: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The same bytes in blocks of one size: where a compressor is called may show in what it gives."""
    held = bytearray()
    for text in texts:
        held += text
        whole = len(held) // _BLOCK * _BLOCK
        for start in range(0, whole, _BLOCK):
            yield bytes(held[start : start + _BLOCK])
        del held[:whole]
    if held:
        yield bytes(held)
