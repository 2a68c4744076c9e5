"""Part files: the ledger of a job.

A part holds the results of one or more mini-batches of one shard and says what became of each item. It is committed by
one atomic put; what is in a committed part is done, what is in none is to do. A part is one line of JSON, its header,
and behind it the encoded rows of its mini-batches, one after the other.

    parts/<shard>/<first mini-batch>-<last>-<run>-<random>.part
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from .contract import ItemError
from .storage import Folder

FOLDER = "parts"
_NAME = re.compile(r"(?:.*/)?(\d+)/(\d+)-(\d+)-(\d+)-[0-9a-f]+\.part")
_HEADER_GUESS = 64 * 1024
_LISTERS = 16


@dataclass
class Outcome:
    """What became of one mini-batch."""

    mini_batch: int
    items: int
    failed: int = 0
    rows: int = 0
    columns: list[str] | None = None
    bytes: int = 0
    attempts: int = 1
    seconds: float = 0.0
    began: float = 0.0
    """When run() was first called, in seconds since 1970."""
    process: str = ""
    errors: list[ItemError] = field(default_factory=list[ItemError])

    @property
    def succeeded(self) -> bool:
        """Whether run() gave a result at all, for whatever number of items."""
        return self.failed < self.items

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Outcome:
        errors = [ItemError(**error) for error in data["errors"]]
        return cls(**{key: value for key, value in data.items() if key != "errors"}, errors=errors)


@dataclass
class Located:
    """An outcome and where its rows lie: bytes [offset, offset + outcome.bytes) of the part `name`."""

    name: str
    offset: int
    run: int
    outcome: Outcome


class PartWriter:
    """Collects outcomes of one shard and commits them once a second of work, or 8 MB, would be lost with them."""

    SECONDS, BYTES = 1.0, 8 * 1024 * 1024

    def __init__(self, job: Folder, shard: int, run: int) -> None:
        self._job, self._shard, self._run = job, shard, run
        self._reset()

    def _reset(self) -> None:
        self._outcomes: list[Outcome] = []
        self._data: list[bytes] = []
        self._size, self._since = 0, time.monotonic()

    def add(self, outcome: Outcome, data: bytes) -> None:
        """Add one mini-batch's outcome and its encoded rows."""
        outcome.bytes = len(data)
        self._outcomes.append(outcome)
        self._data.append(data)
        self._size += len(data)
        if time.monotonic() - self._since >= self.SECONDS or self._size >= self.BYTES:
            self.commit()

    def commit(self) -> None:
        """Write what was added since the last commit as one part."""
        if not self._outcomes:
            return
        ids = [outcome.mini_batch for outcome in self._outcomes]
        name = f"{FOLDER}/{self._shard:06d}/{min(ids):09d}-{max(ids):09d}-{self._run:03d}-{uuid4().hex[:8]}.part"
        head = {"format": 1, "run": self._run, "mini_batches": [asdict(outcome) for outcome in self._outcomes]}
        self._job.put(name, b"".join([json.dumps(head).encode(), b"\n", *self._data]))
        self._reset()


def committed(job: Folder, shard: int | None = None) -> dict[int, Located]:
    """Every mini-batch that is in a committed part, by its number; of one shard, or of the whole job.

    A mini-batch can stand in two parts (a worker given up for dead was not; a failed one was tried again in a later
    run). One of them counts, always the same: a success before a failure, then the later run, then the first name.
    """
    folder = job / FOLDER if shard is None else job / FOLDER / f"{shard:06d}"
    prefix = FOLDER if shard is None else f"{FOLDER}/{shard:06d}"
    names = [name for file in folder.files() if _NAME.fullmatch(name := f"{prefix}/{file}")]
    best: dict[int, Located] = {}
    for located in _read_all(job, names):
        held = best.get(located.outcome.mini_batch)
        if held is None or _rank(located) > _rank(held):
            best[located.outcome.mini_batch] = located
    return best


def _rank(located: Located) -> tuple[bool, int]:
    return located.outcome.succeeded, located.run


def _read_all(job: Folder, names: Iterable[str]) -> Iterator[Located]:
    with ThreadPoolExecutor(_LISTERS) as pool:
        for found in pool.map(partial(_read_header, job), names):
            yield from found


def _read_header(job: Folder, name: str) -> list[Located]:
    start = job.read(name, 0, _HEADER_GUESS)
    if b"\n" not in start:
        start = job.read(name)
    line, _, _ = start.partition(b"\n")
    head = json.loads(line)
    found: list[Located] = []
    offset = len(line) + 1
    for data in head["mini_batches"]:
        outcome = Outcome.from_dict(data)
        found.append(Located(name, offset, head["run"], outcome))
        offset += outcome.bytes
    return found


def read_rows(job: Folder, located: Located) -> bytes:
    """The encoded rows of one mini-batch."""
    if not located.outcome.bytes:
        return b""
    return job.read(located.name, located.offset, located.offset + located.outcome.bytes)
