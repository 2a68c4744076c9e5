"""The plan of a job: its items packed into mini-batches, and those into shards, written as a file.

`plan.jsonl` has one line for each mini-batch, its items. `plan.json` says where each shard's lines are, so that a
worker reads only its own. No list of files ever travels as a parameter.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from itertools import accumulate
from typing import Any

from pydantic import BaseModel

from ..scoring.errors import JobFailed
from ..scoring.items import Item, MiniBatch, Piece
from ..scoring.storage import Folder

LINES, INDEX = "plan.jsonl", "plan.json"
TASK_RUNS = 1000
"""At most so many shards a job: Prefect's event queue drops what comes beyond 10,000 events, two a task run."""
SHARED, FEWEST, ROUNDS = 100, 250, 16
"""More mini-batches than that share shards: so many each, in at least so many shards, and so many for each process that
scores, lest some are still busy when others have nothing left to do. A task run costs as much as 20 mini-batches."""
FILE_COST = 64 * 1024
"""What opening a file costs beside its bytes, in bytes: decides only what is scored first, and how shards are cut."""


class Source(BaseModel):
    """A folder that items are named in.

    `label` stands in front of their names, where there are several sources.
    """

    reference: str
    label: str = ""

    def item_name(self, path: str) -> str:
        """What an item of that path in the folder is called in the job."""
        return f"{self.label}/{path}" if self.label else path


class Shard(BaseModel):
    """A run of mini-batches [first, first + count), in bytes [start, end) of plan.jsonl; `cost` in bytes to score."""

    number: int
    first: int
    count: int
    items: int
    start: int
    end: int
    cost: int = 0


class Plan(BaseModel):
    """`items` files and pieces of files in `mini_batches` mini-batches, in `shards`."""

    sources: list[Source]
    items: int
    mini_batches: int
    pieces: int = 0
    """How many of the items are pieces of files."""
    remote: bool = False
    """Whether some of them lie elsewhere than on this machine."""
    shards: list[Shard]

    @property
    def staged(self) -> bool:
        """Whether workers bring items to their machine before they score them."""
        return self.remote or self.pieces > 0

    @property
    def unit(self) -> str:
        """What items are, for people."""
        return "pieces" if self.pieces == self.items else "files and pieces" if self.pieces else "files"

    def read(self, job: Folder, shard: Shard) -> Iterator[MiniBatch]:
        """The mini-batches of one shard, in order. Raises JobFailed where the plan is there no more."""
        try:
            lines = job.read(LINES, shard.start, shard.end).splitlines()
        except FileNotFoundError:
            raise JobFailed(f"somebody has deleted {job.url} while the job ran: call the endpoint again") from None
        for number, line in enumerate(lines, shard.first):
            yield MiniBatch(number, [self._item(*fields) for fields in json.loads(line)])

    def _item(self, path: str, size: int | None, source: int = 0, *piece: int | None) -> Item:
        name = self.sources[source].item_name(path)
        if not piece:
            return Item(name, path, source, size)
        file_size, *numbers = piece
        return Item(name, path, source, size, Piece(*(int(number or 0) for number in numbers)), file_size)

    @classmethod
    def load(cls, job: Folder) -> Plan | None:
        """The plan in a job's folder, or None when it was not finished."""
        try:
            return cls.model_validate_json(job.read(INDEX))
        except FileNotFoundError:
            return None


def make_plan(
    job: Folder, sources: list[Source], mini_batches: Iterable[list[Item]], remote: bool, parallelism: int = 1
) -> Plan:
    """Write the mini-batches' items, and return the plan.

    Args:
        job: the job's folder.
        sources: by Item.source.
        mini_batches: the items of each, in the order of the output.
        remote: whether a source lies elsewhere than on this machine.
        parallelism: processes that score at the same time.

    Up to 1,000 mini-batches have a shard each, so that each is a row in the UI; more of them share 250 to 1,000 shards,
    each of about the same cost.
    """
    job.remove(LINES)  # left by a run that was killed while it planned
    ends, counts, costs, pieces = array("Q"), array("Q"), array("Q"), 0
    with job.create_stream(LINES) as stream:
        end = 0
        for items in mini_batches:
            line = json.dumps([_fields(item) for item in items], separators=(",", ":")).encode() + b"\n"
            stream.write(line)
            end += len(line)
            ends.append(end)
            counts.append(len(items))
            costs.append(sum((item.size or 0) + FILE_COST for item in items))
            pieces += sum(item.piece is not None for item in items)
    plan = Plan(
        sources=sources,
        items=sum(counts),
        mini_batches=len(ends),
        pieces=pieces,
        remote=remote,
        shards=list(_shards(ends, counts, costs, _shard_count(len(ends), parallelism))),
    )
    job.put(INDEX, plan.model_dump_json().encode())
    return plan


def _fields(item: Item) -> list[Any]:
    """As short as can be: there may be a million."""
    if item.piece is not None:
        return [item.path, item.size, item.source, item.file_size, *astuple(item.piece)]
    return [item.path, item.size, item.source] if item.source else [item.path, item.size]


def _shard_count(mini_batches: int, parallelism: int) -> int:
    if mini_batches <= TASK_RUNS:
        return mini_batches
    return min(TASK_RUNS, max(mini_batches // SHARED, FEWEST, ROUNDS * parallelism))


def _shards(ends: array[int], counts: array[int], costs: array[int], shards: int) -> Iterator[Shard]:
    upto, first = list(accumulate(costs)), 0
    for number in range(shards):
        # At least one mini-batch for this shard, and for each that follows.
        last = min(
            max(bisect_left(upto, upto[-1] * (number + 1) // shards) + 1, first + 1), len(ends) - (shards - number - 1)
        )
        yield Shard(
            number=number,
            first=first,
            count=last - first,
            items=sum(counts[first:last]),
            start=ends[first - 1] if first else 0,
            end=ends[last - 1],
            cost=upto[last - 1] - (upto[first - 1] if first else 0),
        )
        first = last


def shard_name(shard: Shard) -> str:
    """`mini-batch 7` or `mini-batches 70-79`, counted from 0 as in errors.jsonl."""
    if shard.count == 1:
        return f"mini-batch {shard.first}"
    return f"mini-batches {shard.first}-{shard.first + shard.count - 1}"
