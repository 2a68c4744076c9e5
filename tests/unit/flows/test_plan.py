"""The plan: mini-batches and shards cover every item once, in order, and are read back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_batch.flows.mapping import pending
from prefect_batch.flows.plan import INDEX, LINES, Plan, Shard, Source, make_plan, shard_name
from prefect_batch.scoring.items import Item, MiniBatch, Piece
from prefect_batch.scoring.storage import Folder


@pytest.fixture
def job(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "job"))


def names(count: int) -> list[str]:
    return [f"folder/ünïcode {number:05d}.csv" for number in range(count)]


def made(job: Folder, paths: list[str], size: int) -> Plan:
    """A plan of files of one folder, `size` in each mini-batch."""
    items = [Item(path, path, size=100) for path in paths]
    return make_plan(
        job, [Source(reference="/data")], (items[at : at + size] for at in range(0, len(items), size)), remote=False
    )


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
    plan = made(job, names(items), size)
    mini_batches = -(-items // size)
    assert (plan.items, plan.mini_batches, plan.staged, plan.unit) == (items, mini_batches, False, "files")
    assert len(plan.shards) == (mini_batches if mini_batches <= 1000 else 250)
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
    assert [item.name for mini_batch in found for item in mini_batch.items] == names(items)
    assert [len(mini_batch.items) for mini_batch in found[:-1]] == [size] * (mini_batches - 1)
    assert sum(shard.items for shard in plan.shards) == items
    assert [shard.items for shard in plan.shards] == [
        sum(len(m.items) for m in found[shard.first : shard.first + shard.count]) for shard in plan.shards
    ]


def test_items_come_back_as_they_were(job: Folder) -> None:
    sources = [Source(reference="/data", label="here"), Source(reference="s3://bucket/x", label="there")]
    planned = [
        [Item("here/a b.csv", "a b.csv", 0, 12), Item("there/x/y.png", "x/y.png", 1, None)],
        [Item("there/big.csv", "big.csv", 1, 40, Piece(10, 50, 3, 7, 5), 1000)],
    ]
    plan = make_plan(job, sources, planned, remote=True)
    assert read(job, plan) == [MiniBatch(number, items) for number, items in enumerate(planned)]
    assert (plan.items, plan.pieces, plan.staged, plan.unit) == (3, 1, True, "files and pieces")


@pytest.mark.parametrize(
    ("mini_batches", "parallelism", "shards"),
    [(1001, 1, 250), (10_000, 2, 250), (10_000, 40, 640), (10_000, 500, 1000), (60_000, 2, 600), (120_000, 2, 1000)],
)
def test_more_than_a_thousand_mini_batches_share_shards(
    job: Folder, mini_batches: int, parallelism: int, shards: int
) -> None:
    planned = ([Item(name, name, size=1)] for name in names(mini_batches))
    plan = make_plan(job, [Source(reference="/data")], planned, remote=False, parallelism=parallelism)
    assert len(plan.shards) == shards


def test_shards_of_many_mini_batches_cost_about_the_same(job: Folder) -> None:
    """Log-normal sizes, as of real files: without regard to them some shards would cost many times others."""
    drawn = random.Random(7)
    planned = [[Item(name, name, size=int(drawn.lognormvariate(13, 1.5)))] for name in names(20_000)]
    plan = make_plan(job, [Source(reference="/data")], planned, remote=False)
    costs = sorted(shard.cost for shard in plan.shards)
    largest = max(item.size or 0 for [item] in planned)
    assert len(costs) == 250 and sum(costs) == sum((item.size or 0) + 65_536 for [item] in planned)
    assert costs[-1] <= sum(costs) / 250 + largest + 65_536
    assert [m.items for m in read(job, plan)] == planned


@pytest.mark.parametrize("heavy", [0, 1500, 2999])
def test_one_heavy_mini_batch_leaves_every_shard_something(job: Folder, heavy: int) -> None:
    planned = [[Item(name, name, size=10**12 if at == heavy else 1)] for at, name in enumerate(names(3000))]
    plan = make_plan(job, [Source(reference="/data")], planned, remote=False)
    assert len(plan.shards) == 250 and all(shard.count >= 1 for shard in plan.shards)
    assert sum(shard.count for shard in plan.shards) == 3000


def test_odd_file_names_survive(job: Folder) -> None:
    odd = ["two\nlines", "\r", "\u2028", '"quoted"', os.fsdecode(b"caf\xe9"), "☃"]
    plan = made(job, odd, 2)
    assert [item.path for mini_batch in read(job, plan) for item in mini_batch.items] == odd


def test_load_gives_what_was_made_or_nothing(job: Folder) -> None:
    assert Plan.load(job) is None
    plan = made(job, names(5), 2)
    assert Plan.load(job) == plan
    assert job.files() == [INDEX, LINES]


def test_planning_again_after_it_was_broken_off(job: Folder) -> None:
    def broken() -> Iterator[list[Item]]:
        yield [Item("a", "a")]
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        make_plan(job, [], broken(), remote=False)
    assert Plan.load(job) is None
    assert job.files() == []
    job.put(LINES, b"what a killed run left")
    plan = made(job, ["a", "b"], 1)
    assert [[item.name for item in m.items] for m in read(job, plan)] == [["a"], ["b"]]


def test_names_of_shards(job: Folder) -> None:
    assert shard_name(made(job, names(3), 1).shards[2]) == "mini-batch 2"
    assert shard_name(made(job, names(2500), 1).shards[1]) == "mini-batches 10-19"


def test_pending_are_the_shards_that_lack_something(job: Folder) -> None:
    plan = made(job, names(2500), 1)
    assert list(pending(plan, set())) == plan.shards
    assert list(pending(plan, set(range(2500)))) == []
    assert [shard.number for shard in pending(plan, set(range(2500)) - {3, 2499})] == [0, 249]


def test_shards_that_cost_more_come_first() -> None:
    costs = [5, 90, 4, 30]
    shards = [Shard(number=n, first=n, count=1, items=1, start=0, end=0, cost=cost) for n, cost in enumerate(costs)]
    plan = Plan(sources=[], items=4, mini_batches=4, shards=shards)
    assert [shard.number for shard in pending(plan, set())] == [1, 3, 0, 2]
    assert [shard.number for shard in pending(plan, {1})] == [3, 0, 2]
