"""What the server shows of task runs whose workers died, whatever it had heard of them before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from endpoints import until
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import TaskRun
from prefect.context import FlowRunContext
from prefect.states import Running
from prefect.task_engine import (
    _create_task_run_locally,  # pyright: ignore[reportPrivateUsage]
)
from prefect.utilities.engine import emit_task_run_state_change_event

from prefect_batch.flows import task_rows


@task
def lost() -> None: ...


def tell_start(run: UUID, before: float) -> None:
    """As a worker does, in the context of its flow run; the start was so many seconds ago."""
    made: Any = _create_task_run_locally(lost, run)
    state: Any = Running()
    state.timestamp -= timedelta(seconds=before)
    made.start_time = state.timestamp
    emit_task_run_state_change_event(made, made.state, state)


def in_flow(body: Callable[[], None]) -> UUID:
    """The flow run in which the body ran."""

    @flow
    def around() -> UUID:
        body()
        context: Any = FlowRunContext.get()
        return context.flow_run.id

    return around()


def row(client: SyncPrefectClient, run: UUID, states: int) -> tuple[TaskRun, list[str]]:
    """A task run and the names of its states, oldest first, once the server has heard of so many."""

    def told() -> list[str] | None:
        names = [state.name or "" for state in client.read_task_run_states(run)]
        return names if len(names) == states else None

    names = until(f"{states} states", told)
    return client.read_task_run(run), names


def test_a_start_that_is_never_told(client: SyncPrefectClient):
    run = uuid4()
    flow_run = in_flow(lambda: task_rows.close_lost(client, lost, run, "its worker died", name="mine"))
    shown, names = row(client, run, 1)
    assert names == ["Crashed"] and shown.state is not None
    assert (shown.name, shown.flow_run_id, shown.run_count) == ("mine", flow_run, 1)
    assert (shown.state.name, shown.state.message) == ("Crashed", "its worker died")
    assert shown.end_time is not None


def test_a_start_that_is_told_later(client: SyncPrefectClient):
    run = uuid4()

    def body() -> None:
        task_rows.close_lost(client, lost, run, "its worker died", name="mine")
        tell_start(run, before=5)

    in_flow(body)
    shown, names = row(client, run, 2)
    assert sorted(names) == ["Crashed", "Running"] and shown.state is not None
    assert (shown.name, shown.state.name) == ("mine", "Crashed")


def test_a_start_that_is_told_before(client: SyncPrefectClient):
    run = uuid4()

    def body() -> None:
        tell_start(run, before=5)
        row(client, run, 1)
        task_rows.close_lost(client, lost, run, "its worker died")

    in_flow(body)
    shown, names = row(client, run, 2)
    assert names == ["Running", "Crashed"] and shown.state is not None and shown.state.name == "Crashed"
    assert shown.total_run_time >= timedelta(seconds=5)


def test_a_start_that_is_told_while_it_is_waited_for(client: SyncPrefectClient):
    run = uuid4()

    def body() -> None:
        tell_start(run, before=5)
        task_rows.close_lost(client, lost, run, "its worker died", wait=60)

    in_flow(body)
    shown, names = row(client, run, 2)
    assert names == ["Running", "Crashed"] and shown.total_run_time >= timedelta(seconds=5)
