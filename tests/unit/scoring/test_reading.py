"""Tables and images brought to the types of a model's signature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefect_batch.scoring import reading
from prefect_batch.scoring.reading import Unreadable, read_image


def read_table(path: str, columns: dict[str, tuple[str, bool]] | None, **options: Any) -> pd.DataFrame:
    (chunk,) = reading.read_table(path, columns, **options)
    return chunk.data


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Writes a CSV text; reads it as the signature says: name=type, or name="type?" for an optional column."""

    def read(text: str, **columns: str) -> pd.DataFrame:
        path = tmp_path / "data.csv"
        path.write_text(text)
        signature = {name: (kind.removesuffix("?"), not kind.endswith("?")) for name, kind in columns.items()}
        return read_table(str(path), signature or None)

    return read


@pytest.mark.parametrize(
    "text", ["a\n1\n2\n", "a\n1.0\n2.0\n", "a\n1\n2.0\n", 'a\n"1"\n"2"\n', "a\n 1\n2 \n", "a\n1e0\n2\n"]
)
@pytest.mark.parametrize(("kind", "dtype"), [("long", "int64"), ("integer", "int32")])
def test_whole_numbers(table: Any, text: str, kind: str, dtype: str) -> None:
    frame = table(text, a=kind)
    assert str(frame["a"].dtype) == dtype
    assert frame["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("long", "1.5", "1.5"),
        ("long", "", "a missing value"),
        ("long", "x", "'x'"),
        ("long", "inf", "inf"),
        ("long", "9223372036854775808", "9223372036854775808"),
        ("integer", "2147483648", "2147483648"),
        ("integer", "-2147483649", "-2147483649"),
        ("integer", "", "a missing value"),
        ("double", "x", "'x'"),
        ("float", "1,5", "'1,5'"),
        ("boolean", "maybe", "'maybe'"),
        ("boolean", "", "a missing value"),
        ("boolean", "2", "'2'"),
        ("datetime", "tomorrow", "'tomorrow'"),
    ],
)
def test_what_does_not_fit_is_refused_naming_column_row_and_type(table: Any, kind: str, value: str, shown: str) -> None:
    good = {"boolean": "true", "datetime": "2024-01-01"}.get(kind, "1")
    text = f'b,a\n0,{good}\n0,"{value}"\n0,{good}\n'
    with pytest.raises(Unreadable) as caught:
        table(text, b="long", a=kind)
    assert str(caught.value) == f"column 'a', row 1: {shown} does not fit the model's signature, which says {kind}"


@pytest.mark.parametrize(("kind", "dtype"), [("double", "float64"), ("float", "float32")])
def test_whole_numbers_of_a_csv_are_floats_where_the_signature_says_so(table: Any, kind: str, dtype: str) -> None:
    frame = table("a\n1\n2\n", a=kind)
    assert str(frame["a"].dtype) == dtype
    frame = table("a,b\n1,0\n,0\n3.5,0\n", a=kind, b="long")
    assert frame["a"].isna().tolist() == [False, True, False]


def test_text_stays_as_it_is_written(table: Any) -> None:
    frame = table("a,b\n007,1\n1.50,2\ntrue,3\n,4\n", a="string", b="string")
    assert frame["a"].tolist()[:3] == ["007", "1.50", "true"]
    assert pd.isna(frame["a"][3])
    assert frame["b"].tolist() == ["1", "2", "3", "4"]
    assert str(frame["a"].dtype) == "object"


def test_booleans(table: Any) -> None:
    assert table("a\ntrue\nFalse\n1\n0\n", a="boolean")["a"].tolist() == [True, False, True, False]
    assert table("a\nTrue\nFalse\n", a="boolean")["a"].dtype == np.dtype(bool)
    assert table("a\n1.0\n0\n", a="boolean")["a"].tolist() == [True, False]


def test_datetimes(table: Any) -> None:
    frame = table("a\n2024-01-02\n2024-02-03\n", a="datetime")
    assert frame["a"].tolist() == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-02-03")]
    frame = table("a,b\n2024-01-02,0\n,0\n", a="datetime", b="long")
    assert frame["a"].isna().tolist() == [False, True]


def test_columns_are_those_of_the_signature_in_its_order(table: Any) -> None:
    frame = table("c,b,a,extra\n1,2,3,4\n", a="long", b="double", c="long")
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame.iloc[0].tolist() == [3, 2, 1]


def test_missing_columns_are_named(table: Any) -> None:
    with pytest.raises(Unreadable, match=r"^column 'b', 'c' of the model's signature is not in the file$"):
        table("a\n1\n", a="long", b="long", c="double", d="long?")


def test_an_optional_column_may_be_missing(table: Any) -> None:
    assert list(table("a\n1\n", a="long", b="long?").columns) == ["a"]


def test_without_a_signature_types_are_what_pandas_finds(table: Any) -> None:
    frame = table("a,b\n1,x\n2,y\n")
    assert str(frame["a"].dtype) == "int64"
    assert frame["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize("kind", ["long", "integer", "double", "float", "string", "boolean", "datetime"])
def test_a_header_alone_is_a_table_without_rows(table: Any, kind: str) -> None:
    frame = table("a\n", a=kind)
    assert (len(frame), list(frame.columns)) == (0, ["a"])


def test_an_empty_file_is_an_error(table: Any) -> None:
    with pytest.raises(Exception, match="No columns"):
        table("", a="long")


def test_parquet_is_cast_as_well(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "s": [7, 8], "t": pd.to_datetime(["2024-01-01"] * 2), "v": [[1], [2, 3]]})
    frame.to_parquet(tmp_path / "x.parquet")
    signature = {"a": ("long", True), "s": ("string", True), "t": ("datetime", True), "v": ("array", True)}
    read = read_table(str(tmp_path / "x.parquet"), signature)
    assert (str(read["a"].dtype), read["s"].tolist(), list(read["v"][1])) == ("int64", ["7", "8"], [2, 3])
    assert read["t"][0] == pd.Timestamp("2024-01-01")


@pytest.mark.parametrize(("mode", "shape"), [("L", (2, 3)), ("RGB", (2, 3, 3)), ("RGBA", (2, 3, 4))])
def test_images(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "x.png")
    array = read_image(str(tmp_path / "x.png"))
    assert (array.shape, array.dtype) == (shape, np.uint8)


def test_images_with_a_palette_are_their_colours(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (255, 0, 0)).convert("P").save(tmp_path / "x.gif")
    array = read_image(str(tmp_path / "x.gif"))
    assert array.shape == (2, 3, 3)
    assert array[0, 0].tolist() == [255, 0, 0]


def test_rows_of_a_piece_are_counted_within_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a\n1\nx\n")
    with pytest.raises(Unreadable, match=r"^column 'a', row 71: 'x' does not fit"):
        read_table(str(tmp_path / "x.csv"), {"a": ("long", True)}, first_row=70)


@pytest.mark.parametrize("kind", ["long", "string", "boolean", "datetime"])
def test_json_lines_are_brought_to_the_signature(tmp_path: Path, kind: str) -> None:
    value = {"long": 7, "string": "007", "boolean": True, "datetime": "2024-01-02"}[kind]
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"b": 1, "a": {json.dumps(value)}}}\n')
    frame = read_table(str(path), {"a": (kind, True)})
    assert frame["a"].tolist() == [pd.Timestamp(value) if kind == "datetime" else value]
    path.write_text("")
    assert len(read_table(str(path), {"a": (kind, True)})) == 0
