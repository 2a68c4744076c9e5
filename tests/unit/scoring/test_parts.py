"""Parts: what is committed when, which entry counts, and that rows are read back byte by byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from prefect_batch.scoring import parts
from prefect_batch.scoring.contract import ItemError
from prefect_batch.scoring.parts import Located, Outcome, PartWriter, committed, read_rows
from prefect_batch.scoring.storage import Folder


@pytest.fixture(params=["local", "memory"])
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job") if request.param == "local" else f"memory://{tmp_path.name}-{random.random()}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(parts.time, "monotonic", lambda: now[0])
    return now


def names(job: Folder) -> list[str]:
    return (job / "parts").files()


def test_outcomes_are_grouped_and_read_back(job: Folder) -> None:
    writer = PartWriter(job, shard=3, run=2)
    error = ItemError(["x", None], "ValueError", "so it is ☃", "Traceback…", attempt=2)
    writer.add(Outcome(30, items=4, failed=2, rows=2, columns=["a"], attempts=2, errors=[error]), b"1\n2\n")
    writer.add(Outcome(31, items=1, failed=1), b"")
    writer.add(Outcome(32, items=1, rows=1), b"\x00\n\xff")
    assert names(job) == []
    writer.commit()
    (name,) = names(job)
    assert name.startswith("000003/000000030-000000032-002-") and name.endswith(".part")
    ledger = committed(job)
    assert sorted(ledger) == [30, 31, 32]
    assert [read_rows(job, ledger[n]) for n in (30, 31, 32)] == [b"1\n2\n", b"", b"\x00\n\xff"]
    assert ledger[30].outcome.errors == [error]
    assert (ledger[30].run, ledger[30].outcome.columns, ledger[30].outcome.bytes) == (2, ["a"], 4)
    assert [ledger[n].outcome.succeeded for n in (30, 31, 32)] == [True, False, True]
    writer.commit()  # nothing new
    assert len(names(job)) == 1


def test_a_part_is_committed_once_a_second_of_work_is_in_it(job: Folder, clock: list[float]) -> None:
    writer = PartWriter(job, 0, 1)
    writer.add(Outcome(0, 1), b"a")
    clock[0] += 0.9
    writer.add(Outcome(1, 1), b"b")
    assert names(job) == []
    clock[0] += 0.2
    writer.add(Outcome(2, 1), b"c")
    assert len(names(job)) == 1
    writer.add(Outcome(3, 1), b"d")
    assert len(names(job)) == 1
    clock[0] += 3600
    writer.add(Outcome(4, 1), b"e")  # an hour of work is not kept waiting for the next one
    assert len(names(job)) == 2
    assert sorted(committed(job)) == [0, 1, 2, 3, 4]


def test_a_part_is_committed_at_8_mb(job: Folder, clock: list[float]) -> None:
    writer = PartWriter(job, 0, 1)
    writer.add(Outcome(0, 1), b"a" * 5_000_000)
    assert names(job) == []
    writer.add(Outcome(1, 1), b"b" * 5_000_000)
    assert len(names(job)) == 1
    writer.add(Outcome(2, 1), b"c" * 5_000_000)
    assert len(names(job)) == 1


def commit(job: Folder, number: int, run: int, failed: int, data: bytes = b"", shard: int = 0) -> None:
    writer = PartWriter(job, shard, run)
    writer.add(Outcome(number, items=2, failed=failed, rows=1), data)
    writer.commit()


@pytest.mark.parametrize("turned", [False, True])
def test_a_success_counts_before_a_failure_then_the_later_run(job: Folder, turned: bool) -> None:
    entries = [
        (0, 1, 0, b"success"),
        (0, 2, 2, b""),
        (1, 1, 0, b"old"),
        (1, 2, 1, b"new"),
        (2, 1, 2, b""),
        (2, 3, 2, b""),
    ]
    for number, run, failed, data in reversed(entries) if turned else entries:
        commit(job, number, run, failed, data)
    ledger = committed(job)
    assert [(ledger[n].run, read_rows(job, ledger[n])) for n in range(3)] == [(1, b"success"), (2, b"new"), (3, b"")]


def test_of_equals_the_first_name_counts_always(job: Folder) -> None:
    for _ in range(8):
        commit(job, 0, 1, 0, b"x")
    assert committed(job)[0].name == f"parts/{names(job)[0]}"


def test_one_shard_or_all(job: Folder) -> None:
    commit(job, 0, 1, 0, shard=0)
    commit(job, 5, 1, 0, shard=1)
    assert list(committed(job, 0)) == [0]
    assert list(committed(job, 1)) == [5]
    assert committed(job, 2) == {}
    assert sorted(committed(job)) == [0, 5]


def test_what_is_no_part_is_passed_over(job: Folder) -> None:
    commit(job, 0, 1, 0)
    job.put("parts/000000/.abc.tmp", b"half a part")
    job.put("parts/notes.txt", b"")
    assert list(committed(job)) == [0]
    assert committed(Folder(f"{job.url}-missing")) == {}


def test_a_huge_header(job: Folder) -> None:
    errors = [ItemError([f"item-{n}"], "ValueError", "m" * 1_000, "t" * 8_000) for n in range(50)]
    writer = PartWriter(job, 0, 1)
    writer.add(Outcome(0, items=60, failed=50, rows=1, errors=errors), b"first\n")
    writer.add(Outcome(1, items=1, rows=1), b"second\n")
    writer.commit()
    ledger = committed(job)
    assert [read_rows(job, ledger[n]) for n in (0, 1)] == [b"first\n", b"second\n"]
    assert ledger[0].outcome.errors == errors


def test_many_parts_of_random_bytes(job: Folder) -> None:
    chance = random.Random(7)
    written: dict[int, bytes] = {}
    for shard in range(5):
        writer = PartWriter(job, shard, 1)
        for number in range(shard * 20, shard * 20 + 20):
            written[number] = chance.randbytes(chance.choice([0, 1, 10, 3_000]))
            writer.add(Outcome(number, items=1, rows=1), written[number])
            if chance.random() < 0.3:
                writer.commit()
        writer.commit()
    ledger = committed(job)
    assert {number: read_rows(job, at) for number, at in ledger.items()} == written


def test_no_bytes_no_read() -> None:
    nowhere = Located("missing.part", 0, 1, Outcome(0, items=1))
    assert read_rows(Folder("memory://nothing-here"), nowhere) == b""
