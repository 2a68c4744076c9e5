"""What Azure ML calls the states of a job."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun, StateType

_STATUS = {
    StateType.SCHEDULED: "NotStarted",
    StateType.PENDING: "Queued",
    StateType.RUNNING: "Running",
    StateType.PAUSED: "Paused",
    StateType.COMPLETED: "Completed",
    StateType.FAILED: "Failed",
    StateType.CRASHED: "Failed",
    StateType.CANCELLING: "CancelRequested",
    StateType.CANCELLED: "Canceled",
}


def status_of(flow_run: FlowRun) -> str:
    """A job's status in Azure ML's words: NotStarted until a worker has taken it, then Queued until its flow runs."""
    return _STATUS[flow_run.state.type] if flow_run.state is not None else "Unknown"
