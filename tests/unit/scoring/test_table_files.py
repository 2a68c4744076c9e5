"""Table files: every format, compressed text in chunks, and columns carried as they are written."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_batch.scoring import table_files
from prefect_batch.scoring.errors import Unreadable
from prefect_batch.scoring.table_files import Table, kind_of, read_chunks, read_columns


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
CSV = b'id,text,n\n007,"two\nlines, ""quoted""",1.50\nNA,,3\n, x ,\n'
CARRIED = {"id": ["007", "NA", ""], "text": ['two\nlines, "quoted"', "", " x "], "n": ["1.50", "3", ""]}


def write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed files are long ones from 100 bytes on."""
    monkeypatch.setattr(table_files, "CHUNK_BYTES", 100)
    monkeypatch.setattr(table_files, "_FIRST_ROWS", 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.csv", ".csv"),
        ("a.b/x.CSV", ".csv"),
        ("x.csv.gz", ".csv"),
        ("x.tsv.ZST", ".tsv"),
        ("x.jsonl.bz2", ".jsonl"),
        ("x.parquet", ".parquet"),
        ("x.parquet.gz", ".parquet.gz"),
        ("x.gz", ".gz"),
        ("x.png.xz", ".png.xz"),
        ("csv", ""),
    ],
)
def test_the_kind_of_a_file(name: str, expected: str) -> None:
    assert kind_of(name) == expected


@pytest.mark.parametrize("compression", COMPRESS)
def test_csv_is_carried_as_it_is_written(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path, f"x.csv{compression}", COMPRESS[compression](CSV))
    (chunk,) = read_chunks(path, {"id"}, "all")
    assert chunk.carried.to_dict("list") == CARRIED
    assert chunk.data["n"].tolist()[:2] == [1.5, 3]
    assert chunk.data["id"][0] == "007"
    assert read_columns(path, ["n", "id"]).to_dict("list") == {"n": CARRIED["n"], "id": CARRIED["id"]}
    assert (len(read_columns(path, [])), read_columns(path, []).shape[1]) == (3, 0)


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.usefixtures("small_chunks")
def test_a_long_compressed_file_is_read_in_chunks(tmp_path: Path, compression: str, separator: str) -> None:
    """Also one of several members, as tools that compress in parallel write it."""
    name = f"x.{'csv' if separator == ',' else 'tsv'}"
    frame = pd.DataFrame({"id": [f"{n:04}" for n in range(200)], "text": ["a\nb" * (n % 7) for n in range(200)]})
    text = frame.to_csv(index=False, sep=separator).encode()
    compress = COMPRESS[compression]
    path = write(tmp_path, name + compression, compress(text[:99]) + compress(text[99:]))
    chunks = list(read_chunks(path, {"id"}, ["id"]))
    assert len(chunks) > 10
    assert [chunk.first_row for chunk in chunks] == [0, *pd.Series([len(c.data) for c in chunks]).cumsum()[:-1]]
    assert all(list(chunk.data.index) == list(range(len(chunk.data))) for chunk in chunks)
    whole = pd.concat([chunk.data for chunk in chunks], ignore_index=True)
    expected = pd.read_csv(io.BytesIO(text), sep=separator, dtype={"id": object})
    pd.testing.assert_frame_equal(whole, expected, check_dtype=False)
    assert pd.concat([chunk.carried for chunk in chunks])["id"].tolist() == frame["id"].tolist()
    assert len(read_columns(path, [])) == 200


@pytest.mark.usefixtures("small_chunks")
def test_long_compressed_json_lines(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"id": n, "text": "x" * 30}).encode() + b"\n" for n in range(50))
    chunks = list(read_chunks(write(tmp_path, "x.jsonl.gz", gzip.compress(lines)), set(), ["id"]))
    assert [len(chunk.data) for chunk in chunks] == [2] * 25
    assert [chunk.first_row for chunk in chunks] == list(range(0, 50, 2))
    assert [value for chunk in chunks for value in chunk.carried["id"]] == list(range(50))


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_a_file_that_is_cut_off_is_an_error_after_its_good_chunks(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "CHUNK_BYTES", 100_000)
    text = b"a\n" + b"".join(b"%d\n" % (n * 7919 % 100_003) for n in range(200_000))
    data = COMPRESS[compression](text)
    chunks = read_chunks(write(tmp_path, f"x.csv{compression}", data[: len(data) // 2]), set(), [])
    assert next(chunks).data["a"][0] == 0
    with pytest.raises((EOFError, OSError)):
        list(chunks)


@pytest.mark.parametrize("compression", ["", ".gz"])
def test_a_header_alone(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path, f"x.csv{compression}", COMPRESS[compression](b"a,b\n"))
    (chunk,) = read_chunks(path, set(), "all")
    assert (len(chunk.data), list(chunk.carried.columns)) == (0, ["a", "b"])


def only(path: str, carry: Any) -> Table:
    (chunk,) = read_chunks(path, set(), carry)
    return chunk


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    lines = '\ufeff{"id": 1, "s": "007", "v": [1, {"a": 2}]}\n\n{"s": "2024-01-01", "id": null}\n{"id": 3}'
    path = write(tmp_path, "x.jsonl", lines.encode())
    chunk = only(path, "all")
    assert chunk.carried.to_dict("list") == {
        "id": [1, None, 3],
        "s": ["007", "2024-01-01", None],
        "v": [[1, {"a": 2}], None, None],
    }
    assert chunk.data["s"].tolist()[:2] == ["007", "2024-01-01"]
    assert read_columns(path, ["id"])["id"].tolist() == [1, None, 3]
    (as_text,) = read_chunks(path, {"id"}, [])
    assert as_text.data["id"].tolist() == [1, None, 3]


@pytest.mark.parametrize(
    ("line", "said"),
    [("{", r"row 1 is not valid JSON: "), ("[1]", "row 1 is not a JSON object"), ("3", "row 1 is not")],
)
def test_lines_that_are_no_objects(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        only(write(tmp_path, "x.ndjson", f'{{"a": 1}}\n{line}\n'.encode()), [])


def test_json_lines_without_a_line(tmp_path: Path) -> None:
    chunk = only(write(tmp_path, "x.jsonl", b"\n"), ["id"])
    assert (len(chunk.data), len(chunk.carried)) == (0, 0)


TABLE = pa.table({"id": pa.array([1, None, 2**53 + 1]), "s": ["007", None, ""], "l": [[1, 2], None, []]})


def write_parquet(path: Path) -> None:
    pq.write_table(TABLE, path)


def write_arrow(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def write_stream(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("x.parquet", write_parquet),
        ("x.pqt", write_parquet),
        ("x.arrow", write_arrow),
        ("x.feather", write_arrow),
        ("x.ipc", write_arrow),
        ("x.arrow", write_stream),
    ],
)
def test_columnar_files_keep_their_types(tmp_path: Path, name: str, writer: Callable[[Path], None]) -> None:
    writer(tmp_path / name)
    chunk = only(str(tmp_path / name), ["s", "id"])
    back = pa.Table.from_pandas(chunk.carried, preserve_index=False).replace_schema_metadata(None)
    assert back.equals(TABLE.select(["s", "id"]))
    assert list(chunk.data.columns) == ["id", "s", "l"]
    assert len(read_columns(str(tmp_path / name), [])) == 3
    assert list(read_columns(str(tmp_path / name), "all").columns) == ["id", "s", "l"]


def test_the_index_that_pandas_stores_is_no_column(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet(tmp_path / "x.parquet")
    assert list(only(str(tmp_path / "x.parquet"), "all").carried.columns) == ["a"]


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl", "x.parquet"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame({"a": [1]})
    if name == "x.jsonl":
        frame.to_json(tmp_path / name, orient="records", lines=True)
    else:
        frame.to_parquet(tmp_path / name) if name == "x.parquet" else frame.to_csv(tmp_path / name, index=False)
    said = r"^column 'b', 'c' of output_columns is not in the file$"
    with pytest.raises(Unreadable, match=said):
        only(str(tmp_path / name), ["b", "a", "c"])
    with pytest.raises(Unreadable, match=said):
        read_columns(str(tmp_path / name), ["b", "a", "c"])


def test_rows_with_more_fields_than_the_header_carry_nothing(tmp_path: Path) -> None:
    """pandas takes the first field for an index, so that the model's columns are not the file's."""
    path = write(tmp_path, "x.csv", b"a,b\n1,2,3\n4,5,6\n")
    assert only(path, []).data["a"].tolist() == [2, 5]
    with pytest.raises(Unreadable, match="rows have more fields than the header has names"):
        only(path, ["a"])
