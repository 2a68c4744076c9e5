"""Input files for MLflow models, read and brought to the types that the model's signature asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import table_files
from .errors import Unreadable
from .table_files import Columns, Table

IMAGES = {".png", ".jpg", ".jpeg", ".tiff", ".tif", ".bmp", ".gif"}
_TYPES: dict[str, str] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "string": "string",
    "datetime": "datetime",
}


def read_table(
    path: str, columns: dict[str, tuple[str, bool]] | None, carry: Columns | None = None, first_row: int = 0
) -> Iterator[Table]:
    """Read a table file: one chunk, or several of a long compressed one.

    Args:
        path: a local file.
        columns: the signature: MLflow type name and whether the column is required, by column name, in order.
            None for a model without a column signature: types are what pandas finds, in each chunk.
        carry: columns wanted beside those of the signature, as they are written in the file.
        first_row: number of the file's first row, for a piece of a larger file.

    Raises Unreadable naming the column, the first bad row (counted from 0) and what the signature wants.
    """
    text = {name for name, (kind, _) in (columns or {}).items() if kind == "string"}
    for chunk in table_files.read_chunks(path, text, carry or []):
        chunk.first_row += first_row
        if columns is not None:
            chunk.data = _conform(chunk.data, columns, chunk.first_row)
        yield chunk


def _conform(frame: pd.DataFrame, columns: dict[str, tuple[str, bool]], first_row: int) -> pd.DataFrame:
    if not len(frame.columns) and not len(frame):  # JSON Lines without a line: no header either
        return pd.DataFrame(columns=list(columns))
    missing = [name for name, (_, required) in columns.items() if required and name not in frame.columns]
    if missing:
        raise Unreadable(f"column {', '.join(map(repr, missing))} of the model's signature is not in the file")
    return pd.DataFrame(
        {
            name: _Cast(name, kind, first_row)(frame[name])
            for name, (kind, _) in columns.items()
            if name in frame.columns
        }
    )


@dataclass
class _Cast:
    """Brings the column `name` to MLflow's type `kind`; rows count from `first_row`."""

    name: str
    kind: str
    first_row: int

    def __call__(self, column: pd.Series[Any]) -> pd.Series[Any]:
        target = _TYPES.get(self.kind)
        if target is None or str(column.dtype) == target:  # arrays, objects, maps and bytes pass as they are
            return column
        if target == "string":
            return column.where(column.isna(), column.astype(str)).astype("object")
        if target == "datetime":
            return self._convert(column, pd.to_datetime)
        if target == "bool":
            return self._boolean(column)
        numbers: pd.Series[Any] = self._convert(column, pd.to_numeric)
        if target.startswith("int"):
            self._check_whole(numbers, target)
        return numbers.astype(target)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]

    def _convert(self, column: pd.Series[Any], convert: Callable[..., Any]) -> pd.Series[Any]:
        converted = convert(column, errors="coerce")
        self._refuse(column, converted.isna() & column.notna())
        return converted

    def _boolean(self, column: pd.Series[Any]) -> pd.Series[Any]:
        words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        converted = column.astype(str).str.lower().map(words)
        self._refuse(column, converted.isna())
        return converted.astype(bool)

    def _check_whole(self, numbers: pd.Series[Any], target: str) -> None:
        limits = np.iinfo(target)
        self._refuse(numbers, numbers.isna())
        if numbers.dtype.kind == "f":
            self._refuse(numbers, numbers % 1 != 0)
        self._refuse(numbers, (numbers < limits.min) | (numbers > limits.max))

    def _refuse(self, column: pd.Series[Any], bad: pd.Series[Any]) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            value: Any = column.iloc[row : row + 1].tolist()[0]  # as Python's own 1.5, not np.float64(1.5)
            shown = "a missing value" if pd.isna(value) else repr(value)
            raise Unreadable(
                f"column {self.name!r}, row {self.first_row + row}: {shown} does not fit the model's signature, "
                f"which says {self.kind}"
            )


def read_image(path: str) -> np.ndarray[Any, Any]:
    """An image file as an array: height x width, or height x width x channels; uint8 for common formats."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode in ("P", "PA"):  # a palette's numbers mean nothing without the palette
            return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        return np.asarray(image)
