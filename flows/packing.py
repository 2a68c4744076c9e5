"""Packing the files of an input into mini-batches: by number, by bytes or by rows."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import PurePosixPath

from ..blocks.datastore import open_folder
from ..blocks.settings import ModelSettings
from ..scoring.errors import StorageFailed
from ..scoring.items import Item
from ..scoring.splitting import CSV, JSON_LINES, Target, split, splittable, why_whole
from ..scoring.storage import Folder
from .job import Job
from .plan import Plan, make_plan

_SCANNERS = 4


def plan_job(job: Job, say: Callable[[str], None]) -> Plan:
    """The job's plan; made now unless an earlier run of the job has.

    Args:
        job: as recorded.
        say: receives a line on what could not be split.

    Raises NoItems, BatchError.
    """
    if (plan := Plan.load(job.folder)) is not None:
        return plan
    sources = job.input.sources()
    folders = [open_folder(source.reference) for source in sources]
    mini_batches = pack(job.input.items(), folders, job.settings, say)
    return make_plan(job.folder, sources, mini_batches, remote=not all(folder.is_local for folder in folders))


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
    target = Target(size=settings.batch_bytes, rows=settings.batch_rows)
    room = target.size or target.rows or 1
    batch, used = list[Item](), 0
    for parts, note in _split_all(items, folders, target):
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


_Parts = tuple[list[tuple[Item, int]], str | None]
"""A file's pieces, or the file itself, each with how much of a mini-batch it fills; and why it was not split."""


def _split_all(items: Iterable[Item], folders: list[Folder], target: Target) -> Iterator[_Parts]:
    """In order; several files are read at once."""
    waiting: deque[Future[_Parts]] = deque()
    with ThreadPoolExecutor(_SCANNERS, "splitting") as pool:
        for item in items:
            waiting.append(pool.submit(_split, item, folders[item.source], target))
            if len(waiting) > 2 * _SCANNERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _split(item: Item, folder: Folder, target: Target) -> _Parts:
    size = item.size or 0
    if target.size is not None and size <= target.size:
        return [(item, size)], None
    if not splittable(item.path):
        reason = why_whole(item.path)
        # A compressed table has rows that nobody has counted; an image or a text counts as one.
        load = size if target.size is not None else target.rows if reason and target.rows else 1
        return [(item, load)], f"{item.name} stays in one mini-batch: {reason}" if reason else None
    try:
        pieces = split(folder, item.path, item.size, target)
    except StorageFailed:
        raise
    except Exception:  # whatever is wrong with the file is found, and counted, when it is scored
        pieces = None
    if not pieces:
        return [(item, target.size or target.rows or 1)], None
    rows = sum(piece.rows for piece in pieces)
    if len(pieces) == 1:
        return [(item, rows)], None
    text = PurePosixPath(item.path).suffix.lower() in CSV | JSON_LINES
    cut = [
        replace(
            item,
            piece=piece,
            size=piece.header + piece.end - piece.start if text else size * piece.rows // rows,
            file_size=item.size,
        )
        for piece in pieces
    ]
    return [
        (part, part.size or 0 if target.size is not None else piece.rows)
        for part, piece in zip(cut, pieces, strict=True)
    ], None
