"""Which files of a place are new and complete: seen twice, some time apart, with the same size and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from ..scoring.storage import Folder
from .inputs import Wanted, hidden
from .watch_ledger import Arrival

NAMES_BYTES = 200_000
"""Of the names of a batch: they travel in an event and in a call, which Prefect takes up to 500 kB of."""


class Arrivals:
    """Looks at a folder again and again.

    Args:
        folder: to look at; it need not exist.
        wanted: which of its files count.
        settle: seconds that a file must not have changed for.
        clock: gives seconds.
    """

    def __init__(
        self, folder: Folder, wanted: Wanted, settle: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._wanted, self._settle, self._clock = folder, wanted, settle, clock
        self._unchanged_since: dict[str, tuple[Arrival, float]] = {}

    @property
    def settling(self) -> bool:
        """Whether the last look met files that may not be complete."""
        return bool(self._unchanged_since)

    def look(self, is_new: Callable[[Arrival], bool]) -> list[Arrival]:
        """New files that are complete, in the order of a walk. Raises PermissionError, StorageFailed."""
        now = self._clock()
        complete: list[Arrival] = []
        waiting: dict[str, tuple[Arrival, float]] = {}
        for file in self._list():
            if not is_new(file):
                continue
            before, since = self._unchanged_since.get(file.name, (file, now))
            since = since if before == file else now
            if now - since >= self._settle:
                complete.append(file)
            else:
                waiting[file.name] = file, since
        self._unchanged_since = waiting
        return complete

    def _list(self) -> Iterator[Arrival]:
        try:
            for found in self._folder.walk(hidden):
                broken = found.size is None and self._folder.is_local  # a link that leads nowhere, so far
                if self._wanted(found.name) and not broken:
                    yield Arrival(name=found.name, size=found.size, stamp=found.stamp)
        except FileNotFoundError:
            return  # nothing has arrived yet


def in_batches(files: Sequence[Arrival], max_files: int) -> Iterator[list[Arrival]]:
    """Cut files into batches of at most so many, whose names can travel."""
    batch: list[Arrival] = []
    size = 0
    for file in files:
        length = len(file.name.encode()) + 8
        if batch and (len(batch) == max_files or size + length > NAMES_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += length
    if batch:
        yield batch
