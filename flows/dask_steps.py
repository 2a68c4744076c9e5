"""Steps of a pipeline as Prefect tasks on Dask: each a row in the run graph, with its edges and its own log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from distributed import CancelledError
from distributed.scheduler import KilledWorker
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from prefect_dask.task_runners import PrefectDaskFuture

from . import provision, run_step
from .dask_mapper import dask_future
from .pipeline_job import PipelineJob
from .pipeline_summary import CANCELLED, COMPLETED, FAILED
from .run_graph import STOPPED, WorkersLost
from .score_shard import LimitedSink
from .step_result import StepResult
from .task_rows import HEARSAY_SECONDS, close_lost, set_state
from .task_runner import LeanDaskTaskRunner, is_connected

_LOST = "The worker died that ran it."
_STATES: dict[str, Callable[..., State[Any]]] = {COMPLETED: Completed, FAILED: Failed, CANCELLED: Cancelled}


@task(name="step", task_run_name="{step}", persist_result=False, cache_policy=NO_CACHE)
def step_task(step: str, job_folder: str, run: int, used: int) -> State[StepResult]:
    """Run one step of the job."""
    logger: Any = get_run_logger()
    sink = LimitedSink(logger, "info", f"steps/{step} of the job's folder")
    result = run_step.run_step(job_folder, step, run, sink, used)
    return _STATES[result.state](message=result.message or None, data=result)


class DaskStepper:
    """Runs steps through the task runner of the flow run that it is made in.

    Args:
        job: whose steps.
        run: number of this run of the job.
        runner: the flow run's task runner.
        client: of the Prefect server.
    """

    def __init__(self, job: PipelineJob, run: int, runner: LeanDaskTaskRunner, client: SyncPrefectClient) -> None:
        self._job, self._run, self._runner, self._client = job, run, runner, client
        self._flying: dict[str, PrefectDaskFuture[StepResult]] = {}
        self._completed: dict[str, State[StepResult]] = {}
        self._cluster = provision.current()
        if self._cluster is not None:
            self._cluster.nodes.on_starved(self._give_up)
        if run > 1:  # workers that outlive the flow may still run what it had started
            self._stop_on_workers(run - 1)

    def submit(self, step: str, after: Sequence[str], used: int, done: Callable[[], None]) -> None:
        # States instead of futures: Dask would run a step again whose result was lost with its worker.
        states = [self._completed[name] for name in after if name in self._completed]
        future: Any = cast(Any, step_task).submit(step, self._job.root, self._run, used, wait_for=states)
        self._flying[step] = future
        future.add_done_callback(lambda _: done())  # pyright: ignore[reportUnknownLambdaType]

    def result(self, step: str) -> StepResult:
        future = self._flying.pop(step, None)
        if future is None:
            return StepResult(name=step, state=CANCELLED)
        try:
            state: State[StepResult] = dask_future(future).result()
        except KilledWorker as error:
            close_lost(self._client, step_task, future.task_run_id, _LOST, name=step, wait=HEARSAY_SECONDS)
            raise WorkersLost(error.allowed_failures + 1) from None
        except CancelledError:
            if self._cluster is not None:
                raise self._cluster.nodes.cut_off() from None
            raise
        finally:
            dask_future(future).release()
        result: Any = cast(Any, state).result(raise_on_failure=False, _sync=True)
        if isinstance(result, BaseException):
            raise result
        if result.completed:
            self._completed[step] = state
        return result

    def _give_up(self) -> None:
        dask: Any = self._runner.client
        dask.cancel([dask_future(future) for future in list(self._flying.values())], force=True)

    def stop(self) -> None:
        stopped = {step: future for step, future in self._flying.items() if not dask_future(future).done()}
        if not stopped:
            return
        dask: Any = self._runner.client
        if is_connected(dask):
            dask.cancel([dask_future(future) for future in stopped.values()], force=True)
            self._stop_on_workers(self._run)
        for step, future in stopped.items():
            del self._flying[step]
            set_state(self._client, future.task_run_id, Cancelled(message=STOPPED))

    def _stop_on_workers(self, run: int) -> None:
        dask: Any = self._runner.client
        dask.run(partial(run_step.stop, self._job.root, run), on_error="ignore")
