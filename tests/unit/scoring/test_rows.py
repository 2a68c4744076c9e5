"""Results of run() as bytes of each output format."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prefect_batch.scoring import encoded, rows
from prefect_batch.scoring.errors import MiniBatchFailed

FRAME = pd.DataFrame({"file": ["a.csv", "b, c.csv"], "score": [0.5, float("nan")], "n": [1, 2]})


def text(result: Any, output_format: str, separator: str = " ") -> str:
    return rows.encode(result, output_format, separator).data.decode()


def records(result: Any) -> list[Any]:
    return [json.loads(line) for line in text(result, rows.JSONL).splitlines()]


@pytest.mark.parametrize("result", [FRAME, [], (), ["a"], np.zeros(2), np.zeros((2, 3)), pd.DataFrame()])
def test_what_run_may_return(result: Any) -> None:
    assert rows.check(result) is result


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (None, "NoneType"),
        ((i for i in range(3)), "generator"),
        (1.5, "float"),
        (np.float64(1.5), "float64"),
        (np.array(1.5), "ndarray"),
        ("abc", "str"),
        ({"a": 1}, "dict"),
        (pd.Series([1]), "Series"),
        (map(str, []), "map"),
    ],
)
def test_what_run_may_not_return_is_named_by_its_type(result: Any, name: str) -> None:
    with pytest.raises(MiniBatchFailed, match=rf"^run\(\) returned {name}: return a pandas DataFrame, a list, a tuple"):
        rows.check(result)


@pytest.mark.parametrize(
    ("result", "columns", "lines"),
    [
        (FRAME, ["file", "score", "n"], ["a.csv,0.5,1", '"b, c.csv",,2']),
        (["x", "y"], ["prediction"], ["x", "y"]),
        ((1, 2.5), ["prediction"], ["1", "2.5"]),
        ([1, None], ["prediction"], ["1", '""']),
        ([{"a": 1, "b": "x"}, {"a": 2}], ["a", "b"], ["1,x", "2,"]),
        ([[1, 2], (3,), np.array([4.5])], ["prediction"], ['"[1, 2]"', "[3]", "[4.5]"]),
        ([{"a": 1}, "x"], ["prediction"], ['"{""a"": 1}"', "x"]),
        ([pd.Series({"a": 1, "b": 2}), pd.Series({"a": 3, "b": 4})], ["a", "b"], ["1,2", "3,4"]),
        (np.array([1, 2]), ["prediction"], ["1", "2"]),
        (np.array([[1], [2]]), ["prediction"], ["1", "2"]),
        (np.array([[1, 2], [3, 4]]), ["prediction_0", "prediction_1"], ["1,2", "3,4"]),
        (np.zeros((1, 2, 2), dtype=int), [f"prediction_{i}" for i in range(4)], ["0,0,0,0"]),
        (pd.DataFrame([[1, 2]]), ["0", "1"], ["1,2"]),
        (pd.DataFrame({"a": [1]}, index=["index is not written"]), ["a"], ["1"]),
    ],
)
def test_csv(result: Any, columns: list[str], lines: list[str]) -> None:
    chunk = rows.encode(rows.check(result), rows.CSV)
    assert chunk.columns == columns
    assert chunk.data.decode().splitlines() == lines
    assert chunk.rows == len(lines)


@pytest.mark.parametrize(
    "value", ['say "no"', "a,b", "two\nlines", "carriage\rreturn", "\r\n", "", " ", "snow ☃ 雪", "'", "#"]
)
def test_csv_is_read_back_as_it_was(value: str) -> None:
    chunk = rows.encode(pd.DataFrame({"one": [value, "x"], "zwei, drei": [value, value], "n": [1, 2]}), rows.CSV)
    data = encoded.header(chunk.columns or []) + chunk.data
    read = pd.read_csv(io.BytesIO(data), keep_default_na=False)
    assert list(read.columns) == ["one", "zwei, drei", "n"]
    assert read["one"].tolist() == [value, "x"]
    assert read["zwei, drei"].tolist() == [value, value]
    assert list(csv.reader(io.StringIO(data.decode(), newline="")))[1:] == [[value, value, "1"], ["x", value, "2"]]


def test_a_name_that_is_not_unicode_is_escaped() -> None:
    assert text(["caf\udce9.csv"], rows.CSV) == "caf\\udce9.csv\n"
    assert text(["caf\udce9.csv"], rows.AZUREML) == "caf\\udce9.csv\n"
    assert text(["caf\udce9.csv"], rows.JSONL) == '{"prediction": "caf\\udce9.csv"}\n'
    assert rows.printable("caf\udce9 ☃.csv") == "caf\\udce9 ☃.csv"


def test_jsonl_holds_only_what_json_knows() -> None:
    frame = pd.DataFrame(
        {
            "nan": [float("nan"), float("inf")],
            "none": [None, "x"],
            "when": pd.to_datetime(["2024-01-02T03:04:05", None]),
            "list": [[1, np.float32(0.5)], {"a": np.nan}],
            "flag": [True, False],
            "text": ["雪", "a\nb"],
        }
    )
    assert records(frame) == [
        {"nan": None, "none": None, "when": "2024-01-02T03:04:05", "list": [1, 0.5], "flag": True, "text": "雪"},
        {"nan": None, "none": "x", "when": None, "list": {"a": None}, "flag": False, "text": "a\nb"},
    ]
    assert "雪" in text(frame, rows.JSONL)


def test_jsonl_of_odd_scalars() -> None:
    values = [np.int64(3), pd.NA, pd.NaT, np.bool_(True), datetime.date(2024, 1, 2), decimal.Decimal("1.50"), 10**30]
    assert [row["prediction"] for row in records(values)] == [3, None, None, True, "2024-01-02", "1.50", 10**30]
    times = np.array(["2024-01-02T03:04:05", "NaT"], dtype="datetime64[ns]")
    assert records([{"times": times, "first": times[0]}]) == [
        {"times": ["2024-01-02T03:04:05", None], "first": "2024-01-02T03:04:05"}
    ]


def test_parquet() -> None:
    frame = FRAME.assign(text=["雪", None], lists=[[1, 2], []])
    chunk = rows.encode(frame, rows.PARQUET)
    table = pa.ipc.open_stream(chunk.data).read_all()
    assert table.column_names == ["file", "score", "n", "text", "lists"] == chunk.columns
    assert table.to_pylist()[0] == {"file": "a.csv", "score": 0.5, "n": 1, "text": "雪", "lists": [1, 2]}
    assert table.schema.metadata is None  # nothing of pandas, which would differ with the mini-batch


def test_parquet_of_values_without_a_common_type_is_text() -> None:
    frame = pd.DataFrame({"a": pd.Series([1, "x", None, [1, 2]], dtype=object), "b": [1, 2, 3, 4]})
    table = pa.ipc.open_stream(rows.encode(frame, rows.PARQUET).data).read_all()
    assert table.to_pydict() == {"a": ["1", "x", None, "[1, 2]"], "b": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("result", "separator", "said"),
    [
        (FRAME, " ", 'a.csv 0.5 1\n"b, c.csv"  2\n'),
        (FRAME, ",", 'a.csv,0.5,1\n"b, c.csv",,2\n'),
        (["a: 1", [1, 2], ("x", 3), {"a": 1}], " ", "a: 1\n[1, 2]\n('x', 3)\n{'a': 1}\n"),
        (np.array([1.5, 2]), " ", "1.5\n2.0\n"),
        (np.array([[1, 2], [3, 4]]), " ", "[1, 2]\n[3, 4]\n"),
    ],
)
def test_azureml(result: Any, separator: str, said: str) -> None:
    chunk = rows.encode(result, rows.AZUREML, separator)
    assert chunk.data.decode() == said
    assert chunk.columns is None
    assert chunk.rows == len(result)


def test_azureml_keeps_all_of_a_long_row() -> None:
    (line,) = text(np.arange(5_000).reshape(1, -1), rows.AZUREML).splitlines()
    assert json.loads(line) == list(range(5_000))


@pytest.mark.parametrize("output_format", [rows.CSV, rows.JSONL, rows.PARQUET, rows.AZUREML])
@pytest.mark.parametrize("result", [[], pd.DataFrame(), pd.DataFrame({"a": []}), np.zeros((0, 3))])
def test_nothing(result: Any, output_format: str) -> None:
    assert rows.encode(result, output_format).rows == 0


@pytest.mark.parametrize("output_format", [rows.CSV, rows.JSONL, rows.PARQUET, rows.AZUREML])
def test_the_scripts_own_frame_is_left_alone(output_format: str) -> None:
    frame = pd.DataFrame([[1, 2]])
    rows.encode(frame, output_format)
    assert list(frame.columns) == [0, 1]


@pytest.mark.parametrize("output_format", [rows.CSV, rows.JSONL, rows.PARQUET])
def test_columns_of_one_name_are_told_apart(output_format: str) -> None:
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=["a", "a", "a.1", 0])
    chunk = rows.encode(frame, output_format)
    names = ["a", "a.1", "a.1.1", "0"]
    if output_format == rows.JSONL:
        assert json.loads(chunk.data) == dict(zip(names, [1, 2, 3, 4], strict=True))
    else:
        assert chunk.columns == names


def test_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="xml"):
        rows.encode([1], "xml")


def test_realign_moves_columns_by_name() -> None:
    frame = pd.DataFrame({"b": ['x "y"', "two\nlines"], "a": ["1", "snow ☃"], "c": ["\r", ""]})
    chunk = rows.encode(frame, rows.CSV)
    wanted = ["a", "extra", "c", "b"]
    moved = encoded.header(wanted) + encoded.realign(chunk.data, chunk.columns or [], wanted)
    read = pd.read_csv(io.BytesIO(moved), keep_default_na=False, dtype=str)
    assert list(read.columns) == wanted
    assert read[["b", "a", "c"]].equals(frame.astype(str))
    assert read["extra"].tolist() == ["", ""]


def test_realign_of_a_single_empty_cell_keeps_the_row() -> None:
    chunk = rows.encode([None, "x"], rows.CSV)
    assert encoded.realign(chunk.data, ["prediction"], ["prediction"]) == b'""\nx\n'
    assert encoded.realign(chunk.data, ["prediction"], ["other", "prediction"]) == b",\n,x\n"


def test_realign_of_a_field_above_the_csv_modules_limit() -> None:
    long = "x" * 200_000
    chunk = rows.encode(pd.DataFrame({"a": [long]}), rows.CSV)
    assert encoded.realign(chunk.data, ["a"], ["b", "a"]) == f",{long}\n".encode()


def test_a_row_is_written_the_same_whatever_else_its_mini_batch_holds() -> None:
    frame = pd.DataFrame(
        {
            "text": ["plain", "carriage\rreturn", "", "a,b", None],
            "n": [1, 2, 3, 4, 5],
            "x": [0.1, 1e20, np.nan, 1e-9, 3.0],
            "f": np.array([0.1, 2, 3, 4, 5], np.float32),
            "day": pd.date_range("2024-01-01", periods=5),
            "yes": [True, False, None, True, False],
        }
    )
    whole = text(frame, rows.CSV)
    assert whole == "".join(text(frame.iloc[at : at + 1], rows.CSV) for at in range(5))
    assert whole.splitlines(keepends=True)[0] == "plain,1,0.1,0.1,2024-01-01,True\n"
    read = pd.read_csv(io.StringIO(whole, newline=""), header=None)
    assert list(read[0].fillna("")) == ["plain", "carriage\rreturn", "", "a,b", ""]
    assert list(read[1]) == [1, 2, 3, 4, 5]


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), min_size=1))
@example(["", None, float("nan"), 'a "b", c', "two\nlines", "a\rb", "\ud800", -0.0, 1e22, 2**70, True])
def test_scalars_are_written_as_pandas_writes_them(elements: list[Any]) -> None:
    frame = pd.DataFrame({"prediction": pd.Series(elements, dtype="object")})
    chunk = rows.encode(elements, rows.CSV)
    assert chunk == rows.encode(frame, rows.CSV)
