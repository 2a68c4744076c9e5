"""Collecting: one output whatever the mini-batches, and nobody else writes it meanwhile."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prefect_batch.flows import collect
from prefect_batch.scoring import rows
from prefect_batch.scoring.contract import ItemError
from prefect_batch.scoring.errors import AlreadyExists, BatchError
from prefect_batch.scoring.parts import Outcome, PartWriter, committed
from prefect_batch.scoring.storage import Folder

Write = Callable[..., bytes]


@pytest.fixture
def job(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job"))


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


@pytest.fixture
def collected(tmp_path: Path) -> Callable[..., bytes]:
    """Commits each result as a mini-batch, three a part, written last shard first; returns the output."""
    made: list[int] = []

    def write(results: list[Any], rows_format: str) -> bytes:
        made.append(len(made))
        job, output = Folder(str(tmp_path / f"job-{made[-1]}")), Folder(str(tmp_path / f"out-{made[-1]}"))
        for start in reversed(range(0, len(results), 3)):
            writer = PartWriter(job, start // 3, 1)
            for number, result in enumerate(results[start : start + 3], start):
                chunk = rows.encode(result, rows_format)
                writer.add(Outcome(number, 1, rows=chunk.rows, columns=chunk.columns), chunk.data)
            writer.commit()
        located = collect.in_order(committed(job), len(results))
        url = collect.write_output(job, located, output, "predictions.out", rows_format)
        assert url == output.file_url("predictions.out")
        return output.read("predictions.out")

    return write


def read_parquet(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


@pytest.mark.parametrize("rows_format", [rows.CSV, rows.JSONL, rows.AZUREML, rows.PARQUET])
@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_the_output_does_not_show_the_mini_batches(collected: Write, rows_format: str, size: int) -> None:
    frame = pd.DataFrame({"n": range(100), "x": [n / 7 for n in range(100)], "t": [f"text, {n}" for n in range(100)]})
    whole = collected([frame], rows_format)
    assert collected([frame[n : n + size] for n in range(0, 100, size)], rows_format) == whole
    if rows_format == rows.CSV:
        assert whole == frame.to_csv(index=False).encode()


def test_parquet_row_groups_do_not_show_the_mini_batches(collected: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "ROW_GROUP", 16)
    frame = pd.DataFrame({"n": range(100), "t": [str(n) for n in range(100)]})
    cuts = [
        [frame],
        [frame[:16], frame[16:]],
        [frame[n : n + 7] for n in range(0, 100, 7)],
        [frame[:3], frame[3:99], frame[99:]],
    ]
    outputs = {collected(cut, rows.PARQUET) for cut in cuts}
    assert len(outputs) == 1
    about = pq.ParquetFile(io.BytesIO(outputs.pop())).metadata
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [16] * 6 + [4]


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


def test_no_rows_at_all(collected: Write) -> None:
    empty = [pd.DataFrame(), pd.DataFrame()]
    assert collected(empty, rows.CSV) == b""
    assert collected(empty, rows.JSONL) == b""
    assert read_parquet(collected(empty, rows.PARQUET)).num_rows == 0


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


def test_an_output_that_appeared_meanwhile_is_kept(job: Folder, output: Folder) -> None:
    output.put("x.csv", b"somebody's")
    with pytest.raises(AlreadyExists, match=r"x.csv appeared while the job ran and is not overwritten: move it away"):
        collect.write_output(job, [], output, "x.csv", rows.CSV)
    assert output.read("x.csv") == b"somebody's"


def test_a_missing_mini_batch_is_never_passed_over(job: Folder) -> None:
    writer = PartWriter(job, 0, 1)
    for number in (0, 1, 4):
        writer.add(Outcome(number, 1), b"")
    writer.commit()
    with pytest.raises(BatchError, match=r"^2 of 5 mini-batches have no committed part \(first: 2\)$"):
        collect.in_order(committed(job), 5)


def test_errors_have_a_line_for_each_item_in_plan_order(job: Folder) -> None:
    writer = PartWriter(job, 0, 1)
    writer.add(Outcome(1, 2, failed=2, errors=[ItemError(["c", None], "ValueError", "bad ☃", "Trace\nback", 3)]), b"")
    writer.add(Outcome(0, 2, failed=1, errors=[ItemError(["a"], "OSError", "gone")]), b"")
    writer.commit()
    for _ in range(2):  # an earlier run's file is replaced
        assert collect.write_errors(job, collect.in_order(committed(job), 2)) == 3
    lines = [json.loads(line) for line in job.read(collect.ERRORS).splitlines()]
    assert [(line["item"], line["mini_batch"], line["attempt"]) for line in lines] == [
        ("a", 0, 1),
        ("c", 1, 3),
        (None, 1, 3),
    ]
    assert lines[1] == {
        "item": "c",
        "mini_batch": 1,
        "attempt": 3,
        "error_type": "ValueError",
        "message": "bad ☃",
        "traceback": "Trace\nback",
    }


def test_a_claim_keeps_others_away_until_it_ends(output: Folder) -> None:
    with collect.claim(output, "x.csv", "job-1") as found:
        assert not found
        with (
            pytest.raises(AlreadyExists, match=r"outputs: job job-1 is writing .*/x.csv: name another output folder"),
            collect.claim(output, "x.csv", "job-2"),
        ):
            pass
        with collect.claim(output, "y.csv", "job-2"):
            pass
        assert output.names() == [".x.csv.job"]
    assert output.names() == []
    with collect.claim(output, "x.csv", "job-2"):
        pass


def test_a_claim_ends_with_an_error(output: Folder) -> None:
    with pytest.raises(RuntimeError), collect.claim(output, "x.csv", "job-1"):
        raise RuntimeError
    assert output.names() == []


def test_a_resumed_job_finds_its_claim(output: Folder) -> None:
    output.put(".x.csv.job", b"job-1")
    with collect.claim(output, "x.csv", "job-1") as found:
        assert found
    assert output.names() == []


def test_a_claim_that_ends_while_it_is_looked_at(output: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    output.put(".x.csv.job", b"job-1")
    read = Folder.read

    def ended(folder: Folder, name: str) -> bytes:
        folder.remove(name)
        return read(folder, name)

    monkeypatch.setattr(Folder, "read", ended)
    with collect.claim(output, "x.csv", "job-2") as found:
        assert not found
