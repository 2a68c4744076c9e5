"""Mapping shards over processes: a bounded window of submissions, and the running count of failures.

What executes a shard is a Mapper: Dask through Prefect (dask_mapper.py) or threads of this process (local.py).
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ..scoring.shard import Receipt
from .plan import Plan, Shard


class Mapper(Protocol):
    """Executes shards."""

    ahead: int
    """Shards submitted and not finished at any time."""

    def submit(self, shard: Shard, done: Callable[[], None]) -> Any:
        """Start a shard; `done` is called, in any thread, when it has ended. Returns a handle."""
        ...

    def receipt(self, handle: Any, shard: Shard) -> Receipt:
        """The ended shard's receipt; what it held is released. Raises what ended it."""
        ...

    def abort(self) -> None:
        """Stop all that runs, at once."""
        ...

    def release(self) -> None:
        """Let the scoring processes go."""
        ...


@dataclass
class Tally:
    """Sums over the job so far, against what it may lose."""

    items_total: int
    mini_batches_total: int
    failures_allowed: float
    items: int = 0
    failed: int = 0
    mini_batches: int = 0
    rows: int = 0
    retried: int = 0
    busy_seconds: float = 0.0

    def add(self, receipt: Receipt) -> None:
        self.items += receipt.items
        self.failed += receipt.failed
        self.mini_batches += receipt.mini_batches
        self.rows += receipt.rows
        self.retried += receipt.retried
        self.busy_seconds += receipt.busy_seconds

    @property
    def exceeded(self) -> bool:
        """Whether more items failed than the job survives; counted over the whole input, never a mini-batch."""
        return self.failed > self.failures_allowed


Report = Callable[[Tally], None]
"""Called after each shard."""


def map_shards(mapper: Mapper, shards: Iterable[Shard], tally: Tally, report: Report) -> None:
    """Run all shards; stop as soon as the tally is exceeded, keeping what is finished.

    Raises what a shard raises: InitFailed, or an error of the machinery.
    """
    try:
        for handle, shard in _bounded(mapper, shards):
            tally.add(mapper.receipt(handle, shard))
            report(tally)
            if tally.exceeded:
                break
    except BaseException:
        mapper.abort()
        raise
    if tally.exceeded:
        mapper.abort()
    else:
        mapper.release()


def _bounded(mapper: Mapper, shards: Iterable[Shard]) -> Iterator[tuple[Any, Shard]]:
    """Handles of ended shards as they end, with at most `mapper.ahead` in flight: one callback each, whatever their
    number."""
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    flying: dict[int, tuple[Any, Shard]] = {}
    for shard in shards:
        if len(flying) >= mapper.ahead:
            yield flying.pop(ended.get())
        # The callback may come before submit() returns, hence the number instead of the handle.
        flying[shard.number] = (mapper.submit(shard, partial(ended.put, shard.number)), shard)
    while flying:
        yield flying.pop(ended.get())


def pending(plan: Plan, done: set[int]) -> Iterator[Shard]:
    """The shards of which some mini-batch is not done."""
    for shard in plan.shards:
        if not all(number in done for number in range(shard.first, shard.first + shard.count)):
            yield shard
