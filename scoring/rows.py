"""What run() gave back, turned into the bytes of the output file.

Each mini-batch is encoded on its own, in the scoring process, so that collecting the output is mostly joining bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import pandas as pd

from .encoded import AZUREML, CSV, JSONL, PARQUET, Chunk, realign
from .errors import MiniBatchFailed

PREDICTION = "prediction"
_SCALARS = {str, int, float, bool, type(None)}


def check(result: Any) -> Any:
    """Refuse what is not a DataFrame, list, tuple or array of at least one dimension.

    Source of the rule: the scoring script contract of Azure ML batch deployments.
    Raises MiniBatchFailed naming the type.
    """
    array = isinstance(result, np.ndarray) and cast("np.ndarray[Any, Any]", result).ndim > 0
    if array or isinstance(result, (pd.DataFrame, list, tuple)):
        return cast("Any", result)
    kind = type(cast("object", result))
    raise MiniBatchFailed(
        f"run() returned {kind.__name__}: return a pandas DataFrame, a list, a tuple or an array "
        "with one element for each file that was scored",
        error_type="TypeError",
    )


def as_frame(result: Any) -> pd.DataFrame:
    """A checked result as a table: DataFrame as it is; dicts become columns; anything else a column `prediction`."""
    if isinstance(result, pd.DataFrame):
        return result
    if isinstance(result, np.ndarray):
        return _array_as_frame(cast("np.ndarray[Any, Any]", result))
    elements: list[Any] = list(result)
    if elements and all(isinstance(element, dict) for element in elements):
        return pd.DataFrame.from_records(elements)
    if elements and all(isinstance(element, pd.Series) for element in elements):
        return pd.DataFrame(elements)
    return pd.DataFrame({PREDICTION: pd.Series([cell(element) for element in elements], dtype="object")})


def _array_as_frame(array: np.ndarray[Any, Any]) -> pd.DataFrame:
    flat: np.ndarray[Any, Any] = array.reshape(len(array), math.prod(array.shape[1:]))
    if flat.shape[1] == 1:
        return pd.DataFrame({PREDICTION: flat[:, 0]})
    return pd.DataFrame(flat, columns=[f"prediction_{i}" for i in range(flat.shape[1])])


def cell(element: Any) -> Any:
    """A list element as one cell: containers as JSON, scalars as they are."""
    if isinstance(element, (dict, list, tuple, np.ndarray)):
        return json.dumps(_plain(element), ensure_ascii=False)
    return element


def encode(result: Any, output_format: str, separator: str = " ") -> Chunk:
    """Encode a checked result.

    Args:
        result: DataFrame, list, tuple or array; rows keep their order, an index is not written.
        output_format: csv, parquet, jsonl or azureml.
        separator: between columns in the azureml format: a space for scoring scripts, a comma for MLflow models,
            as Azure ML writes them.
    """
    if output_format == AZUREML:
        return _azureml(result, separator)
    if output_format == CSV and isinstance(result, (list, tuple)):
        elements: list[Any] = list(cast("Iterable[Any]", result))
        if elements and _SCALARS.issuperset(map(type, elements)):
            return Chunk(_column(elements), len(elements), [PREDICTION])
    frame = as_frame(result)
    columns = _unique(str(column) for column in frame.columns)
    frame = frame.set_axis(columns, axis=1)  # a new frame: the script may keep this one
    if output_format == CSV:
        return Chunk(_csv(frame), len(frame), columns)
    if output_format == JSONL:
        lines = [json.dumps(_plain(record), ensure_ascii=False) + "\n" for record in frame.to_dict(orient="records")]
        return Chunk(_bytes("".join(lines)), len(frame), None)
    if output_format == PARQUET:
        return Chunk(_parquet(frame), len(frame), columns)
    raise ValueError(f"unknown output format {output_format!r}")


def _unique(names: Iterable[str]) -> list[str]:
    """Column names of which none stands twice, as pandas tells them apart when it reads them: a, a.1."""
    unique: dict[str, None] = {}
    for name in names:
        candidate, count = name, 0
        while candidate in unique:
            count += 1
            candidate = f"{name}.{count}"
        unique[candidate] = None
    return list(unique)


def _csv(frame: pd.DataFrame) -> bytes:
    text = frame.to_csv(index=False, header=False)
    if "\r" not in text:
        return _bytes(text)
    # The csv module leaves a lone carriage return unquoted, which every reader takes for the end of the row. Quoted are
    # only the rows that have one: how a row is written must not depend on what else its mini-batch holds.
    text = frame.to_csv(index=False, header=False, quoting=csv.QUOTE_ALL)
    return realign(_bytes(text), list(frame.columns), list(frame.columns))


def _column(elements: list[Any]) -> bytes:
    """What _csv() makes of one column of plain scalars, in a tenth of the time: mini-batches may be small and many."""
    text = io.StringIO()
    cells = (("" if element is None or element != element else element,) for element in elements)
    csv.writer(text, lineterminator=os.linesep).writerows(cells)
    return _bytes(text.getvalue()) if "\r" not in text.getvalue() else _csv(as_frame(elements))


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def printable(name: str) -> str:
    """A file name as Unicode; bytes of it that are none (PEP 383) as escapes."""
    return _bytes(name).decode()


def _azureml(result: Any, separator: str) -> Chunk:
    if isinstance(result, pd.DataFrame):
        text = result.to_csv(index=False, header=False, sep=separator)
        return Chunk(_bytes(text), len(result), None)
    # str() of a long row of an array leaves its middle out.
    elements = (element.tolist() if isinstance(element, np.ndarray) else element for element in result)
    return Chunk(_bytes("".join(f"{element}\n" for element in elements)), len(result), None)


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

    pa: Any = pyarrow
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of one column that have no type in common
        table = pa.table({name: _arrow_column(column, pa) for name, column in frame.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _arrow_column(column: pd.Series[Any], pa: Any) -> Any:
    try:
        return pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        plain = (_plain(value) for value in column)
        texts = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in plain]
        return pa.array(texts, pa.string())


def _plain(value: Any) -> Any:
    """A value that JSON can hold: numpy scalars unwrapped, missing and infinite numbers null, times as ISO 8601."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return _plain(list(array) if array.dtype.kind in "mM" else array.tolist())
    if isinstance(value, np.datetime64):  # its item() is a bare number of nanoseconds
        return _plain(pd.Timestamp(cast("Any", value)))
    if isinstance(value, np.timedelta64):
        return _plain(pd.Timedelta(cast("Any", value)))
    if isinstance(value, np.generic):
        value = cast("Any", value.item())  # pyright: ignore[reportUnknownMemberType]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, bool, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
