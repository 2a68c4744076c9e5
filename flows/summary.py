"""How a job ended: summary.json."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from ..scoring.errors import BatchError
from ..scoring.storage import Folder
from .job import Job
from .usage import Consumption, read_usages

SUMMARY = "summary.json"


@dataclass
class Summary(Consumption):
    """How a job ended; summary.json."""

    job: str
    endpoint: str | None
    deployment: str
    state: str
    message: str
    input: str
    output: str
    items: int
    succeeded: int
    failed: int
    rows: int
    mini_batches: int
    retried_mini_batches: int
    error_threshold: int | str
    parallelism: int
    runs: int
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def completed(self) -> bool:
        return self.state == "Completed"

    def to_json(self) -> bytes:
        return json.dumps(self.as_dict(), indent=1).encode()


def read_summary(job: Job) -> Summary | None:
    """How the job ended when it last did, or None."""
    try:
        return Summary(**json.loads(job.folder.read(SUMMARY)))
    except FileNotFoundError:
        return None


def settle(folder: Folder) -> None:
    """Bring what a summary says of instances up to date, once they were given back and their last record is written.

    For jobs of both kinds; a job without a summary is fine. Never raises: the job has ended as it has.
    """
    try:
        if (held := _read_raw(folder)) is not None:
            consumed = Consumption.within(held)
            consumed.count(read_usages(folder))
            folder.put(SUMMARY, json.dumps(held | consumed.as_dict(), indent=1).encode())
    except (BatchError, OSError) as error:
        logging.getLogger(__name__).warning("%s was not brought up to date: %s", folder.file_url(SUMMARY), error)


def read_consumption(folder: Folder, runs: int) -> Consumption | None:
    """What the summary of a job of either kind says of its cluster, if it is one of all so many runs."""
    held = _read_raw(folder)
    return Consumption.within(held) if held is not None and held["runs"] == runs else None


def _read_raw(folder: Folder) -> dict[str, Any] | None:
    try:
        return json.loads(folder.read(SUMMARY))
    except FileNotFoundError:
        return None
