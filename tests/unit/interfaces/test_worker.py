"""What a worker says of a process that was killed, when it asks for runs, and when it begins one again."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import anyio
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.states import AwaitingRetry, Crashed, Pending, Running, State
from prefect.workers.process import ProcessWorker

from prefect_batch.flows.jobs import SECOND_CRASH
from prefect_batch.interfaces.worker import BatchWorker


def run(state: State, run_count: int) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), state=state, run_count=run_count)


@pytest.mark.parametrize(
    ("message", "now", "told"),
    [
        (SECOND_CRASH, run(Crashed(), 1), False),
        (SECOND_CRASH, run(AwaitingRetry(), 1), False),  # resumed,
        (SECOND_CRASH, run(Pending(), 1), False),  # on its way to a process,
        (SECOND_CRASH, run(Running(), 2), False),  # and running again
        (SECOND_CRASH, run(Running(), 1), True),  # the first word did not come through
        (SECOND_CRASH, run(Pending(), 0), True),
        ("Failed to submit flow run to infrastructure", run(Pending(), 0), True),
    ],
)
def test_the_end_of_a_process_is_told_once(
    message: str, now: FlowRun, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        async def read_flow_run(self, _: object) -> FlowRun:
            return now

    said: list[str] = []

    async def propose(_self: object, _run: object, message: str, *_: object) -> None:
        said.append(message)

    monkeypatch.setattr(ProcessWorker, "_propose_crashed_state", propose)
    worker: Any = BatchWorker("a-pool")
    monkeypatch.setattr(worker, "_client", Client())
    asyncio.run(worker._propose_crashed_state(run(Pending(), 0), message))
    assert said == [message] * told


def test_a_run_resumed_while_its_process_ends_waits_for_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, other = (
        WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run(Pending(), 0)) for _ in range(2)
    )
    submitted: list[object] = []

    async def submit(_self: object, responses: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        submitted.extend(responses)
        return [found.flow_run for found in responses]

    monkeypatch.setattr(ProcessWorker, "_submit_scheduled_flow_runs", submit)

    async def look(worker: Any) -> None:
        worker._limiter = anyio.CapacityLimiter(2)
        worker._limiter.acquire_on_behalf_of_nowait(ending.flow_run.id)
        assert await worker._submit_scheduled_flow_runs([ending, other]) == [other.flow_run]
        worker._limiter.release_on_behalf_of(ending.flow_run.id)
        assert await worker._submit_scheduled_flow_runs([ending]) == [ending.flow_run]

    asyncio.run(look(BatchWorker("a-pool", limit=2)))
    assert submitted == [other, ending]


def test_a_worker_that_has_all_it_may_asks_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    due = [WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=uuid4(), flow_run=run(Pending(), 0))]

    async def ask(_self: object) -> list[WorkerFlowRunResponse]:
        return due

    monkeypatch.setattr(ProcessWorker, "_get_scheduled_flow_runs", ask)

    async def look(worker: Any) -> None:
        assert await worker._get_scheduled_flow_runs() == due
        worker._limiter = anyio.CapacityLimiter(1)
        assert await worker._get_scheduled_flow_runs() == due
        worker._limiter.acquire_on_behalf_of_nowait("a job")
        assert await worker._get_scheduled_flow_runs() == []
        worker._limiter.release_on_behalf_of("a job")
        assert await worker._get_scheduled_flow_runs() == due

    asyncio.run(look(BatchWorker("a-pool", limit=1)))
