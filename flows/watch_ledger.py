"""What a watch has seen: a log of batches that only grows, so that no file is in two, whoever watches at the same time.

<datastore>/watches/<digest>/batches/<block>/<number>.json   the files of a batch, and its id
                             done/<block>/<number>.json      one that its event and its jobs were made of
                             seen/<block>                    digests of all files up to the end of a block of batches

A number is given once, by an atomic create; whoever creates it has read all before it. Files are 16 bytes each in
memory and in `seen/`; a watch that starts reads the newest of those and the batches after it, a hundred or two.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, Field

from ..scoring import scratch
from ..scoring.storage import Folder

FOLDER = "watches"
BLOCK = 100
"""Batches between one `seen/` and the next."""
TAKEN_OVER = timedelta(minutes=2)
"""After that time a batch that its watcher did not finish is finished by another."""
_DIGEST = 16


class Arrival(BaseModel):
    """A file, complete: its path below the place, bytes, and what changes when it does."""

    name: str
    size: int | None
    stamp: str | None

    @property
    def digest(self) -> bytes:
        text = json.dumps([self.name, self.size, self.stamp])
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest()


class Batch(BaseModel):
    """Files that arrived together."""

    id: UUID = Field(default_factory=uuid4)
    """Of its event, and what makes its jobs the same ones when they are asked for again."""
    number: int
    files: list[Arrival]
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    watcher: UUID
    node: str = Field(default_factory=scratch.node)

    def is_left_to(self, watcher: UUID) -> bool:
        """Whether this watcher is to finish it: it is its own, or who made it is gone."""
        return (
            self.watcher == watcher or datetime.now(UTC) - self.created > TAKEN_OVER or not scratch.may_live(self.node)
        )


class Ledger:
    """The log of one watch.

    Args:
        folder: of the watch.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.watcher = uuid4()
        self._seen: set[bytes] = set()
        self._pending: dict[int, Batch] = {}
        self._compacted = self._read_snapshot()
        self._next = self._compacted * BLOCK
        self._done = self._read_done()

    def _read_snapshot(self) -> int:
        """Take what was seen; returns the blocks of batches that this covers."""
        names = (self.folder / "seen").names()
        if not names:
            return 0
        data = self.folder.read(f"seen/{names[-1]}")
        self._seen = {data[at : at + _DIGEST] for at in range(0, len(data), _DIGEST)}
        return int(names[-1]) + 1

    def _read_done(self) -> set[int]:
        """The batches after the snapshot that are finished."""
        done: set[int] = set()
        for block in itertools.count(self._next // BLOCK):
            names = (self.folder / f"done/{block:06d}").names()
            done.update(int(name.removesuffix(".json")) for name in names)
            if not names and not (self.folder / f"batches/{block:06d}").names():
                return done
        raise AssertionError("unreachable")

    def refresh(self) -> None:
        """Read what other watchers have added."""
        while True:
            try:
                batch = Batch.model_validate_json(self.folder.read(_batch(self._next)))
            except FileNotFoundError:
                return
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        self._seen.update(file.digest for file in batch.files)
        if batch.number not in self._done:
            self._pending[batch.number] = batch
        self._next = batch.number + 1

    def is_new(self, file: Arrival) -> bool:
        """Whether no batch has the file, as it is now."""
        return file.digest not in self._seen

    def record(self, files: Iterable[Arrival]) -> Batch | None:
        """Write down a batch of those files that are still new; None when another watcher has them all."""
        while True:
            new = [file for file in files if self.is_new(file)]
            if not new:
                return None
            batch = Batch(number=self._next, files=new, watcher=self.watcher)
            try:
                self._create(_batch(batch.number), batch.model_dump_json().encode())
            except FileExistsError:
                self.refresh()
                continue
            self._add(batch)
            return batch

    def left(self) -> Sequence[Batch]:
        """Batches that this watcher is to finish: its own, and those of watchers that are gone."""
        for number in [number for number, batch in self._pending.items() if batch.watcher != self.watcher]:
            if self.folder.exists(_done(number)):
                self._close(number)
        return [batch for batch in self._pending.values() if batch.is_left_to(self.watcher)]

    def finish(self, batch: Batch, jobs: Sequence[str]) -> None:
        """Note that the batch has been told of, and that these are its jobs."""
        about: dict[str, Any] = {"batch": str(batch.id), "jobs": list(jobs), "at": datetime.now(UTC).isoformat()}
        try:
            self._create(_done(batch.number), json.dumps(about).encode())
        except FileExistsError:
            pass  # by who took it over, with the same ids
        self._close(batch.number)
        self._compact()

    def _close(self, number: int) -> None:
        self._done.add(number)
        self._pending.pop(number, None)

    def _compact(self) -> None:
        """Write what was seen up to the end of the last block of which every batch is done."""
        blocks: int = min([self._next, *self._pending]) // BLOCK
        if blocks == self._compacted:
            return
        self._compacted = blocks
        # Files of later batches may be among them: those who read this will read them once more.
        try:
            self._create(f"seen/{blocks - 1:06d}", b"".join(self._seen))
        except FileExistsError:
            return
        self._done = {number for number in self._done if number >= blocks * BLOCK}
        for name in (self.folder / "seen").names()[:-2]:  # one who starts may be about to read the last but one
            self.folder.remove(f"seen/{name}")

    def _create(self, name: str, data: bytes) -> None:
        (self.folder / name.rpartition("/")[0]).make()
        self.folder.create(name, data)


def _batch(number: int) -> str:
    return f"batches/{number // BLOCK:06d}/{number:08d}.json"


def _done(number: int) -> str:
    return f"done/{number // BLOCK:06d}/{number:08d}.json"
