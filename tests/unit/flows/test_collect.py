"""Collecting: an output appears whole or not at all, and nobody else writes it meanwhile."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.flows import collect, parquet_output, row_groups
from prefect_batch.flows.committed_rows import Chunks, CommittedRows
from prefect_batch.scoring import rows
from prefect_batch.scoring.contract import ItemError
from prefect_batch.scoring.errors import AlreadyExists, BatchError
from prefect_batch.scoring.parts import Located, Outcome, PartWriter, committed
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def job(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job"))


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


@pytest.fixture(params=["local", "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder on this machine, and one in a store."""
    return Folder(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out").make()


def settings(file_name: str, **more: Any) -> ModelSettings:
    return ModelSettings(output_file_name=file_name, **more)


def commit(job: Folder, frames: list[pd.DataFrame], rows_format: str) -> list[Located]:
    writer = PartWriter(job, 0, 1)
    for number, frame in enumerate(frames):
        chunk = rows.encode(frame, rows_format)
        writer.add(Outcome(number, 1, rows=chunk.rows, columns=chunk.columns), chunk.data)
        writer.commit()
    return collect.in_order(committed(job), len(frames))


FRAME = pd.DataFrame({"n": range(10), "t": [f"text {n}" for n in range(10)]})


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl.zst", "x.parquet"])
def test_an_output_is_one_file(job: Folder, anywhere: Folder, name: str) -> None:
    located = commit(job, [FRAME[:3], FRAME[3:]], settings(name).rows_format)
    assert collect.write_output(job, located, anywhere, settings(name)) == anywhere.file_url(name)
    assert anywhere.files() == [name]


def test_an_output_is_a_folder(job: Folder, anywhere: Folder) -> None:
    located = commit(job, [FRAME[:3], FRAME[3:]], rows.PARQUET)
    assert collect.write_output(job, located, anywhere, settings("")) == anywhere.url
    assert anywhere.files() == ["_SUCCESS", "part-00000.parquet"]
    read = pd.read_parquet(anywhere.url, engine="pyarrow")
    pd.testing.assert_frame_equal(read, FRAME)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl.zst", "x.parquet", ""])
def test_a_failure_in_the_middle_leaves_nothing(
    job: Folder, anywhere: Folder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither under the final name nor any other; what stood there stays."""
    monkeypatch.setattr(row_groups, "ROWS", 10)
    monkeypatch.setattr(parquet_output, "PART_BYTES", parquet_output.BYTES)  # a file for each row group
    anywhere.put("other", b"somebody's")
    noise = pd.DataFrame({"t": [random.Random(n).randbytes(100_000).hex() for n in range(30)]})
    located = commit(job, [noise[:25], noise[25:]], settings(name).rows_format)
    parts, passes, seen = CommittedRows.parts, itertools.count(1), list[str]()
    last = 2 if settings(name).rows_format == rows.PARQUET else 1  # the first finds the schema

    def broken(found: CommittedRows) -> Iterator[Chunks]:
        breaks = next(passes) == last
        for number, chunks in enumerate(parts(found)):
            if breaks and number == 1:
                seen.extend(file for file in anywhere.files() if not file.startswith("."))
                raise OSError("gone")
            yield chunks

    monkeypatch.setattr(CommittedRows, "parts", broken)
    with pytest.raises(OSError, match=r"^gone$"):
        collect.write_output(job, located, anywhere, settings(name))
    assert anywhere.names() == ["other"]
    assert seen == (["other"] if name else ["other", "part-00000.parquet"])


@pytest.mark.parametrize("there", ["part-00000.parquet", "part-77777.parquet", "_SUCCESS"])
def test_a_folder_that_holds_an_output_is_left_alone(job: Folder, anywhere: Folder, there: str) -> None:
    anywhere.put(there, b"somebody's")
    located = commit(job, [FRAME], rows.PARQUET)
    with pytest.raises(AlreadyExists, match=r"a part or _SUCCESS in .*/out appeared while the job ran"):
        collect.write_output(job, located, anywhere, settings(""))
    assert anywhere.files() == [there]


@pytest.mark.parametrize("name", ["", "x.csv"])
def test_what_a_killed_run_wrote_is_removed(anywhere: Folder, name: str) -> None:
    for file in ("part-00000.parquet", "part-00001.parquet", "_SUCCESS", "x.csv", "mine"):
        anywhere.put(file, b"")
    collect.remove_output(anywhere, name)
    assert anywhere.files() == (
        ["mine", "x.csv"] if name == "" else ["_SUCCESS", "mine", "part-00000.parquet", "part-00001.parquet"]
    )


@pytest.mark.parametrize(("name", "there"), [("x.csv", "x.csv"), ("", "part-00000.parquet"), ("", "_SUCCESS")])
def test_an_output_that_another_job_wrote_before_this_one_began(output: Folder, name: str, there: str) -> None:
    collect.check_free(output, name)
    output.put("mine", b"")
    collect.check_free(output, name)
    output.put(there, b"")
    with pytest.raises(AlreadyExists, match="appeared while the job ran and is not overwritten"):
        collect.check_free(output, name)


def test_an_output_that_appeared_meanwhile_is_kept(job: Folder, output: Folder) -> None:
    output.put("x.csv", b"somebody's")
    with pytest.raises(AlreadyExists, match=r"x.csv appeared while the job ran and is not overwritten: move it away"):
        collect.write_output(job, [], output, settings("x.csv"))
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


def test_a_claim_of_a_folder(output: Folder) -> None:
    with collect.claim(output, "", "job-1") as found:
        assert not found
        with (
            pytest.raises(AlreadyExists, match=r"outputs: job job-1 is writing .*/out: name another output folder"),
            collect.claim(output, "", "job-2"),
        ):
            pass
        assert output.names() == [".score.job"]
    assert output.names() == []


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
