"""`client.jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from os import PathLike
from pathlib import Path

from ..flows import costs, jobs
from ..flows.costs import Cost
from ..scoring.errors import InvalidDocument
from . import terminal
from .call import run_file, unseen
from .connection import Connection
from .entities import PipelineJob
from .job import Job
from .poller import Poller


class JobOperations:
    """Jobs, each named by its id or by the name that its call gave it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create_or_update(self, job: PipelineJob) -> Job:
        """Run a pipeline job's file (`load_job`) without an endpoint; returns at once. Raises BatchError."""
        if job.source is None:
            raise InvalidDocument("a pipeline job is made of its file: load_job(FILE)")
        with self._connection.open() as client:
            run = run_file(client, job.source, job.overrides, job.name, unseen)
        return Job.of(self._connection, run)

    def get(self, name: str) -> Job:
        """A job. Raises NotFound."""
        with self._connection.open() as client:
            return Job.of(self._connection, jobs.find(client, name))

    def list(
        self, *, parent_job_name: str | None = None, endpoint_name: str | None = None, max_results: int = 50
    ) -> list[Job]:
        """The newest jobs first: of all endpoints and of none, or of one.

        Args:
            parent_job_name: gives that job itself. Azure ML has the scoring, whose output is downloaded, in a job below
                the call's; here it is one job.
            endpoint_name: only of this endpoint.
            max_results: at most so many.
        """
        if parent_job_name is not None:
            return [self.get(parent_job_name)]
        with self._connection.open() as client:
            found = jobs.newest_jobs(client, endpoint_name.lower() if endpoint_name else None, max_results)
        return [Job.of(self._connection, run) for run in found]

    def cost(
        self,
        name: str | None = None,
        *,
        endpoint_name: str | None = None,
        days: int | None = None,
        since: date | None = None,
    ) -> Sequence[Cost]:
        """What jobs had of their instances, and what that cost: by endpoint and day in UTC, or of one job.

        Args:
            name: of the one job; the others are then of no use.
            endpoint_name: only of this endpoint.
            days: the last so many days, today included; 30 by default.
            since: the first day, instead.

        A job whose files cannot be read is left out, with a line on stderr. Raises NotFound.
        """
        with self._connection.open() as client:
            if name is not None:
                return [costs.of_job(client, jobs.find(client, name))]
            only = endpoint_name.lower() if endpoint_name else None
            return costs.by_day(client, only, since or costs.since_days(days), terminal.note)

    def stream(self, name: str) -> None:
        """Follow a job to its end: its log goes to stdout. Raises NotFound, JobFailed unless it completes."""
        self.get(name).stream()

    def download(
        self,
        name: str,
        *,
        download_path: str | PathLike[str] = ".",
        output_name: str | None = None,
        all: bool = False,
    ) -> list[Path]:
        """Copy a finished job's outputs, errors and summary to a local folder; returns the files.

        Args:
            name: of the job.
            download_path: the folder; it is made.
            output_name: the one output to copy, and nothing else.
            all: taken for compatibility: without an output_name, all is copied.

        Raises NotFound, BatchError while the job runs.
        """
        return self.get(name).download(download_path, output_name)

    def begin_cancel(self, name: str) -> Poller[None]:
        """Ask for a job's end; it can be resumed. Raises NotFound, BatchError if it has ended."""
        self.get(name).cancel()
        return Poller(None)

    def cancel(self, name: str) -> Job:
        """Ask for a job's end; it can be resumed. Raises NotFound, BatchError if it has ended."""
        return self.get(name).cancel()

    def resume(self, name: str, *, force: bool = False) -> Job:
        """Start a job again that did not complete; it goes on from what it had finished. Raises BatchError."""
        return self.get(name).resume(force)
