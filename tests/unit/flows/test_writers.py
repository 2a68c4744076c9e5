"""Writers: one output whatever the mini-batches, that every reader takes."""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_batch.flows import collect, committed_rows, parquet_output, row_groups, writers
from prefect_batch.flows.committed_rows import CommittedRows
from prefect_batch.scoring import rows
from prefect_batch.scoring.parts import Outcome, PartWriter, committed
from prefect_batch.scoring.storage import Folder

Committed = Callable[..., CommittedRows]
Write = Callable[..., bytes]
FRAME = pd.DataFrame({"n": range(100), "x": [n / 7 for n in range(100)], "t": [f"text, {n}" for n in range(100)]})


@pytest.fixture
def commit(tmp_path: Path) -> Committed:
    """Commits each result as a mini-batch, three a part, written last shard first."""
    numbers = itertools.count()

    def made(results: list[Any], rows_format: str) -> CommittedRows:
        job = Folder(str(tmp_path / f"job-{next(numbers)}"))
        for start in reversed(range(0, len(results), 3)):
            writer = PartWriter(job, start // 3, 1)
            for number, result in enumerate(results[start : start + 3], start):
                chunk = rows.encode(result, rows_format)
                writer.add(Outcome(number, 1, rows=chunk.rows, columns=chunk.columns), chunk.data)
            writer.commit()
        return CommittedRows(job, collect.in_order(committed(job), len(results)))

    return made


@pytest.fixture
def collected(commit: Committed) -> Write:
    """The output's bytes."""

    def written(results: list[Any], rows_format: str, compression: str | None = None) -> bytes:
        stream = io.BytesIO()
        writers.WRITERS[rows_format](commit(results, rows_format), stream, compression)
        assert not stream.closed
        return stream.getvalue()

    return written


@pytest.fixture
def parts(commit: Committed, tmp_path: Path) -> Callable[..., Folder]:
    """The output's folder of Parquet files."""
    numbers = itertools.count()

    def written(results: list[Any], compression: str | None = "zstd") -> Folder:
        output = Folder(str(tmp_path / f"out-{next(numbers)}")).make()
        parquet_output.write_parts(commit(results, rows.PARQUET), output, compression)
        return output

    return written


def cut(frame: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [frame[n : n + size] for n in range(0, len(frame), size)]


def read_parquet(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


@pytest.mark.parametrize(
    ("rows_format", "compression"),
    [
        *itertools.product([rows.CSV, rows.JSONL, rows.AZUREML], [None, "gzip", "zstd"]),
        *itertools.product([rows.PARQUET], [None, "gzip", "zstd", "snappy"]),
    ],
)
def test_the_output_does_not_show_the_mini_batches(
    collected: Write, rows_format: str, compression: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_BLOCK", 1000)
    whole = collected([FRAME], rows_format, compression)
    for size in (1, 3, 4, 100):
        assert collected(cut(FRAME, size), rows_format, compression) == whole
    if rows_format == rows.CSV and compression is None:
        assert whole == FRAME.to_csv(index=False).encode()


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_pandas_reads_what_is_written(collected: Write, compression: str | None) -> None:
    def written(rows_format: str) -> io.BytesIO:
        data = collected(cut(FRAME, 7), rows_format, compression)
        if compression and rows_format != rows.PARQUET:
            data = pa.input_stream(io.BytesIO(data), compression).read()
        return io.BytesIO(data)

    pd.testing.assert_frame_equal(pd.read_csv(written(rows.CSV)), FRAME)
    pd.testing.assert_frame_equal(pd.read_json(written(rows.JSONL), lines=True), FRAME)
    pd.testing.assert_frame_equal(pd.read_csv(written(rows.AZUREML), sep=" ", names=["n", "x", "t"]), FRAME)
    pd.testing.assert_frame_equal(pd.read_parquet(written(rows.PARQUET)), FRAME)


def test_gzip_holds_no_time_and_no_name(collected: Write) -> None:
    data = collected([FRAME], rows.CSV, "gzip")
    assert data[3:8] == b"\0\0\0\0\0"  # flags: no name; four bytes of time
    assert gzip.decompress(data) == FRAME.to_csv(index=False).encode()


def test_parquet_is_compressed_as_asked(collected: Write) -> None:
    for compression, expected in ((None, "UNCOMPRESSED"), ("zstd", "ZSTD"), ("snappy", "SNAPPY"), ("gzip", "GZIP")):
        data = collected([FRAME], rows.PARQUET, compression)
        assert pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).compression == expected


def test_rows_of_many_reads_keep_their_order(collected: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committed_rows, "_AHEAD", 100)
    assert collected(cut(FRAME, 1), rows.CSV) == FRAME.to_csv(index=False).encode()


def test_parquet_row_groups_do_not_show_the_mini_batches(collected: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "ROWS", 16)
    cuts = [[FRAME], [FRAME[:16], FRAME[16:]], cut(FRAME, 7), [FRAME[:3], FRAME[3:99], FRAME[99:]]]
    outputs = {collected(frames, rows.PARQUET) for frames in cuts}
    assert len(outputs) == 1
    about = pq.ParquetFile(io.BytesIO(outputs.pop())).metadata
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [16] * 6 + [4]


def many_kinds(count: int) -> pd.DataFrame:
    """Columns of every kind, of rows that are wide and narrow and do not compress well."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "text": [None if n % 5 == 0 else random.bytes(n % 97).hex() for n in range(count)],
            "embedding": [random.random(n % 13) for n in range(count)],
            "nested": [{"a": n, "b": ["x" * (n % 11)]} for n in range(count)],
            "binary": [random.bytes(n % 31) for n in range(count)],
            "flag": [n % 2 == 0 for n in range(count)],
            "time": pd.date_range("2026-01-01", periods=count, freq="h"),
            "kind": pd.Categorical([f"kind {n % 3}" for n in range(count)]),
        }
    )


def test_parts_do_not_show_the_mini_batches(parts: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "BYTES", 4_000)
    monkeypatch.setattr(parquet_output, "BYTES", 4_000)
    monkeypatch.setattr(parquet_output, "PART_BYTES", 24_000)
    frame = many_kinds(700)
    for column in ("text", "embedding", "nested"):  # the type of a column is each mini-batch's own
        frame.at[0, column] = frame.at[1, column] = frame.at[699, column]
    outputs = [parts(frames) for frames in ([frame], cut(frame, 64), cut(frame, 350), [frame[:698], frame[698:]])]
    contents = [{name: output.read(name) for name in output.files()} for output in outputs]
    assert all(content == contents[0] for content in contents)
    first = contents[0]
    assert list(first) == ["_SUCCESS", *(f"part-{n:05d}.parquet" for n in range(len(first) - 1))]
    assert len(first) > 4
    assert pd.read_parquet(outputs[0].path)["time"].equals(frame["time"].astype("datetime64[us]"))


def test_pandas_reads_a_folder_of_parts(parts: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "ROWS", 10)
    monkeypatch.setattr(parquet_output, "PART_BYTES", parquet_output.BYTES)  # a file for each row group
    output = parts(cut(FRAME, 7))
    assert len(output.files()) == 11
    pd.testing.assert_frame_equal(pd.read_parquet(output.path), FRAME)


def test_no_rows_at_all(collected: Write, parts: Callable[..., Folder]) -> None:
    empty = [pd.DataFrame(), pd.DataFrame()]
    assert collected(empty, rows.CSV) == b""
    assert collected(empty, rows.JSONL) == b""
    assert gzip.decompress(collected(empty, rows.CSV, "gzip")) == b""
    assert read_parquet(collected(empty, rows.PARQUET)).num_rows == 0
    output = parts(empty)
    assert output.files() == ["_SUCCESS", "part-00000.parquet"]
    assert len(pd.read_parquet(output.path)) == 0


def test_csv_of_differing_columns_is_aligned_by_name(collected: Write) -> None:
    data = collected(
        [
            pd.DataFrame({"a": [1], "b": ["x, y"]}),
            pd.DataFrame({"b": ["z"], "c": [2.5]}),
            pd.DataFrame(),
            pd.DataFrame({"a": [3], "b": ["last"]}),
        ],
        rows.CSV,
    )
    assert data.decode().splitlines() == ["a,b,c", '1,"x, y",', ",z,2.5", "3,last,"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2], [0.5], [1.0, 2.0, 0.5]),
        ([2**60 + 1], [0.5], [float(2**60 + 1), 0.5]),
        ([1], ["x"], ["1", "x"]),
        ([True], [1], ["true", "1"]),
        ([[1, 2]], ["x"], ["[1, 2]", "x"]),
        ([None], ["x"], [None, "x"]),
        ([None], [1], [None, 1]),
        ([{"a": 1}], [{"b": "x"}], [{"a": 1, "b": None}, {"a": None, "b": "x"}]),
        ([{"a": 1}], [[1]], ["{'a': 1}", "[1]"]),
    ],
)
def test_parquet_of_differing_types(collected: Write, first: list[Any], second: list[Any], expected: list[Any]) -> None:
    frames = [
        pd.DataFrame({"a": pd.Series(values, dtype=None if values[0] is not None else object)})
        for values in (first, second)
    ]
    assert read_parquet(collected(frames, rows.PARQUET))["a"].to_pylist() == expected


def test_parquet_of_differing_columns(collected: Write) -> None:
    frames = [pd.DataFrame({"a": [1], "b": ["x"]}), pd.DataFrame({"b": ["y"], "c": [2.5]})]
    assert read_parquet(collected(frames, rows.PARQUET)).to_pylist() == [
        {"a": 1, "b": "x", "c": None},
        {"a": None, "b": "y", "c": 2.5},
    ]


def test_parquet_of_categories_that_differ(collected: Write) -> None:
    frames = [pd.DataFrame({"a": pd.Categorical(values)}) for values in (["x", "y"], ["z"])] + [
        pd.DataFrame({"a": ["t"]})
    ]
    assert read_parquet(collected(frames, rows.PARQUET))["a"].to_pylist() == ["x", "y", "z", "t"]
