"""The rows of a job's committed parts, read in plan order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ..scoring.parts import Located, Outcome
from ..scoring.storage import Folder

_READERS = 8
_AHEAD = 32 * 1024 * 1024

Chunks = list[tuple[Outcome, memoryview]]
"""Outcomes and their encoded rows."""


@dataclass
class _Read:
    """Neighbours in one part, which are read at once: bytes [start, end)."""

    name: str
    start: int
    end: int
    entries: list[Located]

    @property
    def size(self) -> int:
        return self.end - self.start


class CommittedRows:
    """The rows of a job's committed parts, in plan order; may be read several times.

    Eight reads or 32 MB are under way while the rows before them are used: a store answers each after a while only.
    """

    def __init__(self, job: Folder, located: list[Located]) -> None:
        self._job, self._located = job, located

    @property
    def columns(self) -> list[str]:
        """Of all mini-batches, in the order in which they first appear."""
        names = (name for at in self._located if at.outcome.rows for name in at.outcome.columns or [])
        return list(dict.fromkeys(names))

    def parts(self) -> Iterator[Chunks]:
        """The outcomes that have rows, those that are neighbours in one part together."""
        ahead: deque[tuple[_Read, Future[bytes]]] = deque()
        size = 0
        with ThreadPoolExecutor(_READERS) as pool:
            for read in self._reads():
                while ahead and (len(ahead) >= _READERS or size + read.size > _AHEAD):
                    size -= ahead[0][0].size
                    yield _chunks(*ahead.popleft())
                ahead.append((read, pool.submit(self._job.read, read.name, read.start, read.end)))
                size += read.size
            while ahead:
                yield _chunks(*ahead.popleft())

    def __iter__(self) -> Iterator[tuple[Outcome, memoryview]]:
        return itertools.chain.from_iterable(self.parts())

    def _reads(self) -> Iterator[_Read]:
        filled = (at for at in self._located if at.outcome.rows)
        for name, group in itertools.groupby(filled, key=lambda at: at.name):
            entries = list(group)
            start = min(at.offset for at in entries)
            yield _Read(name, start, max(at.offset + at.outcome.bytes for at in entries), entries)


def _chunks(read: _Read, done: Future[bytes]) -> Chunks:
    data = memoryview(done.result())
    starts = ((at.outcome, at.offset - read.start) for at in read.entries)
    return [(outcome, data[start : start + outcome.bytes]) for outcome, start in starts]
