"""The plan: mini-batches and shards cover every item once, in order, and are read back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_batch.flows.mapping import pending
from prefect_batch.flows.plan import INDEX, LINES, Plan, make_plan, shard_name
from prefect_batch.scoring.items import LocalItem
from prefect_batch.scoring.shard import MiniBatch
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def job(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job"))


def names(count: int) -> list[str]:
    return [f"folder/ünïcode {number:05d}.csv" for number in range(count)]


def read(job: Folder, plan: Plan) -> list[MiniBatch]:
    return [mini_batch for shard in plan.shards for mini_batch in plan.read(job, shard)]


@pytest.mark.parametrize(
    ("items", "size"),
    [
        *((1, 1), (1, 10), (9, 10), (10, 10), (11, 10), (5003, 2), (10_000, 7), (12_345, 1), (20_000, 10)),
        *((items, 1) for items in (999, 1000, 1001, 1999, 2000, 2001)),
    ],
)
def test_shards_cover_all_mini_batches_and_items_once_in_order(job: Folder, items: int, size: int) -> None:
    plan = make_plan(job, "/data", names(items), size)
    mini_batches = -(-items // size)
    assert (plan.items, plan.mini_batches, plan.root) == (items, mini_batches, "/data")
    assert len(plan.shards) == min(mini_batches, 1000)
    if mini_batches <= 1000:
        assert all(shard.count == 1 for shard in plan.shards)
    counts = {shard.count for shard in plan.shards}
    assert max(counts) - min(counts) <= 1
    assert [shard.number for shard in plan.shards] == list(range(len(plan.shards)))
    first = 0
    for shard in plan.shards:
        assert shard.first == first
        first += shard.count
    assert first == mini_batches
    found = read(job, plan)
    assert [mini_batch.number for mini_batch in found] == list(range(mini_batches))
    assert [name for mini_batch in found for name in mini_batch.names] == names(items)
    assert [len(mini_batch.items) for mini_batch in found[:-1]] == [size] * (mini_batches - 1)
    assert sum(shard.items for shard in plan.shards) == items
    assert [shard.items for shard in plan.shards] == [
        sum(len(m.items) for m in found[shard.first : shard.first + shard.count]) for shard in plan.shards
    ]


def test_items_are_paths_below_the_root(job: Folder) -> None:
    plan = make_plan(job, "/data", ["a b.csv", "x/y.csv"], 10)
    items = [LocalItem(f"/data/{name}", name, name) for name in ("a b.csv", "x/y.csv")]
    assert read(job, plan) == [MiniBatch(0, items)]


def test_odd_file_names_survive(job: Folder) -> None:
    odd = ["two\nlines", "\r", "\u2028", '"quoted"', os.fsdecode(b"caf\xe9"), "☃"]
    plan = make_plan(job, "/data", odd, 2)
    assert [name for mini_batch in read(job, plan) for name in mini_batch.names] == odd


def test_load_gives_what_was_made_or_nothing(job: Folder) -> None:
    assert Plan.load(job) is None
    plan = make_plan(job, "/data", names(5), 2)
    assert Plan.load(job) == plan
    assert job.files() == [INDEX, LINES]


def test_planning_again_after_it_was_broken_off(job: Folder) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        make_plan(job, "/data", broken(), 1)
    assert Plan.load(job) is None
    assert job.files() == []
    job.put(LINES, b"what a killed run left")
    plan = make_plan(job, "/data", ["a", "b"], 1)
    assert [m.names for m in read(job, plan)] == [["a"], ["b"]]


def test_names_of_shards(job: Folder) -> None:
    assert shard_name(make_plan(job, "/", names(3), 1).shards[2]) == "mini-batch 2"
    assert shard_name(make_plan(job, "/", names(2500), 1).shards[1]) == "mini-batches 2-4"


def test_pending_are_the_shards_that_lack_something(job: Folder) -> None:
    plan = make_plan(job, "/", names(2500), 1)
    assert list(pending(plan, set())) == plan.shards
    assert list(pending(plan, set(range(2500)))) == []
    assert [shard.number for shard in pending(plan, set(range(2500)) - {3, 2499})] == [1, 999]
