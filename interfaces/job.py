"""A job as the Python client shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prefect.client.schemas.objects import FlowRun

from ..flows import jobs
from ..flows.download import download
from ..flows.job_outputs import output_places
from ..flows.job_status import status_of
from ..scoring.errors import JobFailed
from . import terminal
from .connection import Connection
from .views import of_job

if TYPE_CHECKING:
    import pandas as pd

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
"""Seconds between two looks at a job, which grow with its age."""
_GROWTH = 1.2


@dataclass
class Job:
    """A job: what it was when it was last read, and what can be done with it.

    Its status is one of Azure ML's: NotStarted, Queued, Running, Paused, CancelRequested, Completed, Failed, Canceled.
    """

    connection: Connection = field(repr=False)
    id: str
    name: str = ""
    """The same as the id: what other calls name it by."""
    display_name: str = ""
    """What the call named it, or a name made up."""
    status: str = ""
    type: str = "pipeline"
    endpoint_name: str | None = None
    deployment_name: str | None = None
    """As the call named it; None for the endpoint's default."""
    message: str | None = None
    """How it ended."""
    studio_url: str | None = None
    """Its page."""
    tags: list[str] = field(default_factory=list[str])
    created_at: datetime | None = None
    ended: bool = False

    @classmethod
    def of(cls, connection: Connection, run: FlowRun) -> Self:
        """The job of a flow run."""
        return cls(connection, str(run.id))._told(run)

    def _told(self, run: FlowRun) -> Self:
        self.studio_url = jobs.ui_url(run)
        shown = of_job(run, self.studio_url)
        self.name, self.display_name, self.status = shown["name"], shown["display_name"], shown["status"]
        self.endpoint_name, self.deployment_name = shown["endpoint_name"], shown["deployment_name"]
        self.message, self.created_at = shown["message"], run.created
        self.ended = run.state is not None and run.state.is_final()
        self.tags = list(run.tags)
        return self

    def refresh(self) -> Self:
        """Read it again. Raises NotFound."""
        with self.connection.open() as client:
            return self._told(jobs.find(client, self.id))

    def looks(self, timeout: float | None = None) -> Iterator[float]:
        """Read it again and again until it has ended; gives the seconds to wait before each next look.

        Raises TimeoutError when it has not ended after so many seconds.
        """
        until = time.monotonic() + timeout if timeout is not None else float("inf")
        pause = _FIRST_PAUSE
        while not self.refresh().ended:
            if (left := until - time.monotonic()) <= 0:
                raise TimeoutError(f"job {self.id} is {self.status} after {timeout:g} s")
            yield min(pause, left)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, however it has; returns itself.

        Args:
            timeout: seconds after which TimeoutError is raised; the job goes on.
        """
        for pause in self.looks(timeout):
            time.sleep(pause)
        return self

    def result(self, output_name: str | None = None, timeout: float | None = None) -> pd.DataFrame:
        """Wait for its end, and read an output as a table: all CSV, JSON Lines, Parquet or Arrow files of it.

        Args:
            output_name: which, of a pipeline with several.
            timeout: seconds after which TimeoutError is raised; the job goes on.

        Raises JobFailed for a job that did not complete, NotFound for an output that is not there or is no table.
        """
        return self.wait(timeout).table(output_name)

    def table(self, output_name: str | None = None) -> pd.DataFrame:
        """What result() gives, of a job that has ended."""
        from ..flows.job_outputs import read_output

        self.check()
        with self.connection.open() as client:
            return read_output(client, jobs.find(client, self.id), output_name)

    def check(self) -> Self:
        """Raise JobFailed unless it has completed."""
        if self.status != "Completed":
            raise JobFailed(f"job {self.id} is {self.status}: {self.message or 'it has not ended'}")
        return self

    def outputs(self) -> dict[str, str]:
        """Where each output lies that is there: what the path of an input of the next job may be."""
        with self.connection.open() as client:
            return output_places(client, jobs.find(client, self.id))

    def stream(self) -> None:
        """Follow it to its end: its log goes to stdout. Raises JobFailed unless it completes."""
        with self.connection.open() as client:
            seen = ""

            def show(run: FlowRun, progress: jobs.Progress | None) -> None:
                nonlocal seen
                if (status := status_of(run)) != seen:
                    terminal.result(f"{status}: {run.name}")
                seen = status

            ended = jobs.follow(client, jobs.find(client, self.id).id, show, terminal.result)
        self._told(ended).check()

    def download(self, download_path: str | PathLike[str] = ".", output_name: str | None = None) -> list[Path]:
        """Copy its outputs, errors and summary to a local folder; returns the files.

        Args:
            download_path: the folder; it is made.
            output_name: the one output to copy, and nothing else.

        Raises NotFound for an output that it does not have, BatchError while it runs.
        """
        with self.connection.open() as client:
            return download(client, jobs.find(client, self.id), Path(download_path).expanduser(), output_name)

    def cancel(self) -> Self:
        """Ask for its end; it can be resumed. Raises BatchError if it has ended."""
        with self.connection.open() as client:
            jobs.cancel(client, jobs.find(client, self.id))
        return self.refresh()

    def resume(self, force: bool = False) -> Self:
        """Start it again if it did not complete; it goes on from what it had finished. Raises BatchError.

        Args:
            force: also if it seems to run, because its whole machine was lost.
        """
        with self.connection.open() as client:
            jobs.resume(client, jobs.find(client, self.id), force)
        return self.refresh()
