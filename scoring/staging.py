"""Bringing the files of a mini-batch to this machine: ahead of time, a bounded number at once, on a bounded disk.

A file of a local folder is used where it lies. One on other storage is fetched, and a piece of a large file is cut out
of it, into a scratch folder that is given back as soon as the mini-batch is scored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar
from uuid import uuid4

from .contract import ItemError
from .errors import BatchError, DiskFull, JobReleased, StorageFailed, Unreadable
from .items import Item, LocalItem, Piece
from .storage import Folder
from .traces import describe

FILES = "PREFECT_BATCH_STAGING_FILES"
"""Environment variable of a worker: files that it fetches at the same time from one storage; 16 by default."""
DISK = "PREFECT_BATCH_STAGING_BYTES"
"""Environment variable of a worker: bytes of its disk that staged files of a job may take."""
_MOST = 8 * 1024**3

M = TypeVar("M")


class Budget:
    """A number of bytes that many share: who asks first is served first, and may have to wait."""

    def __init__(self, total: int) -> None:
        self.total = self.free = max(1, total)
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, amount: int) -> int:
        """Wait for `amount`; returns what was taken."""
        amount, ticket = min(amount, self.total), object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self.free >= amount)
            self._waiting.popleft()
            self.free -= amount
            self._changed.notify_all()
        return amount

    def give_back(self, amount: int) -> None:
        with self._changed:
            self.free += amount
            self._changed.notify_all()


@dataclass
class Staged:
    """Items that are on this machine, and what became of those that are not."""

    items: list[LocalItem]
    errors: list[ItemError] = field(default_factory=list[ItemError])
    give_back: Callable[[], None] = lambda: None
    """Deletes what was staged; to be called once."""


class Staging:
    """Stages the items of one job on one worker.

    Args:
        sources: the folders that items are named in, by Item.source.
        scratch: local folder for what is fetched; made when needed.
        unchanged: whether a file must still have the size that it was planned with; a file in pieces always must.
        workers: that may share this disk.
        budget: bytes of disk; by default a share of half of what is free, at most 8 GiB, or what
            PREFECT_BATCH_STAGING_BYTES says.
    """

    def __init__(
        self, sources: list[Folder], scratch: Path, unchanged: bool, workers: int = 1, budget: int | None = None
    ) -> None:
        self._sources, self._scratch, self._unchanged = sources, scratch, unchanged
        self._at_once = int(os.environ.get(FILES, "16"))
        self._budget = Budget(_default_budget(scratch, workers) if budget is None else budget)
        self._stopped = threading.Event()
        self._under_way, self._ended = 0, threading.Condition()

    def stage(self, items: list[Item]) -> Staged:
        """Bring items here; one that cannot be brought is an error of its own. Waits for room on the disk.

        Raises JobReleased once it is stopped, and StorageFailed (DiskFull) where not one item is to blame.
        """
        with self._counted():
            return self._stage(items)

    def is_in_place(self, items: list[Item]) -> bool:
        """Whether all are used where they lie."""
        return not any(map(self._is_away, items))

    def stop(self, patience: float = 10.0) -> None:
        """Bring nothing more. Returns when nothing is under way, or after so many seconds.

        For the end of a job that was cancelled or has failed: files that go on arriving would outlive its folder.
        """
        self._stopped.set()
        with self._ended:
            self._ended.wait_for(lambda: not self._under_way, patience)

    @contextlib.contextmanager
    def _counted(self) -> Generator[None]:
        with self._ended:
            self._under_way += 1
        try:
            yield
        finally:
            with self._ended:
                self._under_way -= 1
                self._ended.notify_all()

    def _stage(self, items: list[Item]) -> Staged:
        away = [item for item in items if self._is_away(item)]
        folder, held = self._scratch / uuid4().hex[:12], 0
        if away:
            held = self._budget.take(sum(item.size or 0 for item in away))

        def give_back() -> None:
            if away:
                shutil.rmtree(folder, ignore_errors=True)
                self._budget.give_back(held)

        try:
            brought = iter(self._bring(away, folder))
            found = [next(brought) if self._is_away(item) else self._in_place(item) for item in items]
            if self._stopped.is_set():
                raise JobReleased
        except BaseException:
            give_back()
            raise
        staged = Staged([], [], give_back)
        for item, path in zip(items, found, strict=True):
            if isinstance(path, StorageFailed) and not self._is_its_own(item, path):
                give_back()
                raise path
            if isinstance(path, Exception):
                staged.errors.append(ItemError([item.label], *describe(path)))
            else:
                first_row = item.piece.first_row if item.piece else 0
                staged.items.append(LocalItem(path, item.label, item.name, first_row))
        return staged

    def _is_its_own(self, item: Item, error: StorageFailed) -> bool:
        """Whether an error is the item's. It is not where this machine's disk is full, or the storage does not even
        say that the item is there: then the job is to end, and go on from here later, rather than count all as failed.
        """
        if isinstance(error, DiskFull):
            return False
        try:
            self._sources[item.source].stat(item.path)
        except StorageFailed:
            return False
        except OSError:
            pass
        return True

    def _is_away(self, item: Item) -> bool:
        return item.piece is not None or not self._sources[item.source].is_local

    def _in_place(self, item: Item) -> str | Exception:
        source = self._sources[item.source]
        try:
            size = source.stat(item.path).size
            if self._unchanged:
                _check(item, size, item.size)
        except (OSError, BatchError) as error:
            return error
        return os.path.join(source.path, item.path)  # noqa: PTH118

    def _bring(self, items: list[Item], folder: Path) -> list[str | Exception]:
        targets = _targets(items, folder)
        outcome: list[str | Exception] = [str(target) for target in targets]
        whole: dict[int, list[int]] = {}
        for at, item in enumerate(items):
            if item.piece is None:
                whole.setdefault(item.source, []).append(at)
                continue
            if self._stopped.is_set():
                raise JobReleased
            try:
                outcome[at] = self._cut(item, targets[at])
            except Exception as error:
                outcome[at] = error
        for source, positions in whole.items():
            names, paths = [items[at].path for at in positions], [targets[at] for at in positions]
            errors = self._sources[source].fetch(names, paths, self._at_once, self._stopped.is_set)
            for at, error in zip(positions, errors, strict=True):
                outcome[at] = error or self._checked(items[at], targets[at])
        return outcome

    def _cut(self, item: Item, target: Path) -> str:
        assert item.piece is not None
        source = self._sources[item.source]
        _check(item, source.stat(item.path).size, item.file_size)
        target = target.with_name(_piece_name(target, item.piece))
        target.parent.mkdir(parents=True, exist_ok=True)
        from .splitting import cut  # numpy and pyarrow, which most jobs do without

        cut(source, item.path, item.piece, target)
        return str(target)

    def _checked(self, item: Item, target: Path) -> str | Exception:
        try:
            if self._unchanged:
                _check(item, target.stat().st_size, item.size)
        except Unreadable as error:
            return error
        return str(target)


def _targets(items: list[Item], folder: Path) -> list[Path]:
    """Where each is brought.

    An object store may hold `x.csv` beside `x.csv/a.csv`, which no disk does: such a file goes into another tree, in
    which all lie equally deep.
    """
    paths = [inside(item.path) for item in items]
    above = {(item.source, parent) for item, path in zip(items, paths, strict=True) for parent in path.parents}
    return [
        folder / (f"{item.source}-{len(path.parts)}" if (item.source, path) in above else str(item.source)) / path
        for item, path in zip(items, paths, strict=True)
    ]


def inside(path: str) -> PurePosixPath:
    """The path as one below any folder: an object's key may be `a//b` or `../b`."""
    odd = {"": "%", ".": "%2E", "..": "%2E%2E"}
    return PurePosixPath(*(odd.get(part, part) for part in path.split("/")))


def _piece_name(path: Path, piece: Piece) -> str:
    """`big.rows-5000-9999.csv`, within the 255 bytes that a name may have."""
    rows = f".rows-{piece.first_row}-{piece.first_row + piece.rows - 1}{path.suffix}"
    return os.fsdecode(os.fsencode(path.stem)[: 255 - len(os.fsencode(rows))]) + rows


def _check(item: Item, size: int | None, planned: int | None) -> None:
    if None not in (size, planned) and size != planned:
        raise Unreadable(f"{item.name} has {size} bytes, and had {planned} when the job was planned: run the job anew")


def _default_budget(scratch: Path, workers: int) -> int:
    if given := os.environ.get(DISK):
        return int(given)
    above = next(folder for folder in (scratch, *scratch.parents) if folder.exists())
    return min(_MOST, shutil.disk_usage(above).free // (2 * workers))


def ahead(
    staging: Staging, mini_batches: Iterable[M], items_of: Callable[[M], list[Item]]
) -> Generator[tuple[M, Staged]]:
    """Each mini-batch and its staged items, in order; the next is fetched while this one is used, and given back after.

    To be closed by who ends early.
    """
    left = iter(mini_batches)
    with contextlib.ExitStack() as stack:
        pool: ThreadPoolExecutor | None = None

        def start() -> tuple[M, list[Item], Future[Staged] | None] | None:
            nonlocal pool
            for mini_batch in left:
                items = items_of(mini_batch)
                if staging.is_in_place(items):  # a thread would cost more than it saves
                    return mini_batch, items, None
                pool = pool or stack.enter_context(ThreadPoolExecutor(1, "staging"))
                return mini_batch, items, pool.submit(staging.stage, items)
            return None

        coming = start()
        try:
            while coming is not None:
                (mini_batch, items, future), coming = coming, None
                staged = staging.stage(items) if future is None else future.result()
                try:
                    coming = start()
                    yield mini_batch, staged
                finally:
                    staged.give_back()  # before what comes is waited for: it may be waiting for just this room
        finally:
            if coming is not None and coming[2] is not None:
                coming[2].result().give_back()
