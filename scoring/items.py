"""What a mini-batch is made of: files, or pieces of files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of whole rows of one file that can be read without the rest of it.

    Bytes [start, end) of a text file (CSV, JSON Lines), rows [start, end) of a columnar one (Parquet, Arrow).
    """

    start: int
    end: int
    first_row: int
    """Number of its first row within the file, from 0; a header is no row."""
    rows: int
    header: int = 0
    """Bytes [0, header) of a CSV file, its header, go in front of the piece."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the input, or a piece of one, as the plan names it."""

    name: str
    """Path relative to the input, unique in the job; with several sources the source's own name stands in front."""
    path: str
    """Path relative to its source."""
    source: int = 0
    size: int | None = None
    """Bytes of the file, or about as many as the piece has; None where the storage does not say."""
    piece: Piece | None = None
    file_size: int | None = None
    """Bytes of the whole file that a piece is of, when that was planned."""

    @property
    def label(self) -> str:
        """What it is called in errors: `big.csv`, or `big.csv rows 5000-9999` for a piece."""
        if self.piece is None:
            return self.name
        return f"{self.name} rows {self.piece.first_row}-{self.piece.first_row + self.piece.rows - 1}"


@dataclass
class MiniBatch:
    """What one call of run() gets, as planned; `number` counts from 0 over the job."""

    number: int
    items: list[Item]


@dataclass(frozen=True, slots=True)
class LocalItem:
    """An item as a scoring process sees it: a file on its machine."""

    path: str
    """Absolute."""
    name: str
    """What it is called in errors."""
    file: str
    """The file of the input that it is, or is a piece of; what it is called in outputs."""
    first_row: int = 0
    """Number within that file of its first row."""
