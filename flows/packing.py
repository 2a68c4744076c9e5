"""Packing the files of an input into mini-batches: by number, by bytes or by rows."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

from ..blocks.datastore import open_folder
from ..blocks.settings import ModelSettings
from ..scoring.items import Item
from ..scoring.storage import Folder
from .job import Job
from .plan import Plan, make_plan

SECONDS_BETWEEN_SIGNS = 15.0
"""How often planning that takes long says how far it is."""


def plan_job(job: Job, say: Callable[[str], None]) -> Plan:
    """The job's plan; made now unless an earlier run of the job has.

    Args:
        job: as recorded.
        say: receives a line on what could not be split, and one now and then while it takes long; from any thread.

    Raises NoItems, BatchError.
    """
    if (plan := Plan.load(job.folder)) is not None:
        return plan
    sources = job.input.sources()
    folders = [open_folder(source.reference) for source in sources]
    listed = _Listed(job.input.items())
    mini_batches = pack(listed, folders, job.settings, say)
    with _signs_of_life(listed, say):
        remote = not all(folder.is_local for folder in folders)
        return make_plan(job.folder, sources, mini_batches, remote, job.settings.parallelism)


@dataclass
class _Listed:
    """Items, and how many have passed."""

    items: Iterator[Item]
    count: int = 0
    bytes: int = 0

    def __iter__(self) -> Iterator[Item]:
        for item in self.items:
            self.count += 1
            self.bytes += item.size or 0
            yield item


@contextlib.contextmanager
def _signs_of_life(listed: _Listed, say: Callable[[str], None]) -> Generator[None]:
    """Say how far the listing has come: a million files, or one large file read through, may take minutes."""
    ended, began = threading.Event(), time.monotonic()

    def watch() -> None:
        while not ended.wait(SECONDS_BETWEEN_SIGNS):
            say(
                f"Planning for {time.monotonic() - began:.0f} s: {listed.count} files with {listed.bytes / 1e6:.0f} MB "
                "so far; large ones are read through where mini_batch_size is a size or rows"
            )

    thread = threading.Thread(target=watch, name="planning", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def pack(
    items: Iterable[Item], folders: list[Folder], settings: ModelSettings, say: Callable[[str], None]
) -> Iterator[list[Item]]:
    """The items of each mini-batch, in their order.

    With `mini_batch_size` a number, so many files. With bytes or rows, large files are split, and small ones are packed
    together until there is no room for the next; what cannot be split is a mini-batch of its own when it is larger.

    Args:
        items: files, in the order of the output.
        folders: by Item.source.
        settings: of the job.
        say: receives a line on what could not be split.
    """
    if settings.batch_files is not None:
        remaining = iter(items)
        while batch := list(itertools.islice(remaining, settings.batch_files)):
            yield batch
        return
    from .pieces import split_all  # numpy and pyarrow, which most jobs do without

    room = settings.batch_bytes or settings.batch_rows or 1
    batch, used = list[Item](), 0
    for parts, note in split_all(items, folders, settings):
        if note is not None:
            say(note)
        for item, load in parts:
            if batch and used + load > room:
                yield batch
                batch, used = [], 0
            batch.append(item)
            used += load
    if batch:
        yield batch
