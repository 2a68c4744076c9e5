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


class Suspected(Exception):
    """The workers that had a shard died, one after the other. Perhaps of another shard that they had beside it."""


class Mapper(Protocol):
    """Executes shards."""

    ahead: int
    """Shards submitted and not finished at any time."""

    def submit(self, shard: Shard, done: Callable[[], None]) -> Any:
        """Start a shard; `done` is called, in any thread, when it has ended. Returns a handle."""
        ...

    def receipt(self, handle: Any, shard: Shard, alone: bool) -> Receipt:
        """The ended shard's receipt; what it held is released.

        Args:
            handle: of the shard.
            shard: that has ended.
            alone: no other shard was there to blame for the death of workers.

        Raises Suspected (never for one that was alone), or what ended it.
        """
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
    began: float | None = None
    """When the first mini-batch was scored, in seconds since 1970; by the clock of its machine."""

    def add(self, receipt: Receipt) -> None:
        self.items += receipt.items
        self.failed += receipt.failed
        self.mini_batches += receipt.mini_batches
        self.rows += receipt.rows
        self.retried += receipt.retried
        self.busy_seconds += receipt.busy_seconds
        if receipt.began is not None:
            self.began = min(self.began or receipt.began, receipt.began)

    @property
    def exceeded(self) -> bool:
        """Whether more items failed than the job survives; counted over the whole input, never a mini-batch."""
        return self.failed > self.failures_allowed


Report = Callable[[Tally], None]
"""Called after each shard."""


def map_shards(mapper: Mapper, shards: Iterable[Shard], tally: Tally, report: Report) -> None:
    """Run all shards; stop as soon as the tally is exceeded, keeping what is finished.

    A shard that was on workers which died is run again at the end, alone: only then is it known to be the cause.
    Raises what a shard raises: InitFailed, or an error of the machinery.
    """
    try:
        suspects = _run(mapper, shards, tally, report, mapper.ahead, alone=False)
        if not tally.exceeded:
            _run(mapper, suspects, tally, report, ahead=1, alone=True)
    except BaseException:
        mapper.abort()
        raise
    if tally.exceeded:
        mapper.abort()
    else:
        mapper.release()


def _run(mapper: Mapper, shards: Iterable[Shard], tally: Tally, report: Report, ahead: int, alone: bool) -> list[Shard]:
    """Run shards until the tally is exceeded; returns those that are suspected."""
    suspects: list[Shard] = []
    for handle, shard in _bounded(mapper, shards, ahead):
        try:
            tally.add(mapper.receipt(handle, shard, alone))
        except Suspected:
            suspects.append(shard)
            continue
        report(tally)
        if tally.exceeded:
            break
    return suspects


def _bounded(mapper: Mapper, shards: Iterable[Shard], ahead: int) -> Iterator[tuple[Any, Shard]]:
    """Handles of ended shards as they end, with at most `ahead` in flight: one callback each, whatever their number."""
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    flying: dict[int, tuple[Any, Shard]] = {}
    for shard in shards:
        if len(flying) >= ahead:
            yield flying.pop(ended.get())
        # The callback may come before submit() returns, hence the number instead of the handle.
        flying[shard.number] = (mapper.submit(shard, partial(ended.put, shard.number)), shard)
    while flying:
        yield flying.pop(ended.get())


def pending(plan: Plan, done: set[int]) -> list[Shard]:
    """The shards of which some mini-batch is not done.

    Those that cost more, by powers of two, come first, so that no worker is left alone with a large one at the end.
    """
    left = [shard for shard in plan.shards if not all(shard.first + n in done for n in range(shard.count))]
    return sorted(left, key=lambda shard: -shard.cost.bit_length())
