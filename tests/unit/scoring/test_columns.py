"""The join: input columns, the row and the file beside the prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from prefect_batch.scoring import rows
from prefect_batch.scoring.columns import Origin, OutputColumns, file_label, join_script, lay_out
from prefect_batch.scoring.errors import MiniBatchFailed
from prefect_batch.scoring.items import LocalItem

FORMATS = [rows.CSV, rows.JSONL, rows.PARQUET, rows.AZUREML]


def records(frame: pd.DataFrame, output_format: str) -> list[Any]:
    """What a reader of the output finds; texts for formats without types."""
    chunk = rows.encode(frame, output_format, separator=",")
    if output_format == rows.PARQUET:
        return [list(row.values()) for row in pa.ipc.open_stream(chunk.data).read_all().to_pylist()]
    if output_format == rows.JSONL:
        return [list(json.loads(line).values()) for line in chunk.data.decode().splitlines()]
    return chunk.data.decode().splitlines()


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_order_is_row_input_prediction_file(output_format: str) -> None:
    origin = Origin("a.csv", np.arange(5, 7), pd.DataFrame({"id": ["007", "NA"], "x": ["1.50", ""]}))
    frame = lay_out(pd.DataFrame({"prediction": [0.5, 1]}), OutputColumns(["id", "x"]), origin, output_format)
    assert list(frame.columns) == ["row", "id", "x", "prediction", "file_name"]
    expected: list[Any] = [[5, "007", "1.50", 0.5, "a.csv"], [6, "NA", "", 1.0, "a.csv"]]
    if output_format in (rows.CSV, rows.AZUREML):
        expected = ["5,007,1.50,0.5,a.csv", "6,NA,,1.0,a.csv"]
    assert records(frame, output_format) == expected


@pytest.mark.parametrize(
    ("columns", "name", "expected"),
    [
        (["prediction"], "score", ["score"]),
        (["label"], "score", ["score"]),
        (["prediction_0", "prediction_1"], "score", ["score_0", "score_1"]),
        (["label", "p"], "score", ["score_label", "score_p"]),
        (["label", "p"], None, ["label", "p"]),
    ],
)
def test_the_predictions_name(columns: list[str], name: str | None, expected: list[str]) -> None:
    prediction = pd.DataFrame([[1] * len(columns)], columns=columns)
    assert list(lay_out(prediction, OutputColumns(prediction=name), None, rows.CSV).columns) == expected


def test_what_is_added_gives_way_to_names_that_are_there() -> None:
    carried = pd.DataFrame({"row": ["r"], "id": ["i"], "file_name": ["f"], "prediction": ["p"]})
    prediction = pd.DataFrame({"prediction": [1], "id": [2]})
    frame = lay_out(prediction, OutputColumns("all"), Origin("x", np.arange(1), carried), rows.CSV)
    assert list(frame.columns) == [
        *("row_", "row", "id_", "file_name", "prediction_"),
        *("prediction", "id", "file_name_"),
    ]
    assert frame.iloc[0].tolist() == [0, "r", "i", "f", "p", 1, 2, "x"]


def test_row_and_file_can_be_left_out() -> None:
    origin = Origin("x", np.arange(1), pd.DataFrame({"id": ["7"]}))
    frame = lay_out(pd.DataFrame({"p": [1]}), OutputColumns(["id"], file=False, row=False), origin, rows.CSV)
    assert list(frame.columns) == ["id", "p"]


def test_the_predictions_own_frame_is_left_alone() -> None:
    prediction = pd.DataFrame({0: [1]}, index=[9])
    lay_out(prediction, OutputColumns(prediction="p"), Origin("x", np.arange(1)), rows.CSV)
    assert (list(prediction.columns), list(prediction.index)) == ([0], [9])


@pytest.mark.parametrize("output_format", FORMATS)
def test_carried_lists_and_mappings(output_format: str) -> None:
    carried = pd.DataFrame({"v": pd.Series([[1, None], {"a": "ü"}, "x"], dtype=object)})
    frame = lay_out(
        pd.DataFrame({"p": [1, 2, 3]}),
        OutputColumns("all", file=False, row=False),
        Origin("x", None, carried),
        output_format,
    )
    found = records(frame, output_format)
    if output_format == rows.JSONL:
        assert found == [[[1, None], 1], [{"a": "ü"}, 2], ["x", 3]]
    elif output_format == rows.PARQUET:  # no type holds all three
        assert found == [["[1, null]", 1], ['{"a": "ü"}', 2], ["x", 3]]
    else:
        assert found == ['"[1, null]",1', '"{""a"": ""ü""}",2', "x,3"]


def test_a_files_label() -> None:
    item = LocalItem("/scratch/b.rows-5-9.csv", "in/b.csv rows 5-9", "in/b.csv", 5)
    assert (file_label(item, rows.CSV), file_label(item, rows.AZUREML)) == ("in/b.csv", "b.csv")


@pytest.fixture
def items(tmp_path: Path) -> list[LocalItem]:
    """A file of two rows, a piece of one from row 5 on with three rows, a header alone."""
    found = []
    for name, text, first_row in (
        ("a.csv", "id,x\n01,1\n02,2\n", 0),
        ("b.csv", "x,id\n3,03\n4,04\n5,05\n", 5),
        ("c.csv", "id\n", 0),
    ):
        (tmp_path / name).write_text(text)
        found.append(LocalItem(str(tmp_path / name), f"in/{name}", f"in/{name}", first_row))
    return found


def joined(result: Any, items: list[LocalItem], output_format: str = rows.CSV, **asked: Any) -> list[str]:
    frame = join_script(result, items, OutputColumns(**asked), output_format)
    assert output_format == rows.AZUREML or list(frame.columns)
    return rows.encode(frame, output_format).data.decode().splitlines()


def test_rows_of_a_script_are_joined_one_by_one(items: list[LocalItem]) -> None:
    lines = joined(list("vwxyz"), items, input=["id"])
    assert lines == [
        *("0,01,v,in/a.csv", "1,02,w,in/a.csv"),
        *("5,03,x,in/b.csv", "6,04,y,in/b.csv", "7,05,z,in/b.csv"),
    ]
    frame = join_script(np.zeros((5, 2)), items[:2], OutputColumns("all", "s"), rows.CSV)
    assert list(frame.columns) == ["row", "id", "x", "s_0", "s_1", "file_name"]
    assert joined(list("vwxyz"), items, rows.AZUREML, input=["id"])[0] == "0 01 v a.csv"
    assert joined(pd.DataFrame({"p": list("vwxyz")}), items, row=False, file=False, input=["id"])[4] == "05,z"


def test_a_row_for_each_file(items: list[LocalItem]) -> None:
    assert joined([1, 2, 3], items) == ["1,in/a.csv", "2,in/b.csv", "3,in/c.csv"]
    assert joined([1, 2, 3], items, prediction="s", file=False) == ["1", "2", "3"]


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    images = [LocalItem(str(tmp_path / name), name, name) for name in ("a.png", "b.png")]
    assert joined(["cat", "dog"], images) == ["cat,a.png", "dog,b.png"]
    assert joined(["cat", "dog"], images, input="all") == ["cat,a.png", "dog,b.png"]
    with pytest.raises(MiniBatchFailed, match=r"^output_columns: a.png: not a table with a column 'id'$"):
        joined(["cat", "dog"], images, input=["id"])
    with pytest.raises(MiniBatchFailed, match=r"run\(\) returned 3 rows for 2 files: .* one for each file; or set"):
        joined([1, 2, 3], images)


def test_a_table_that_only_the_script_can_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    item = LocalItem(str(tmp_path / "a.csv"), "a.csv", "a.csv")
    assert joined([1], [item]) == ["1,a.csv"]
    with pytest.raises(MiniBatchFailed, match=r"^output_columns: a.csv: .*decode"):
        joined([1], [item], input=["id"])


@pytest.mark.parametrize(
    ("count", "asked", "said"),
    [
        (
            4,
            {},
            r"run\(\) returned 4 rows for 3 files with 5 rows in all: .* one for each input row or for each file; ",
        ),
        (
            3,
            {"input": ["id"]},
            r"returned 3 rows for 3 files with 5 rows in all: .* must return one for each input row; or",
        ),
        (
            3,
            {"input": "all"},
            r"one for each input row; or set output_columns to {input: none, file: false, row: false}$",
        ),
    ],
)
def test_another_number_of_rows_fails_saying_both(
    items: list[LocalItem], count: int, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(MiniBatchFailed, match=said):
        joined([0] * count, items, **asked)


def test_only_a_name_goes_with_any_number_of_rows(items: list[LocalItem]) -> None:
    assert joined([1] * 9, items, prediction="s", file=False, row=False) == ["1"] * 9


def test_a_column_that_one_file_lacks_is_named_with_it(items: list[LocalItem]) -> None:
    with pytest.raises(MiniBatchFailed, match=r"^output_columns: in/c.csv: column 'x' of output_columns is not in the"):
        joined([1] * 5, items, input=["x"])
