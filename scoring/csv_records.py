"""Where the rows of a text file end, found in one pass over its bytes.

The rules for CSV are those of pandas' C parser with default settings: a quote opens a quoted field only where a
field starts, `""` inside is an escaped quote, what follows a closing quote is literal, and lines of nothing but
spaces and tabs are no rows.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]

UTF8_BOM = b"\xef\xbb\xbf"
DELIMITERS = (b",", b";", b"\t", b"|")
_LONE_RETURN = "a carriage return ends a line by itself"
_QUOTE, _LF, _CR = 0x22, 0x0A, 0x0D
_QUOTED = re.compile(rb'"(?:[^"]|"")*"')


class NotSplittable(Exception):
    """The rows of this file cannot be told apart by their bytes: it is read whole."""


class RowScanner:
    """Finds row ends in blocks of bytes given one after the other, in memory of a few blocks.

    Inside and outside of quotes is told by the parity of the quotes so far. That is exact as long as every quote that
    opens by parity stands at the start of a field or right after the quote that closes by parity (an escaped quote);
    in a block where one does not, quotes are gone through one by one and the literal ones are left out.
    """

    def __init__(self, blank: bytes, delimiter: bytes | None = None, start: int = 0) -> None:
        """A scanner for CSV with that delimiter, or for lines without any quoting when it is None.

        Args:
            blank: bytes that alone make no row.
            delimiter: one byte.
            start: offset of the first byte that will be fed.
        """
        self._blank = blank
        self._skippable = blank + b"\r\n"
        self._quoting = delimiter is not None
        self._openers = frozenset(b"\n" + (delimiter or b""))
        self._opens_after = _lookup(bytes(self._openers) + b'"')
        self._maybe_blank = _lookup(b"\r" + blank)
        self._offset = start
        self._carry = b""
        self._inside = False
        self._opens = True  # a quote, if that comes next, opens a field or is the second of an escaped pair
        self._only_blank = True  # the open row has nothing but blanks so far

    def feed(self, block: bytes) -> Offsets:
        """Offsets in the file just behind each row that ends in this block, ascending.

        Raises NotSplittable at a carriage return that ends a line by itself.
        """
        data = self._carry + block if self._carry else block
        self._carry = b"\r" if data.endswith(b"\r") else b""  # what it is shows only with the next byte
        return self._scan(data[:-1] if self._carry else data)

    def finish(self) -> Offsets:
        """The end of a last row that no newline ends: one offset or none. Raises NotSplittable like `feed`."""
        if self._carry and not self._inside:
            raise NotSplittable(_LONE_RETURN)
        self._offset += len(self._carry)
        self._carry = b""
        return np.array([] if self._only_blank else [self._offset], np.int64)

    def _scan(self, data: bytes) -> Offsets:
        if not data:
            return np.empty(0, np.int64)
        array = np.frombuffer(data, np.uint8)
        inside = self._inside
        quotes = self._quotes(data, array)
        newlines = np.flatnonzero(array == _LF)
        if quotes.size or inside:
            newlines = newlines[_outside(newlines, quotes, inside)]
        if b"\r" in data:
            self._refuse_lone_returns(array, quotes, inside)
        ends = self._rows(data, array, newlines)
        self._inside = inside ^ bool(quotes.size & 1)
        closed = quotes.size > 0 and int(quotes[-1]) == len(data) - 1
        self._opens = not self._inside and (data[-1] in self._openers or closed)
        ends = ends + self._offset
        self._offset += len(data)
        return ends

    def _quotes(self, data: bytes, array: NDArray[np.uint8]) -> Offsets:
        """Positions of the quotes that open, close or escape; literal ones are left out."""
        if not self._quoting or b'"' not in data:
            return np.empty(0, np.int64)
        quotes = np.flatnonzero(array == _QUOTE)
        opening = quotes[1:] if self._inside else quotes
        opening = opening[::2]
        first_opens = True
        if opening.size and opening[0] == 0:
            first_opens, opening = self._opens, opening[1:]
        if first_opens and self._opens_after[array[opening - 1]].all():
            return quotes
        return self._without_literals(data, quotes)

    def _without_literals(self, data: bytes, quotes: Offsets) -> Offsets:
        inside = self._inside
        closed = -1 if self._opens else -2  # position of the last closing quote
        real: list[int] = []
        for position in quotes.tolist():
            if inside:
                inside, closed = False, position
            elif closed == position - 1 or (position and data[position - 1] in self._openers):
                inside = True
            else:
                continue
            real.append(position)
        return np.array(real, np.int64)

    def _rows(self, data: bytes, array: NDArray[np.uint8], newlines: Offsets) -> Offsets:
        """Positions just behind those newlines that end a row, not a blank line."""
        if not newlines.size:
            self._only_blank = self._only_blank and self._is_blank(data)
            return newlines
        ends = newlines + 1
        first_bytes = array[ends[:-1]]
        rows = np.append(not (self._only_blank and self._is_blank(data[: ends[0]])), first_bytes != _LF)
        for line in np.flatnonzero(self._maybe_blank[first_bytes]).tolist():
            rows[line + 1] = not self._is_blank(data[ends[line] : ends[line + 1]])
        self._only_blank = self._is_blank(data[ends[-1] :])
        return ends if rows.all() else ends[rows]

    def _is_blank(self, text: bytes) -> bool:
        return not text.lstrip(self._skippable)

    def _refuse_lone_returns(self, array: NDArray[np.uint8], quotes: Offsets, inside: bool) -> None:
        returns = np.flatnonzero(array == _CR)
        lone = returns[array.take(returns + 1, mode="clip") != _LF]  # before the end, only another one was held back
        if lone.size and _outside(lone, quotes, inside).any():
            raise NotSplittable(_LONE_RETURN)


def _lookup(members: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(members)] = True
    return table


def _outside(positions: Offsets, quotes: Offsets, inside: bool) -> NDArray[np.bool_]:
    parity: NDArray[Any] = np.searchsorted(quotes, positions) & 1
    return parity == int(inside)


def csv_scanner(delimiter: bytes, start: int = 0) -> RowScanner:
    return RowScanner(b" \t".replace(delimiter, b""), delimiter, start)


def jsonl_scanner(start: int = 0) -> RowScanner:
    return RowScanner(b" \t\x0b\x0c", None, start)


def sniff_delimiter(head: bytes) -> bytes:
    """The delimiter of a CSV file, by its first record: the most frequent of `,` `;` tab `|` outside of quotes."""
    text = head.removeprefix(UTF8_BOM)

    def count(delimiter: bytes) -> int:
        scanner = csv_scanner(delimiter)
        try:
            ends = scanner.feed(text)
        except NotSplittable:
            return 0
        header = text[: ends[0]] if ends.size else text
        return _QUOTED.sub(b"", header).count(delimiter)

    return max(DELIMITERS, key=count)
