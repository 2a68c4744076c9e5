"""The task runner of a user's flow: its tasks on the job's Dask cluster, also those that are called without submit().

Written against prefect 3.8 and prefect-dask 0.3.7, as task_runner.py.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import prefect.task_engine
from distributed import WorkerPlugin
from distributed.scheduler import KilledWorker
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Crashed
from prefect.utilities.annotations import allow_failure
from prefect.utilities.collections import visit_collection
from prefect.utilities.hashing import hash_objects
from prefect_dask.task_runners import PrefectDaskFuture

from ..blocks.snapshot import Snapshot, fetch
from ..scoring.errors import JobFailed
from ..scoring.traces import describe
from . import data_files, flow_source
from .task_results import InJob
from .task_runner import LeanDaskTaskRunner, is_connected

CODE = "prefect-batch-"
"""How the names of plugins begin that bring a flow's code to the workers."""
_run_task = prefect.task_engine.run_task


class PipelineFuture(PrefectDaskFuture[Any]):
    """A future that knows whether the flow has looked at how its task ended."""

    looked_at = False

    def __init__(self, task_run_id: UUID, wrapped_future: Any, task: Any) -> None:
        super().__init__(task_run_id, wrapped_future)  # pyright: ignore[reportUnknownMemberType]
        self.dask: Any = wrapped_future
        self.task = task

    @property
    def state(self) -> State[Any]:
        self.looked_at = True
        return super().state

    @property
    def ended(self) -> State[Any] | None:
        """How the task ended, or None while it has not; does not count as a look."""
        if self.dask.done():
            self.wait()
        return self._final_state

    @property
    def loss(self) -> BaseException | None:
        """Why the task has ended without a word of its own: its workers died, one after the other."""
        if self.dask.status != "error":
            return None
        error: Any = self.dask.exception()
        if isinstance(error, KilledWorker):
            return JobFailed(f"{error.allowed_failures + 1} workers died one after the other while they ran it")
        return error

    def wait(self, timeout: float | None = None) -> None:
        super().wait(timeout)
        if self._final_state is None and (loss := self.loss) is not None:
            self._final_state = Crashed(message=describe(loss)[1], data=loss)

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        self.looked_at = True
        try:
            return super().result(timeout, raise_on_failure)
        except KilledWorker:
            self.wait()
        return super().result(timeout, raise_on_failure)


class PipelineTaskRunner(LeanDaskTaskRunner):
    """Runs the tasks of one job's flow; those that have finished are not run again when the job is resumed.

    Set `job`, the reference of the job's folder, before use.
    """

    job: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.futures: list[PipelineFuture] = []
        """Of the flow's own tasks, in the order of their submission. Held, or Dask would drop the tasks."""
        self._labels: dict[UUID, str] = {}
        self._counts: Counter[str] = Counter()
        self._tasks: dict[int, tuple[Any, Any]] = {}

    def duplicate(self) -> PipelineTaskRunner:
        other = super().duplicate()
        other.job = self.job
        return other

    def __getstate__(self) -> dict[str, Any]:
        """For workers, which only need to know how to make another."""
        return self.__dict__ | {"futures": [], "_labels": {}, "_counts": Counter(), "_tasks": {}, "_shared": {}}

    def submit(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        task: Any,
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectDaskFuture[Any]:
        waited = list(wait_for) if wait_for is not None else None
        return super().submit(self._in_job(task), parameters, waited, dependencies)

    def future(self, task: Any, dask_future: Any, task_run_id: UUID, label: str | None) -> PrefectDaskFuture[Any]:
        if TaskRunContext.get() is not None:
            return super().future(task, dask_future, task_run_id, label)
        future = PipelineFuture(task_run_id, dask_future, task)
        self.futures.append(future)
        if label is not None:
            self._labels[task_run_id] = label
        return future

    def label(self, task: Any, parameters: dict[str, Any], wait_for: Iterable[Any] | None) -> str | None:
        """The same for the same call in each run of the job: of its task and arguments, and the how manieth such it is.

        A future among the arguments counts by its own label. None for a call that may come after a failed task, and
        for one of a task: what runs again is that one, whole.
        """
        if TaskRunContext.get() is not None:
            return None
        certain = True

        def look(value: Any) -> Any:
            nonlocal certain
            if isinstance(value, allow_failure):
                certain = False
                for future in _futures(cast("allow_failure[Any]", value).unwrap()):
                    future.looked_at = True
            if isinstance(value, PrefectFuture):
                label = self._labels.get(cast("PrefectFuture[Any]", value).task_run_id)
                certain = certain and label is not None
                return label
            return cast("Any", value)

        shown: Any = visit_collection(parameters, visit_fn=look, return_data=True)
        visit_collection(wait_for, visit_fn=look, return_data=False)
        digest = hash_objects(task.task_key, task.name, shown) if certain else None
        if digest is None:
            return None
        self._counts[digest] += 1
        return f"{digest}-{self._counts[digest]}"

    def _in_job(self, task: Any) -> Any:
        """The task with a function that runs in the job; a generator as it is."""
        if task.isgenerator or self.job is None:
            return task
        if id(task) not in self._tasks:
            made = copy.copy(task)
            made.fn = InJob(task.fn, self.job, task.isasync)
            self._tasks[id(task)] = (task, made)  # both held: nothing else gets the id
        return self._tasks[id(task)][1]

    def stop(self) -> list[PipelineFuture]:
        """Cancel the tasks that have not ended; returns them."""
        left = [future for future in self.futures if future.ended is None]
        dask: Any = self.client
        if is_connected(dask):
            dask.cancel([future.dask for future in left], force=True)
        return left

    def settle(self) -> None:
        """Wait for all tasks; raises the failure of the first that the flow has not looked at."""
        for future in self.futures:
            if not future.looked_at:
                future.result()


def _futures(value: Any) -> list[PipelineFuture]:
    found: list[PipelineFuture] = []

    def look(one: Any) -> Any:
        if isinstance(one, PipelineFuture):
            found.append(one)
        return one

    visit_collection(value, visit_fn=look, return_data=False)
    return found


def _run_on_cluster(task: Any, **kwargs: Any) -> Any:
    """Prefect's run_task(), which a task is called by that is called like a function; in our flow it is submitted."""
    context = FlowRunContext.get()
    runner = context.task_runner if context is not None else None
    if not isinstance(runner, PipelineTaskRunner) or TaskRunContext.get() is not None or task.isgenerator:
        return _run_task(task, **kwargs)
    future = runner.submit(task, kwargs["parameters"], kwargs.get("wait_for"))
    if task.isasync:
        return asyncio.to_thread(_ended, future, kwargs["return_type"])
    return _ended(future, kwargs["return_type"])


def _ended(future: PrefectDaskFuture[Any], return_type: str) -> Any:
    if return_type == "result":
        return future.result()
    future.wait()
    return future.state


def call_tasks_on_cluster() -> None:
    """From now on, flows with a PipelineTaskRunner send tasks to the cluster that they call without submit()."""
    prefect.task_engine.run_task = cast(Any, _run_on_cluster)


class FlowCode(WorkerPlugin):
    """The code of a flow on every worker, also on those that come later.

    Args:
        snapshot: of the deployed folder.
        file: the flow's, in it.
        job: reference of the job's folder.
    """

    def __init__(self, snapshot: Snapshot, file: str, job: str) -> None:
        self._snapshot, self._file, self._job = snapshot, file, job

    def setup(self, worker: Any) -> None:
        sys.dont_write_bytecode = True  # what was deployed stays as it is
        flow_source.expose(code_folder(self._snapshot), self._file)

    def teardown(self, worker: Any) -> None:
        flow_source.forget(code_folder(self._snapshot))
        data_files.release(self._job)


def code_folder(snapshot: Snapshot) -> Path:
    """The deployed folder on this machine."""
    return fetch(snapshot) / snapshot.name
