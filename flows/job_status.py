"""What Azure ML calls the states of a job."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun, StateType

QUEUED = "Queued"
"""Name of the state of a job that waits for room on its compute cluster."""
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
    """A job's status in Azure ML's words.

    NotStarted until a worker has taken it, then Queued until its flow runs; Queued also while it waits for room on its
    compute cluster.
    """
    if flow_run.state is None:
        return "Unknown"
    return QUEUED if flow_run.state.name == QUEUED else _STATUS[flow_run.state.type]
