"""Collecting: the committed parts, in plan order, become the output, errors.jsonl and summary.json."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..blocks.settings import ModelSettings
from ..scoring.errors import AlreadyExists, BatchError, StorageFailed
from ..scoring.parts import Located, Outcome
from ..scoring.storage import Folder
from .committed_rows import CommittedRows
from .parts_folder import SUCCESS, is_part, parts_in
from .writers import WRITERS

ERRORS = "errors.jsonl"
_FOLDER = "score"


@contextmanager
def claim(output: Folder, file_name: str, job_id: str) -> Generator[bool]:
    """Keep other jobs from the same output file, or ("") folder of files, while this one runs. Raises AlreadyExists.

    A job that was killed leaves its claim, and finds it again as its own when it is resumed. The block is told whether
    that is so: then the output may be there already, and be the job's own.
    """
    marker = f".{file_name or _FOLDER}.job"
    holder, found = _holder(output, marker, job_id)
    if holder != job_id:
        raise AlreadyExists(
            f"outputs: job {holder} is writing {output.file_url(file_name)}: name another output folder "
            f"(or delete {output.file_url(marker)} if that job is gone)"
        )
    try:
        yield found
    finally:
        output.remove(marker)


def _holder(output: Folder, marker: str, job_id: str) -> tuple[str, bool]:
    """The job that the marker names, ours if nobody was faster, and whether the marker was there."""
    while True:
        try:
            output.create(marker, job_id.encode())
        except FileExistsError:
            try:
                return output.read(marker).decode(), True
            except FileNotFoundError:
                continue  # its holder ended between the two
        return job_id, False


def in_order(ledger: dict[int, Located], mini_batches: int) -> list[Located]:
    """The ledger's entries in plan order. Raises BatchError when one is missing: then the job is not done."""
    missing = [number for number in range(mini_batches) if number not in ledger]
    if missing:
        raise BatchError(f"{len(missing)} of {mini_batches} mini-batches have no committed part (first: {missing[0]})")
    return [ledger[number] for number in range(mini_batches)]


def write_output(job: Folder, located: list[Located], output: Folder, settings: ModelSettings) -> str:
    """Write the rows of all parts, in order, to the output file, or to a folder of Parquet files; returns its URL.

    Nothing is left when that fails. Raises AlreadyExists if something is there.
    """
    found, name = CommittedRows(job, located), settings.file_name
    url = output.file_url(name) if name else output.url
    try:
        if name:
            with output.create_stream(name) as stream:
                WRITERS[settings.rows_format](found, stream, settings.compression)
        else:
            from .parquet_output import write_parts  # as in writers.py

            write_parts(found, output, settings.compression)
    except FileExistsError:
        raise _appeared(output, name or "") from None
    return url


def _appeared(output: Folder, file_name: str) -> AlreadyExists:
    what = output.file_url(file_name) if file_name else f"a part or {SUCCESS} in {output.url}"
    return AlreadyExists(
        f"outputs: {what} appeared while the job ran and is not overwritten: move it away and resume the job"
    )


def _there(output: Folder, file_name: str) -> list[str]:
    """What of the output file, or ("") folder of files, is there."""
    if file_name:
        return [file_name] if output.exists(file_name) else []
    return parts_in(output)


def check_free(output: Folder, file_name: str) -> None:
    """Refuse an output that is there since the job was recorded: another job may have been faster. For who holds the
    claim, before it computes. Raises AlreadyExists."""
    if _there(output, file_name):
        raise _appeared(output, file_name)


def remove_output(output: Folder, file_name: str) -> None:
    """Remove what a run of the same job that was killed has written, or begun to write."""
    for name in _there(output, file_name):
        output.remove(name)
    is_ours = file_name.__eq__ if file_name else is_part
    with suppress(OSError, StorageFailed):  # who may write may perhaps not list
        output.abandon_uploads(is_ours)


def write_errors(job: Folder, located: list[Located]) -> int:
    """Write errors.jsonl, one line for each failed item, in plan order; returns how many."""
    count = 0
    job.remove(ERRORS)  # of an earlier run of the job
    with job.create_stream(ERRORS) as stream:
        for at in located:
            for line in error_lines(at.outcome):
                stream.write(json.dumps(line).encode() + b"\n")
                count += 1
    return count


def error_lines(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """One mini-batch's failed items: item, mini_batch, attempt, error_type, message, traceback."""
    for error in outcome.errors:
        for item in error.items:
            yield {
                "item": item,
                "mini_batch": outcome.mini_batch,
                "attempt": error.attempt,
                "error_type": error.error_type,
                "message": error.message,
                "traceback": error.traceback,
            }
