"""Input files for MLflow models, read and brought to the types that the model's signature asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import Unreadable

TABLES = {".csv", ".parquet", ".pqt"}
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


def read_table(path: str, columns: dict[str, tuple[str, bool]] | None) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Args:
        path: a local file.
        columns: the signature: MLflow type name and whether the column is required, by column name, in order.
            None for a model without a column signature: types are what pandas finds.

    Raises Unreadable naming the column, the first bad row (counted from 0) and what the signature wants.
    """
    text = {name for name, (kind, _) in (columns or {}).items() if kind == "string"}
    if Path(path).suffix.lower() == ".csv":
        frame = pd.read_csv(path, dtype=dict.fromkeys(text, "object"))
    else:
        frame = pd.read_parquet(path)
    if columns is None:
        return frame
    missing = [name for name, (_, required) in columns.items() if required and name not in frame.columns]
    if missing:
        raise Unreadable(f"column {', '.join(map(repr, missing))} of the model's signature is not in the file")
    return pd.DataFrame(
        {name: _cast(frame[name], name, kind) for name, (kind, _) in columns.items() if name in frame.columns}
    )


def _cast(column: pd.Series[Any], name: str, kind: str) -> pd.Series[Any]:
    target = _TYPES.get(kind)
    if target is None or str(column.dtype) == target:  # arrays, objects, maps and bytes pass as they are
        return column
    if target == "string":
        return column.where(column.isna(), column.astype(str)).astype("object")
    if target == "datetime":
        return _convert(column, name, kind, pd.to_datetime)
    if target == "bool":
        return _boolean(column, name)
    numbers: pd.Series[Any] = _convert(column, name, kind, pd.to_numeric)
    if target.startswith("int"):
        _check_whole(numbers, name, kind, target)
    return numbers.astype(target)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]


def _convert(column: pd.Series[Any], name: str, kind: str, convert: Callable[..., Any]) -> pd.Series[Any]:
    converted = convert(column, errors="coerce")
    _refuse(column, converted.isna() & column.notna(), name, kind)
    return converted


def _boolean(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    words = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    converted = column.astype(str).str.lower().map(words)
    _refuse(column, converted.isna(), name, "boolean")
    return converted.astype(bool)


def _check_whole(numbers: pd.Series[Any], name: str, kind: str, target: str) -> None:
    limits = np.iinfo(target)
    _refuse(numbers, numbers.isna(), name, kind)
    if numbers.dtype.kind == "f":
        _refuse(numbers, numbers % 1 != 0, name, kind)
    _refuse(numbers, (numbers < limits.min) | (numbers > limits.max), name, kind)


def _refuse(column: pd.Series[Any], bad: pd.Series[Any], name: str, kind: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        value: Any = column.iloc[row : row + 1].tolist()[0]  # as Python's own 1.5, not np.float64(1.5)
        shown = "a missing value" if pd.isna(value) else repr(value)
        raise Unreadable(f"column {name!r}, row {row}: {shown} does not fit the model's signature, which says {kind}")


def read_image(path: str) -> np.ndarray[Any, Any]:
    """An image file as an array: height x width, or height x width x channels; uint8 for common formats."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode in ("P", "PA"):  # a palette's numbers mean nothing without the palette
            return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
        return np.asarray(image)
