"""How names of table files end, by kind; in lower case, though names may be in any."""

from __future__ import annotations

from pathlib import PurePosixPath

CSV = {".csv", ".tsv"}
JSON_LINES = {".jsonl", ".ndjson"}
PARQUET = {".parquet", ".pqt"}
ARROW = {".arrow", ".feather", ".ipc"}
TEXT = CSV | JSON_LINES
COLUMNAR = PARQUET | ARROW
TABLES = TEXT | COLUMNAR


def ending(name: str) -> str:
    """The last ending of a name: `.gz` of `x.csv.GZ`, "" of a name without one."""
    return PurePosixPath(name).suffix.lower()
