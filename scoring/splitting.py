"""Cutting one large file into pieces of whole rows that are read independently of each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from . import columnar
from .csv_records import UTF8_BOM, NotSplittable, Offsets, RowScanner, csv_scanner, jsonl_scanner, sniff_delimiter
from .endings import COLUMNAR, JSON_LINES, TABLES, ending
from .errors import Unreadable
from .items import Piece
from .lookahead import map_ahead
from .storage import Folder

_STREAMS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz", ".zip": "zip"}
_OTHER_UNICODE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # byte order marks of UTF-16 and UTF-32

_HEAD = 64 * 2**10
"""Bytes at the start of a text file that tell its encoding and delimiter."""
_READ = 4 * 2**20
"""Bytes of one request; so much more is on its way while one is used."""
_AHEAD = 2
_SCAN = 512 * 2**10
"""Bytes scanned at once: they and what is computed from them stay in the processor's cache."""


@dataclass(frozen=True)
class Target:
    """How much a mini-batch holds: bytes or rows, exactly one of the two."""

    size: int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.rows is None) or (self.size or self.rows or 0) < 1:
            raise ValueError("a target is either a size or a number of rows, 1 or more")


def splittable(name: str) -> bool:
    """Whether files of that name can be split, as far as a name tells."""
    return ending(name) in TABLES


def why_whole(name: str) -> str | None:
    """Why a file that would be split if it were not compressed is not; None for all other files."""
    path = PurePosixPath(name)
    kind = _STREAMS.get(path.suffix.lower())
    return f"{kind} cannot be split" if kind and splittable(path.stem) else None


def split(folder: Folder, name: str, size: int | None, target: Target) -> list[Piece] | None:
    """The pieces of a file, in order; together they are all of its rows. None for a file that stays whole.

    With a target in bytes the pieces are of nearly equal size, and a file up to that size stays whole, unread. With a
    target in rows each piece but the last has exactly that many, and a file of fewer rows is one piece. A file without
    a single row may come back as one piece of 0 rows.

    Text is read once from end to end, since rows are numbered; of Parquet and Arrow only metadata is read.

    Args:
        size: bytes of the file; None where that is not known: such a file stays whole.

    Raises Unreadable when the file is shorter than its size says, OSError when the storage does not answer.
    """
    if not size or not splittable(name) or (target.size is not None and size <= target.size):
        return None
    try:
        if not folder.gives_ranges(name):
            return None
        if ending(name) in COLUMNAR:
            return _table_pieces(folder, name, size, target)
        return _text_pieces(folder, name, size, target)
    except NotSplittable:
        return None


def cut(folder: Folder, name: str, piece: Piece, target: Path) -> None:
    """Write a piece as a file of the same kind: the header and its rows, or a table of the same schema.

    Raises Unreadable when the file is no longer as long as it was when it was split.
    """
    if ending(name) in COLUMNAR:
        try:
            with columnar.opened(folder, name) as file:
                file.write(piece.start, piece.end, target)
        except NotSplittable as error:
            raise _changed(name) from error
        return
    with target.open("wb") as stream:
        if piece.header:
            stream.writelines(_blocks(folder, name, 0, piece.header))
        stream.writelines(_blocks(folder, name, piece.start, piece.end))


def _changed(name: str) -> Unreadable:
    return Unreadable(f"{name} is not as long as it was: it changed while the job read it, run the job again")


def _table_pieces(folder: Folder, name: str, size: int, target: Target) -> list[Piece]:
    with columnar.opened(folder, name) as file:
        if target.rows is not None:
            total = sum(part.rows for part in file.parts(size))
            borders = [*range(0, total, target.rows), total]
        else:
            borders = columnar.balanced(file.parts(size), target.size or 0)
    return [Piece(a, b, a, b - a) for a, b in itertools.pairwise(borders)] or [Piece(0, 0, 0, 0)]


def _text_pieces(folder: Folder, name: str, size: int, target: Target) -> list[Piece] | None:
    head = folder.read(name, 0, min(size, _HEAD))
    if head.startswith(_OTHER_UNICODE) or b"\0" in head:
        raise NotSplittable("not a text in an encoding of single bytes")
    if ending(name) in JSON_LINES:
        ends = _row_ends(folder, name, 0, size, jsonl_scanner())
        return _pieces(ends, 0, size, target)
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    delimiter = b"\t" if ending(name) == ".tsv" else sniff_delimiter(head)
    ends = _row_ends(folder, name, start, size, csv_scanner(delimiter, start))
    first = next(ends, None)
    if first is None:
        return None
    return _pieces(itertools.chain([first[1:]], ends), int(first[0]), size, target)


def _row_ends(folder: Folder, name: str, start: int, end: int, scanner: RowScanner) -> Generator[Offsets]:
    """Arrays of row ends, none of them empty."""
    for block in _blocks(folder, name, start, end):
        for at in range(0, len(block), _SCAN):
            ends = scanner.feed(block[at : at + _SCAN])
            if ends.size:
                yield ends
    ends = scanner.finish()
    if ends.size:
        yield ends


def _pieces(row_ends: Iterable[Offsets], header: int, size: int, target: Target) -> list[Piece]:
    choose = _every(target.rows) if target.rows is not None else _evenly(header, size, target.size or 0)
    rows = 0
    borders = [(header, 0)]
    for ends in row_ends:
        borders += [(int(ends[index]), rows + index + 1) for index in choose(ends, rows)]
        rows += ends.size
    if len(borders) > 1 and borders[-1][1] == rows:
        borders.pop()  # what follows are blank lines, if anything
    borders.append((size, rows))
    return [Piece(a, b, first, last - first, header) for (a, first), (b, last) in itertools.pairwise(borders)]


_Choose = Callable[[Offsets, int], Iterable[int]]
"""Given row ends and the number of rows before them, the indices of those after which the file is cut."""


def _every(rows: int) -> _Choose:
    return lambda ends, before: range(-(before + 1) % rows, ends.size, rows)


def _evenly(start: int, end: int, size: int) -> _Choose:
    """Cuts at the first row ends from each of the places that would make pieces of equal size."""
    count = -(-end // size)
    reached = 0

    def choose(ends: Offsets, _: int) -> Generator[int]:
        nonlocal reached
        while reached < count - 1:
            mark = start - (start - end) * (reached + 1) // count
            index = int(np.searchsorted(ends, mark))
            if index == ends.size:
                return
            yield index
            reached = (int(ends[index]) - start) * count // (end - start)

    return choose


def _blocks(folder: Folder, name: str, start: int, end: int) -> Generator[bytes]:
    """The bytes [start, end) of a file in blocks, the next ones on their way while one is used.

    Raises Unreadable where the file ends before `end`.
    """

    def read(offset: int) -> bytes:
        stop = min(offset + _READ, end)
        block = folder.read(name, offset, stop)
        if len(block) != stop - offset:
            raise _changed(name)
        return block

    return map_ahead(read, range(start, end, _READ), _AHEAD, _AHEAD)
