"""The event that a job sends when it has ended, for automations: to notify somebody, or to call the next endpoint."""

from __future__ import annotations

import logging
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext

from ..blocks.acting import unbound
from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError
from .events import send
from .job import OUTPUT_NAME, RECORD, Job, job_root
from .locations import Location
from .pipeline_job import AnyJob, load_job
from .pipeline_summary import read_pipeline_summary
from .summary import read_summary

COMPLETED, FAILED = "prefect-batch.job.completed", "prefect-batch.job.failed"


def told(state: State[Any]) -> State[Any]:
    """Tell how the job of this flow run ended; returns the state that it was given.

    A server that takes no event does not make a job fail.
    """
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    try:
        with get_client(sync_client=True) as client:
            _tell(client, context.flow_run, state)
    except (BatchError, OSError, httpx.HTTPError) as error:
        logger: logging.Logger | Any = get_run_logger()
        logger.warning("The event of this job's end was not sent: %s", error)
    return state


def _tell(client: SyncPrefectClient, run: FlowRun, state: State[Any]) -> None:
    folder = open_folder(job_root(client, str(run.id)))
    job = load_job(folder) if folder.exists(RECORD) else None  # none of a call that was refused
    endpoint = run.parameters.get("endpoint")
    deployment = job.deployment.name if job else run.parameters.get("deployment")
    payload: dict[str, Any] = {
        "job": str(run.id),
        "job_name": run.name,
        "endpoint": endpoint,
        "deployment": deployment,
        "state": state.name,
        "message": state.message,
        **(_left_by(job) if job else {"outputs": {}, "files": {}, "counts": {}}),
    }
    labels = {"prefect-batch.endpoint": endpoint, "prefect-batch.deployment": deployment}
    resource = {
        "prefect.resource.id": f"prefect-batch.job.{run.id}",
        "prefect.resource.name": run.name,
        **{label: str(value) for label, value in labels.items() if value is not None},
    }
    related = {"flow-run": f"prefect.flow-run.{run.id}"}
    if run.deployment_id is not None:
        related["deployment"] = f"prefect.deployment.{run.deployment_id}"
    if endpoint is not None:
        related["endpoint"] = f"prefect-batch.endpoint.{endpoint}"
    send(client, COMPLETED if state.is_completed() else FAILED, resource, payload, related)


def _left_by(job: AnyJob) -> dict[str, Any]:
    """Outputs as the next job takes them for inputs, those that are one file also as such, and what was counted."""
    if isinstance(job, Job):
        summary = read_summary(job)
        name = job.settings.file_name
        outputs = {OUTPUT_NAME: _place(job.output)} if summary and summary.completed else {}
        files = {output: f"{place.rstrip('/')}/{name}" for output, place in outputs.items() if name is not None}
        keys = ("items", "succeeded", "failed", "rows", "mini_batches")
        counts: dict[str, Any] = {key: getattr(summary, key) for key in keys} if summary else {}
        return {"outputs": outputs, "files": files, "counts": counts}
    ended = read_pipeline_summary(job)
    places = {name: job.outputs[name] for name in (ended.outputs if ended else {}) if name in job.outputs}
    states = [step.state for step in ended.steps] if ended else []
    return {
        "outputs": {name: _place(place.location) for name, place in places.items()},
        "files": {name: _place(place.location) for name, place in places.items() if place.is_file},
        "counts": {"steps": len(states), "completed": states.count("Completed"), "failed": states.count("Failed")},
    }


def _place(location: Location) -> str:
    """A place as a call may name it: as whom it is opened is for that call to say."""
    return unbound(location.reference)[1]
