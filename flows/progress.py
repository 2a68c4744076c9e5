"""What a person sees of a job in the Prefect UI: a progress bar while it runs, a table and a link at its end."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.exceptions import PrefectException

from .usage import Consumption

if TYPE_CHECKING:  # neither is needed by those who only read a job's progress
    from .mapping import Tally
    from .pipeline_summary import PipelineSummary
    from .run_graph import StepCounts
    from .summary import Summary

LOGGER = logging.getLogger(__name__)
PROGRESS, SUMMARY, STEPS, OUTPUT = "batch-progress", "batch-summary", "batch-steps", "batch-output"
INSTANCES = "batch-instances"
_BARS = 100
"""Changes of the number of instances that are shown."""
_SECONDS = 1.0


class _Artifact:
    """A job's progress artifact, while the block runs. Its metadata has counts as text, for the terminal.

    A thread tells the server what is newest, once a second, so that a slow one holds up nobody.
    """

    def __init__(self, client: SyncPrefectClient, job_id: str) -> None:
        self._client, self._job_id = client, UUID(job_id)
        self._artifact: UUID | None = None
        self._newest: tuple[Mapping[str, int], str] | None = None
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._changed.set()
        self._thread.join()

    def _put(self, counts: Mapping[str, int], text: str) -> None:
        """Show counts, of which `completed` and `total` make the bar."""
        self._newest = counts, text
        self._changed.set()

    def _tell(self) -> None:
        shown = None
        while self._changed.wait():
            self._changed.clear()
            ended, newest = self._ended.is_set(), self._newest
            if newest is not None and newest is not shown:
                try:
                    self._show(*newest)
                    shown = newest
                except (httpx.HTTPError, PrefectException) as error:
                    LOGGER.debug("progress could not be shown: %s", error)
                    self._changed.set()
            if ended:
                return
            self._ended.wait(_SECONDS)

    def _show(self, counts: Mapping[str, int], text: str) -> None:
        metadata = {name: str(count) for name, count in counts.items()}
        percent = 100 * counts["completed"] / max(1, counts["total"])
        if self._artifact is None:
            created = self._client.create_artifact(
                ArtifactCreate(
                    key=PROGRESS,
                    type="progress",
                    data=percent,
                    description=text,
                    metadata_=metadata,
                    flow_run_id=self._job_id,
                )
            )
            self._artifact = created.id
        else:
            self._client.update_artifact(
                self._artifact, ArtifactUpdate(data=percent, description=text, metadata_=metadata)
            )


class ProgressArtifact(_Artifact):
    """Of a model job: completed and total count mini-batches; then items, failed, rows."""

    def __call__(self, tally: Tally) -> None:
        counts = {
            "completed": tally.mini_batches,
            "total": tally.mini_batches_total,
            "items": tally.items,
            "failed": tally.failed,
            "rows": tally.rows,
        }
        self._put(
            counts,
            f"{tally.mini_batches:,} of {tally.mini_batches_total:,} mini-batches, {tally.items:,} of "
            f"{tally.items_total:,} files, {tally.failed:,} failed, {tally.rows:,} rows",
        )


class StepProgress(_Artifact):
    """Of a pipeline job: completed, total and failed count steps."""

    def __call__(self, counts: StepCounts) -> None:
        self._put(
            {"completed": counts.completed, "total": counts.total, "failed": counts.failed},
            f"{counts.completed} of {counts.total} steps, {counts.failed} failed",
        )


def publish_result(client: SyncPrefectClient, summary: Summary, flow_run_id: str) -> None:
    """The summary as a table, and a link to the output, on the page of the job's flow run."""
    _publish_table(client, flow_run_id, SUMMARY, _rows(_own(summary) | summary.told()), summary.message)
    _publish_instances(client, flow_run_id, summary)
    if summary.completed:
        _publish_outputs(client, flow_run_id, _link(summary.output), "Where the output of the job lies.")


def publish_pipeline(client: SyncPrefectClient, summary: PipelineSummary) -> None:
    """The summary and the steps as tables, and links to the outputs that are there, on the job's page."""
    whole = {key: value for key, value in _own(summary).items() if key not in ("steps", "inputs", "outputs")}
    whole |= {f"input {name}": value for name, value in summary.inputs.items()}
    _publish_table(client, summary.job, SUMMARY, _rows(whole | summary.told()), summary.message)
    _publish_instances(client, summary.job, summary)
    if summary.steps:
        steps = [
            {
                "step": step.name,
                "state": f"{step.state}, reused from job {step.reused_from}" if step.reused_from else step.state,
                "seconds": str(step.seconds),
                "attempts": str(step.attempts),
                "message": step.message,
            }
            for step in summary.steps
        ]
        _publish_table(client, summary.job, STEPS, steps, "How each step ended.")
    if summary.outputs:
        lines = [f"- {name}: {_link(url)}" for name, url in summary.outputs.items()]
        _publish_outputs(client, summary.job, "\n".join(lines), "Where the outputs of the job lie.")


def _own(summary: Consumption) -> dict[str, Any]:
    """What a summary says of its job; of the cluster it tells by told()."""
    shared = {each.name for each in fields(Consumption)}
    return {key: value for key, value in vars(summary).items() if key not in shared}


def _publish_instances(client: SyncPrefectClient, job: str, summary: Consumption) -> None:
    """The number of instances over time, as a table with bars."""
    rows = [
        {"second": f"{at:.0f}", "instances": str(count), "": "\N{FULL BLOCK}" * min(count, 60)}
        for at, count in summary.instances[:_BARS]
    ]
    if rows:
        _publish_table(client, job, INSTANCES, rows, "The number of instances from each second on.")


def _rows(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"what": key.replace("_", " "), "value": str(value)} for key, value in values.items()]


def _link(place: str) -> str:
    return f"[{place}]({place if '://' in place else Path(place).as_uri()})"


def _publish_table(client: SyncPrefectClient, job: str, key: str, rows: list[dict[str, str]], text: str) -> None:
    client.create_artifact(
        ArtifactCreate(key=key, type="table", data=json.dumps(rows), description=text, flow_run_id=UUID(job))
    )


def _publish_outputs(client: SyncPrefectClient, job: str, markdown: str, text: str) -> None:
    client.create_artifact(
        ArtifactCreate(key=OUTPUT, type="markdown", data=markdown, description=text, flow_run_id=UUID(job))
    )
