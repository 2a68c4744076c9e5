"""The plan of a job: its items packed into mini-batches, and those into shards, written as a file.

`plan.jsonl` has one line for each mini-batch, the names of its items. `plan.json` says where each shard's lines are,
so that a worker reads only its own. No list of files ever travels as a parameter.
"""

from __future__ import annotations

import itertools
import json
import os
from array import array
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from ..scoring.items import LocalItem
from ..scoring.shard import MiniBatch
from ..scoring.storage import Folder

LINES, INDEX = "plan.jsonl", "plan.json"
TASK_RUNS = 1000
"""At most so many shards a job: Prefect's event queue drops what comes beyond 10,000 events, three a task run."""


class Shard(BaseModel):
    """A run of mini-batches [first, first + count), in bytes [start, end) of plan.jsonl."""

    number: int
    first: int
    count: int
    items: int
    start: int
    end: int


class Plan(BaseModel):
    """`items` files below `root`, in `mini_batches` mini-batches, in `shards`."""

    root: str
    items: int
    mini_batches: int
    shards: list[Shard]

    def read(self, job: Folder, shard: Shard) -> Iterator[MiniBatch]:
        """The mini-batches of one shard, in order."""
        lines = job.read(LINES, shard.start, shard.end).splitlines()
        for number, line in enumerate(lines, shard.first):
            names: list[str] = json.loads(line)
            yield MiniBatch(number, [LocalItem(os.path.join(self.root, name), name, name) for name in names])  # noqa: PTH118

    @classmethod
    def load(cls, job: Folder) -> Plan | None:
        """The plan in a job's folder, or None when it was not finished."""
        try:
            return cls.model_validate_json(job.read(INDEX))
        except FileNotFoundError:
            return None


def make_plan(job: Folder, root: str, names: Iterable[str], mini_batch_size: int) -> Plan:
    """Pack items in their order into mini-batches of `mini_batch_size`, write the plan and return its index.

    Up to 1,000 mini-batches have a shard each, so that each is a row in the UI; above that shards grow.
    """
    job.remove(LINES)  # left by a run that was killed while it planned
    ends, items = array("Q"), 0
    with job.create_stream(LINES) as stream:
        end, remaining = 0, iter(names)
        while batch := list(itertools.islice(remaining, mini_batch_size)):
            line = json.dumps(batch).encode() + b"\n"
            stream.write(line)
            end += len(line)
            items += len(batch)
            ends.append(end)
    plan = Plan(root=root, items=items, mini_batches=len(ends), shards=list(_shards(ends, items, mini_batch_size)))
    job.put(INDEX, plan.model_dump_json().encode())
    return plan


def _shards(ends: array[int], items: int, size: int) -> Iterator[Shard]:
    count = len(ends)
    shards = min(count, TASK_RUNS)
    for number in range(shards):
        first, last = number * count // shards, (number + 1) * count // shards
        yield Shard(
            number=number,
            first=first,
            count=last - first,
            items=min(last * size, items) - first * size,
            start=ends[first - 1] if first else 0,
            end=ends[last - 1],
        )


def shard_name(shard: Shard) -> str:
    """`mini-batch 7` or `mini-batches 70-79`, counted from 0 as in errors.jsonl."""
    if shard.count == 1:
        return f"mini-batch {shard.first}"
    return f"mini-batches {shard.first}-{shard.first + shard.count - 1}"
