"""What a worker says of a process that was killed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
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
