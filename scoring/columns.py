"""The join: what stands beside the prediction in each row of the output.

From left to right: the row's number within its file, input columns, the prediction, the file. What is added gives way
to a name that is there already, by an underscore behind its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow  # pyright: ignore[reportMissingTypeStubs]

from . import rows, table_files
from .endings import TABLES
from .errors import MiniBatchFailed, Unreadable
from .items import LocalItem
from .table_files import Columns, kind_of

pa: Any = pyarrow


@dataclass(frozen=True)
class OutputColumns:
    """`output_columns` of the settings; the default is the layout of MLflow models."""

    input: Columns = field(default_factory=list[str])
    prediction: str | None = None
    file: bool = True
    row: bool = True

    @property
    def joins(self) -> bool:
        """Whether anything at all stands beside the prediction."""
        return bool(self.input) or self.file or self.row

    @property
    def named(self) -> list[str]:
        """Input columns that are asked for by name: what is no table lacks them, and has all of its none."""
        return self.input if isinstance(self.input, list) else []


@dataclass
class Origin:
    """Where the rows of a prediction come from, for each of them."""

    file: Any
    """What the file is called in the output: one text, or an array of them."""
    numbers: Any = None
    """Their numbers within the file, where it has rows."""
    carried: pd.DataFrame | None = None


def file_label(item: LocalItem, output_format: str) -> str:
    """What an item's file is called in the output: its base name in Azure ML's layout, else its path in the input."""
    return rows.printable(Path(item.file).name if output_format == rows.AZUREML else item.file)


def lay_out(prediction: pd.DataFrame, asked: OutputColumns, origin: Origin | None, output_format: str) -> pd.DataFrame:
    """The rows of the output, of a prediction of as many rows as its origin has."""
    frame = prediction.reset_index(drop=True)
    frame.columns = _named([str(column) for column in frame.columns], asked.prediction)
    if origin is None:
        return frame
    taken = set(frame.columns)
    before: list[pd.Series[Any]] = []
    if origin.carried is not None:
        before = [_carried(column, str(name), taken, output_format) for name, column in origin.carried.items()]
    if asked.row and origin.numbers is not None:
        before.insert(0, pd.Series(origin.numbers, name=_free("row", taken)))
    if before:
        frame = pd.concat([*before, frame], axis="columns")
    if asked.file:
        frame[_free("file_name", taken)] = origin.file
    return frame


def _named(columns: list[str], name: str | None) -> list[str]:
    if name is None:
        return columns
    if len(columns) == 1:
        return [name]
    return [f"{name}_{column.removeprefix('prediction_')}" for column in columns]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _carried(column: pd.Series[Any], name: str, taken: set[str], output_format: str) -> pd.Series[Any]:
    column = column.reset_index(drop=True).rename(_free(name, taken))
    kind: Any = column.dtype
    arrow: Any = getattr(kind, "pyarrow_dtype", None)
    nested = kind == "object" or (arrow is not None and pa.types.is_nested(arrow))
    if nested and output_format in (rows.CSV, rows.AZUREML):  # lists and mappings as JSON
        values = [rows.cell(value) for value in column.to_list()]
        return pd.Series(values, name=column.name, dtype="object")
    return column


def join_script(result: Any, items: list[LocalItem], asked: OutputColumns, output_format: str) -> pd.DataFrame:
    """What run() returned, with what is asked for beside it.

    Its rows are known where there is one for each row of the mini-batch's tables, or one for each file. Raises
    MiniBatchFailed for any other number, unless only the prediction's name is asked for.
    """
    prediction = rows.as_frame(result)
    if not asked.joins:
        return lay_out(prediction, asked, None, output_format)
    tables = _tables(items, asked)
    if tables is not None and len(prediction) == sum(map(len, tables)):
        return lay_out(prediction, asked, _row_by_row(items, tables, output_format), output_format)
    by_file = not asked.input or tables is None
    if by_file and len(prediction) == len(items):
        labels = [file_label(item, output_format) for item in items]
        return lay_out(prediction, asked, Origin(np.array(labels, dtype=object)), output_format)
    of_rows = f" with {sum(map(len, tables))} rows in all" if tables is not None else ""
    ways = "for each input row" if tables is not None else "for each file"
    ways += " or for each file" if tables is not None and by_file else ""
    raise MiniBatchFailed(
        f"run() returned {len(prediction)} rows for {len(items)} files{of_rows}: for output_columns it must return one "
        f"{ways}; or set output_columns to {{input: none, file: false, row: false}}"
    )


def _tables(items: list[LocalItem], asked: OutputColumns) -> list[pd.DataFrame] | None:
    """The asked columns of each item; None when there are no rows to tell apart: one is not a table we can read."""
    tables: list[pd.DataFrame] = []
    for item in items:
        try:
            if kind_of(item.path) not in TABLES:
                raise Unreadable(f"not a table with a column {', '.join(map(repr, asked.named))}")
            tables.append(table_files.read_columns(item.path, asked.input))
        except Exception as error:
            if asked.named or (asked.input and not isinstance(error, Unreadable)):
                raise MiniBatchFailed(f"output_columns: {item.name}: {error}", type(error).__name__) from error
            return None
    return tables


def _row_by_row(items: list[LocalItem], tables: list[pd.DataFrame], output_format: str) -> Origin:
    counts = [len(table) for table in tables]
    labels = np.array([file_label(item, output_format) for item in items], dtype=object)
    numbers = [np.arange(item.first_row, item.first_row + n) for item, n in zip(items, counts, strict=True)]
    return Origin(np.repeat(labels, counts), np.concatenate(numbers), pd.concat(tables, ignore_index=True))
