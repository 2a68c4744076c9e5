"""What a person sees of a job in the Prefect UI: a progress bar while it runs, a table and a link at its end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate

if TYPE_CHECKING:  # neither is needed by those who only read a job's progress
    from .mapping import Tally
    from .summary import Summary

PROGRESS, SUMMARY, OUTPUT = "batch-progress", "batch-summary", "batch-output"
_SECONDS = 1.0


class ProgressArtifact:
    """The job's progress artifact, updated at most once a second.

    Its metadata has the counts as text, for the terminal: completed, total (mini-batches), items, failed, rows.
    """

    def __init__(self, client: SyncPrefectClient, job_id: str) -> None:
        self._client, self._job_id = client, UUID(job_id)
        self._artifact: UUID | None = None
        self._last = float("-inf")

    def __call__(self, tally: Tally) -> None:
        finished = tally.mini_batches == tally.mini_batches_total
        if not finished and time.monotonic() - self._last < _SECONDS:
            return
        counts = {
            "completed": str(tally.mini_batches),
            "total": str(tally.mini_batches_total),
            "items": str(tally.items),
            "failed": str(tally.failed),
            "rows": str(tally.rows),
        }
        percent = 100 * tally.mini_batches / max(1, tally.mini_batches_total)
        text = (
            f"{tally.mini_batches:,} of {tally.mini_batches_total:,} mini-batches, {tally.items:,} of "
            f"{tally.items_total:,} files, {tally.failed:,} failed, {tally.rows:,} rows"
        )
        if self._artifact is None:
            created = self._client.create_artifact(
                ArtifactCreate(
                    key=PROGRESS,
                    type="progress",
                    data=percent,
                    description=text,
                    metadata_=counts,
                    flow_run_id=self._job_id,
                )
            )
            self._artifact = created.id
        else:
            self._client.update_artifact(
                self._artifact, ArtifactUpdate(data=percent, description=text, metadata_=counts)
            )
        self._last = time.monotonic()


def publish_result(client: SyncPrefectClient, summary: Summary) -> None:
    """The summary as a table, and a link to the output, on the job's page."""
    flow_run_id = UUID(summary.job)
    table = [{"what": key.replace("_", " "), "value": str(value)} for key, value in vars(summary).items()]
    client.create_artifact(
        ArtifactCreate(
            key=SUMMARY, type="table", data=json.dumps(table), description=summary.message, flow_run_id=flow_run_id
        )
    )
    if summary.completed:
        url = summary.output if "://" in summary.output else Path(summary.output).as_uri()
        client.create_artifact(
            ArtifactCreate(
                key=OUTPUT,
                type="markdown",
                data=f"[{summary.output}]({url})",
                description="Where the output of the job lies.",
                flow_run_id=flow_run_id,
            )
        )
