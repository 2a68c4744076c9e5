"""Encoded rows, as a scoring process gives them and the output is made of them. Knows no pandas: the workers and the
flow, which only pass them on, start half a second sooner."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

# By default the csv module refuses fields above 128 KB; an embedding or a document is longer.
_FIELD_LIMIT = 2**31 - 1
CSV, PARQUET, JSONL, AZUREML = "csv", "parquet", "jsonl", "azureml"


@dataclass
class Chunk:
    """The encoded rows of one mini-batch: `rows` rows of `columns` (None for a format without columns)."""

    data: bytes
    rows: int
    columns: list[str] | None


def header(columns: list[str]) -> bytes:
    """The first line of a CSV file with these columns."""
    return _lines([columns])


def realign(data: bytes, columns: list[str], wanted: list[str]) -> bytes:
    """Encoded CSV rows of `columns` as rows of `wanted`; a column they lack stays empty."""
    csv.field_size_limit(_FIELD_LIMIT)
    where = [columns.index(column) if column in columns else None for column in wanted]
    rows = csv.reader(io.StringIO(data.decode(), newline=""))
    return _lines(["" if i is None else row[i] for i in where] for row in rows)


def _lines(rows: Iterable[list[str]]) -> bytes:
    stream = io.StringIO()
    plain = csv.writer(stream, lineterminator="\n")
    quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        (quoting if any("\r" in field for field in row) else plain).writerow(row)
    return stream.getvalue().encode()
