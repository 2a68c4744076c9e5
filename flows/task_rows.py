"""What the server shows of task runs that cannot tell it themselves: those whose workers died, or were cancelled.

A worker tells of its task runs by events, which take a moment, and which die with it. Written against prefect 3.8; uses
undocumented names of it (pyproject.toml pins it).
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.task_engine import (
    _create_task_run_locally,  # pyright: ignore[reportPrivateUsage]
)
from prefect.utilities.engine import emit_task_run_state_change_event

HEARSAY_SECONDS = 3.0
"""That the server may take to hear of a task run's start."""


def set_state(client: SyncPrefectClient, task_run_id: UUID, state: State[Any]) -> bool:
    """Tell the server how a task run ended; False where it does not know the task run, or not yet, or is away."""
    try:
        client.set_task_run_state(task_run_id, state, force=True)
    except (ObjectNotFound, httpx.HTTPError):
        return False
    return True


def close_lost(
    client: SyncPrefectClient, task: Any, task_run_id: UUID, message: str, name: str | None = None, wait: float = 0.0
) -> None:
    """Show as Crashed a task run whose worker died: it would else be Running for ever, or not be there at all.

    To be called in the context of the flow run. Where the server does not know the task run, it is told of it as its
    worker would; what that has said before and is still on its way is older, and changes nothing any more.

    Args:
        client: of the server.
        task: that was run.
        task_run_id: its run's.
        message: of the state.
        name: of the task run, where it has one of its own.
        wait: seconds in which the server may hear of the task run's start, which knows more of it.
    """
    state: State[Any] = Crashed(message=message)
    deadline = time.monotonic() + wait
    while not set_state(client, task_run_id, state):
        if time.monotonic() >= deadline:
            _tell(task, task_run_id, state, name)
            return
        time.sleep(HEARSAY_SECONDS / 20)


def _tell(task: Any, task_run_id: UUID, state: State[Any], name: str | None) -> None:
    run: Any = _create_task_run_locally(task, task_run_id)
    run.name = name or run.name
    run.run_count = 1
    run.start_time = run.end_time = state.timestamp
    emit_task_run_state_change_event(run, run.state, state)


def close_stale(client: SyncPrefectClient, flow_run_id: UUID, logger: logging.Logger | Any) -> None:
    """Task runs that a killed run of this flow left Pending or Running, as Crashed: nobody else would."""
    stale = client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run_id]}}),
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}),
        limit=200,
    )
    for run in stale:
        client.set_task_run_state(run.id, Crashed(message="The flow run was killed."), force=True)
    if stale:
        logger.info("%d task runs of the killed run were closed", len(stale))
