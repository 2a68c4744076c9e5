"""Packing the files of an input into mini-batches: by number, by bytes or by rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from ..blocks.datastore import open_folder
from ..blocks.settings import ModelSettings
from ..scoring.items import Item
from ..scoring.storage import Folder
from .job import Job
from .plan import Plan, make_plan


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
