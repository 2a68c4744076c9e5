"""Jobs as tests start them, wait for them and look at what they left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, TaskRun

from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.blocks.endpoint import BatchEndpoint
from prefect_batch.flows import catalog, jobs
from prefect_batch.flows.endpoint import endpoint as endpoint_flow

JOB_SECONDS = 120.0
_PAUSE = 0.25
"""Between two questions: the server answers them with the processors that the job needs."""


@dataclass
class Ended:
    """A job that has ended, and what it left."""

    id: str
    state: str
    message: str
    folder: Path

    @property
    def predictions(self) -> bytes:
        return (self.output / "predictions.csv").read_bytes()

    @property
    def output(self) -> Path:
        """Where the output goes when the call names no place."""
        return self.folder.parent.parent / "azureml" / self.id / "score"

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "errors.jsonl").read_text().splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / "job.json").read_text())


class Endpoints:
    """Makes endpoints and runs jobs on them."""

    def make(self, name: str) -> str:
        with get_client(sync_client=True) as client:
            return catalog.create_endpoint(client, BatchEndpoint(name=name)).name

    def deploy(self, path: Path, endpoint: str, set_default: bool = True, **kwargs: Any) -> Any:
        self.make(endpoint)
        with get_client(sync_client=True) as client:
            return catalog.create_deployment(client, path, endpoint=endpoint, set_default=set_default, **kwargs)

    def run(self, endpoint: str, data: Path | str, **parameters: Any) -> Ended:
        """A job on one input whose flow runs in this process."""
        return self.call(endpoint, inputs={"data": str(data)}, **parameters)

    def call(self, endpoint: str, **parameters: Any) -> Ended:
        """A job whose flow runs in this process: everything is real but the worker that starts it."""
        state: Any = endpoint_flow(endpoint=endpoint, **parameters, return_state=True)
        return self._ended(str(state.state_details.flow_run_id), state.name, state.message)

    def invoke(self, endpoint: str, data: Path | str, **parameters: Any) -> UUID:
        """A job on one input that the session's worker runs."""
        return self.start(endpoint, inputs={"data": str(data)}, **parameters)

    def start(self, endpoint: str, **parameters: Any) -> UUID:
        """A job that the session's worker runs."""
        with get_client(sync_client=True) as client:
            return jobs.invoke(client, endpoint, parameters).id

    def flow_pid(self, job: UUID, run: int = 1) -> int:
        """The process that runs a job's flow, or ran it."""
        return json.loads((self.folder(job) / "runs" / f"{run:03d}.json").read_text())["pid"]

    def read(self, job: UUID) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(job)

    def until(self, job: UUID, what: str, condition: Callable[[FlowRun], Any]) -> Any:
        """Poll until the condition gives something true; fails after two minutes with the state it is in."""
        deadline = time.monotonic() + JOB_SECONDS
        with get_client(sync_client=True) as client:
            while not (found := condition(run := client.read_flow_run(job))):
                if time.monotonic() > deadline:
                    pytest.fail(f"job {job} is {run.state} and never came to {what}")
                time.sleep(_PAUSE)
        return found

    def wait(self, job: UUID) -> Ended:
        run = self.until(job, "an end", lambda run: run.state and run.state.is_final() and run)
        return self._ended(str(job), run.state.name, run.state.message)

    def folder(self, job: UUID | str) -> Path:
        with get_client(sync_client=True) as client:
            return Path(default_datastore(client).folder.path) / "jobs" / str(job)

    def _ended(self, job: str, state: str | None, message: str | None) -> Ended:
        return Ended(job, state or "", message or "", self.folder(job))


def task_runs(job: UUID | str) -> list[TaskRun]:
    """Those of the flows that a job has called, as far as the server has heard of them: some moments later."""
    with get_client(sync_client=True) as client:
        below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [job]}})
        called = [run.id for run in client.read_flow_runs(flow_run_filter=below)]
        return client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": called}}))


def task_run_states(job: UUID | str) -> list[str]:
    """The names of the states of the same, in alphabetical order."""
    return sorted(run.state.name or "" for run in task_runs(job) if run.state is not None)


def open_task_runs(job: UUID | str) -> list[TaskRun]:
    """Those of the same that are pending or running, whatever their states are called."""
    return [run for run in task_runs(job) if run.state and (run.state.is_pending() or run.state.is_running())]


def until(what: str, condition: Callable[[], Any]) -> Any:
    """Ask again and again until there is something; fails after two minutes."""
    deadline = time.monotonic() + JOB_SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"never came to {what}")
        time.sleep(_PAUSE)
    return found
