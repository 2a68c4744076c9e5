"""Packing: files into mini-batches by number, bytes or rows; large files in pieces, small ones together."""

from __future__ import annotations

import gzip
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.flows import packing
from prefect_batch.flows.mapping import pending
from prefect_batch.flows.packing import pack, plan_job
from prefect_batch.flows.plan import Plan, Shard, Source
from prefect_batch.scoring.items import Item
from prefect_batch.scoring.storage import Folder

Pack = Callable[..., list[list[Item]]]


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    """Packs the files of tmp_path, in the order of their names; `notes` collects what is said."""

    def call(size: int | str, notes: list[str] | None = None) -> list[list[Item]]:
        items = [Item(path.name, path.name, 0, path.stat().st_size) for path in sorted(tmp_path.iterdir())]
        settings = ModelSettings(mini_batch_size=size)
        return list(pack(items, [Folder(str(tmp_path))], settings, (notes if notes is not None else []).append))

    return call


def table(path: Path, rows: int) -> None:
    path.write_text("x,y\n" + "".join(f"{number:06d},text\n" for number in range(rows)))


def shown(batches: list[list[Item]]) -> list[list[str]]:
    return [[item.label for item in batch] for batch in batches]


def test_by_number_every_file_stays_whole(packed: Pack, tmp_path: Path) -> None:
    for number in range(5):
        table(tmp_path / f"{number}.csv", 1000)
    assert shown(packed(2)) == [["0.csv", "1.csv"], ["2.csv", "3.csv"], ["4.csv"]]


def test_by_bytes_large_files_are_cut_and_small_ones_packed(packed: Pack, tmp_path: Path) -> None:
    table(tmp_path / "a.csv", 10)
    table(tmp_path / "b.csv", 10)
    table(tmp_path / "c.csv", 250)  # 3,004 bytes
    table(tmp_path / "d.csv", 10)
    batches = packed("1 kB")
    assert shown(batches)[0] == ["a.csv", "b.csv"]
    assert shown(batches)[-1] == ["c.csv rows 188-249", "d.csv"]  # four of equal size, not three and a rest
    pieces = [item.piece for batch in batches for item in batch]
    assert sum(piece.rows for piece in pieces if piece) == 250
    assert next(piece.first_row for piece in pieces if piece) == 0
    assert all(sum(item.size or 0 for item in batch) <= 1000 for batch in batches)


def test_by_rows_pieces_hold_exactly_so_many(packed: Pack, tmp_path: Path) -> None:
    table(tmp_path / "a.csv", 7)
    table(tmp_path / "b.csv", 25)
    table(tmp_path / "c.csv", 2)
    table(tmp_path / "d.csv", 3)
    assert shown(packed("10 rows")) == [
        ["a.csv"],
        ["b.csv rows 0-9"],
        ["b.csv rows 10-19"],
        ["b.csv rows 20-24", "c.csv", "d.csv"],
    ]


def test_what_cannot_be_split_is_a_mini_batch_of_its_own_and_said(packed: Pack, tmp_path: Path) -> None:
    table(tmp_path / "a.csv", 5)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"x\n1\n" * 1000, compresslevel=0))
    table(tmp_path / "c.csv", 5)
    for size in ("1 kB", "10 rows"):
        notes: list[str] = []
        assert shown(packed(size, notes)) == [["a.csv"], ["b.csv.gz"], ["c.csv"]]
        assert len(notes) == 1 and notes[0].startswith("b.csv.gz stays in one mini-batch: ") and "gzip" in notes[0]


def test_images_count_one_by_one(packed: Pack, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(b"x" * 400)
    assert [len(batch) for batch in packed("2 rows")] == [2, 2, 1]
    assert [len(batch) for batch in packed("1 kB")] == [2, 2, 1]


def test_a_file_that_is_no_table_is_left_to_be_scored(packed: Pack, tmp_path: Path) -> None:
    """What is wrong with it is an error of the file, not of the job."""
    (tmp_path / "bad.parquet").write_bytes(b"no parquet" * 1000)
    table(tmp_path / "good.csv", 5)
    for size in ("1 kB", "10 rows"):
        assert shown(packed(size)) == [["bad.parquet"], ["good.csv"]]


def test_a_file_that_is_gone_is_left_to_be_scored(tmp_path: Path) -> None:
    items = [Item("gone.csv", "gone.csv", 0, 10**6)]
    batches = pack(items, [Folder(str(tmp_path))], ModelSettings(mini_batch_size="1 kB"), lambda _: None)
    assert shown(list(batches)) == [["gone.csv"]]


@pytest.mark.parametrize("seed", range(5))
def test_log_normal_sizes_keep_all_workers_busy_to_the_end(seed: int) -> None:
    """One large file among many small ones must not be what a worker is left alone with."""
    drawn = random.Random(seed)
    sizes = [int(drawn.lognormvariate(13, 1.5)) for _ in range(200)]
    items = [Item(f"{at:03d}.bin", f"{at:03d}.bin", 0, size) for at, size in enumerate(sizes)]
    costs = [
        sum(item.size or 0 for item in batch) for batch in pack(items, [], ModelSettings(mini_batch_size=1), print)
    ]
    shards = [Shard(number=n, first=n, count=1, items=1, start=0, end=0, cost=cost) for n, cost in enumerate(costs)]
    plan = Plan(sources=[], items=len(items), mini_batches=len(shards), shards=shards)
    workers = [0] * 4
    for shard in pending(plan, set()):  # each goes to whoever is free first
        workers[workers.index(min(workers))] += shard.cost
    assert max(workers) <= max(1.1 * sum(sizes) / 4, max(sizes))


def test_planning_that_takes_long_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SECONDS_BETWEEN_SIGNS", 0.01)
    lines, said = list[str](), threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    def items() -> Iterator[Item]:
        yield Item("a.csv", "a.csv", 0, 5)
        assert said.wait(30)

    found = SimpleNamespace(sources=lambda: [Source(reference=str(tmp_path))], items=items)
    job: Any = SimpleNamespace(folder=Folder(str(tmp_path)), input=found, settings=ModelSettings())
    assert plan_job(job, say).items == 1
    assert lines[0].startswith("Planning for 0 s: ")
