"""LeanDaskTaskRunner does what DaskTaskRunner does, as the API tells it."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest
from endpoints import until
from prefect import flow, get_run_logger, tags, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TagsContext
from prefect.states import Cancelled
from prefect.task_runners import TaskRunner
from prefect_dask import DaskTaskRunner

from prefect_batch.flows.dask_mapper import dask_future
from prefect_batch.flows.plain_run import TOLD_AFTER_SECONDS
from prefect_batch.flows.task_runner import LeanDaskTaskRunner
from prefect_batch.interfaces.local_server import LocalServer

TASK_RUNS = 13
CLUSTER = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0"}


@task(task_run_name="double-{x}", tags=["mine"])
def double(x: int) -> int:
    get_run_logger().info("doubling %d", x)
    return 2 * x


@task(retries=1)
def flaky(x: int) -> int:
    from prefect.runtime import task_run

    if task_run.run_count == 1:
        raise ValueError("once")
    return x


@task
def broken() -> None:
    raise RuntimeError("always")


@task
def after(_: Any) -> int:
    return 1


@task
async def asynchronous() -> list[str]:
    return sorted(TagsContext.get().current_tags)


@task
def nested(x: int) -> int:
    return double.submit(x).result()


@flow
def everything() -> list[Any]:
    with tags("flow-tag"):
        doubled = double.map([1, 2, 3])
        chained = double.map(doubled)
        failed = broken.submit()
        never = after.submit(failed)
        found = [f.result() for f in doubled] + [f.result() for f in chained]
        found += [flaky.submit(5).result(), asynchronous.submit().result(), nested.submit(7).result()]
        failed.wait()
        never.wait()
        waited = after.submit(0, wait_for=[doubled[0]])
        return [*found, waited.result()]


def observed(runner: TaskRunner[Any]) -> tuple[Any, Any, Any]:
    """Results, what the API knows of each task run, and the tasks' own log lines."""
    state: Any = everything.with_options(task_runner=runner)(return_state=True)
    result = state.result(raise_on_failure=False)
    run_id = state.state_details.flow_run_id
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run_id]}}), limit=200
            )
            logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [run_id]}}), limit=200)
            lines = sorted(log.message for log in logs if log.message.startswith("doubling"))
            ended = [run for run in runs if run.state and (run.state.is_final() or run.state.name == "NotReady")]
            if len(ended) == TASK_RUNS and len(lines) == 7:
                break
            time.sleep(0.2)
    known = sorted(
        (
            run.name.split("-")[0] if not run.name.startswith("double") else run.name,
            sorted(run.tags),
            run.run_count,
            run.state.name,
            sorted((name, len(value)) for name, value in run.task_inputs.items()),
        )
        for run in runs
    )
    return result, known, lines


@pytest.mark.usefixtures("server")
def test_parity() -> None:
    stock = observed(DaskTaskRunner(cluster_kwargs=CLUSTER))
    lean = observed(LeanDaskTaskRunner(cluster_kwargs=CLUSTER))
    assert len(stock[1]) == TASK_RUNS
    assert lean == stock


@task
def quick() -> int:
    get_run_logger().info("doubling")
    return 2


@task
def slow() -> None:
    time.sleep(2.5 * TOLD_AFTER_SECONDS)


@task
def withdrawn() -> State[Any]:
    return Cancelled(message="nobody waits")


@flow(task_runner=LeanDaskTaskRunner(cluster_kwargs=CLUSTER))
def plainly() -> dict[UUID, str]:
    runner: Any = FlowRunContext.get().task_runner  # pyright: ignore[reportOptionalMemberAccess]
    futures = [runner.submit_plain(each, {}) for each in (quick, slow, broken, withdrawn)]
    states = [dask_future(future).result() for future in futures]
    assert states[0].data == 2
    return {future.task_run_id: state.name for future, state in zip(futures, states, strict=True)}


def test_a_plain_run_tells_of_running_if_it_takes_long_enough_and_of_its_end(client: SyncPrefectClient) -> None:
    ended = plainly()
    assert list(ended.values()) == ["Completed", "Completed", "Failed", "Cancelled"]

    def told() -> list[list[str]] | None:
        states = [[state.name for state in client.read_task_run_states(run)] for run in ended]
        return states if all(names[-1:] == [end] for names, end in zip(states, ended.values(), strict=True)) else None

    assert until("all ends", told) == [["Completed"], ["Running", "Completed"], ["Failed"], ["Cancelled"]]
    runs = [client.read_task_run(run) for run in ended]
    assert len({run.flow_run_id for run in runs}) == 1 and runs[0].flow_run_id is not None
    assert all(run.run_count == 1 and run.start_time and run.end_time for run in runs)
    assert runs[1].total_run_time.total_seconds() >= 2 * TOLD_AFTER_SECONDS > runs[0].total_run_time.total_seconds()
    assert runs[2].state is not None and "always" in (runs[2].state.message or "")


def test_a_runner_that_is_not_started_refuses(server: LocalServer) -> None:
    with pytest.raises(RuntimeError, match="must be started"):
        LeanDaskTaskRunner().submit(double, {"x": 1})
