"""What run() gave back, turned into the bytes of the output file.

Each mini-batch is encoded on its own, in the scoring process, so that collecting the output is mostly joining bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .errors import MiniBatchFailed

CSV, PARQUET, JSONL, AZUREML = "csv", "parquet", "jsonl", "azureml"


@dataclass
class Chunk:
    """The encoded rows of one mini-batch: `rows` rows of `columns` (None for a format without columns)."""

    data: bytes
    rows: int
    columns: list[str] | None


def check(result: Any) -> Any:
    """Refuse what is not a DataFrame, list, tuple or array of at least one dimension.

    Source of the rule: the scoring script contract of Azure ML batch deployments.
    Raises MiniBatchFailed naming the type.
    """
    if isinstance(result, (pd.DataFrame, list, tuple)) or (isinstance(result, np.ndarray) and result.ndim > 0):
        return result  # pyright: ignore[reportUnknownVariableType]
    raise MiniBatchFailed(
        f"run() returned {type(result).__name__}: return a pandas DataFrame, a list, a tuple or an array "
        "with one element for each file that was scored",
        error_type="TypeError",
    )


def as_frame(result: Any) -> pd.DataFrame:
    """A checked result as a table: DataFrame as it is; dicts become columns; anything else a column `prediction`."""
    if isinstance(result, pd.DataFrame):
        return result
    if isinstance(result, np.ndarray):
        if result.ndim == 1:
            return pd.DataFrame({"prediction": result})
        flat = result.reshape(len(result), math.prod(result.shape[1:]))
        if flat.shape[1] == 1:
            return pd.DataFrame({"prediction": flat[:, 0]})
        return pd.DataFrame(flat, columns=[f"prediction_{i}" for i in range(flat.shape[1])])
    elements: list[Any] = list(result)
    if elements and all(isinstance(element, dict) for element in elements):
        return pd.DataFrame.from_records(elements)
    if elements and all(isinstance(element, pd.Series) for element in elements):
        return pd.DataFrame(elements)
    return pd.DataFrame({"prediction": pd.Series([_cell(element) for element in elements], dtype="object")})


def _cell(element: Any) -> Any:
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
    frame = as_frame(result)
    frame.columns = [str(column) for column in frame.columns]
    columns = list(frame.columns)
    if output_format == CSV:
        text = frame.to_csv(index=False, header=False, lineterminator="\n")
        return Chunk(text.encode(), len(frame), columns)
    if output_format == JSONL:
        lines = [json.dumps(_plain(record), ensure_ascii=False) + "\n" for record in frame.to_dict(orient="records")]
        return Chunk("".join(lines).encode(), len(frame), None)
    if output_format == PARQUET:
        return Chunk(_parquet(frame), len(frame), columns)
    raise ValueError(f"unknown output format {output_format!r}")


def header(columns: list[str]) -> bytes:
    """The first line of a CSV file with these columns."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(columns)
    return stream.getvalue().encode()


def realign(data: bytes, columns: list[str], wanted: list[str]) -> bytes:
    """Encoded CSV rows of `columns` as rows of `wanted`; a column they lack stays empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    where = [columns.index(column) if column in columns else None for column in wanted]
    for row in csv.reader(io.StringIO(data.decode(), newline="")):
        writer.writerow(["" if i is None else row[i] for i in where])
    return stream.getvalue().encode()


def _azureml(result: Any, separator: str) -> Chunk:
    if isinstance(result, pd.DataFrame):
        text = result.to_csv(index=False, header=False, sep=separator, lineterminator="\n")
        return Chunk(text.encode(), len(result), None)
    return Chunk("".join(f"{element}\n" for element in result).encode(), len(result), None)


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _plain(value: Any) -> Any:
    """A value that JSON can hold: numpy scalars unwrapped, missing and infinite numbers null, times as ISO 8601."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, bool, int)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
