"""One job of a flow in Python: the user's flow as a subflow, its tasks on the job's cluster, its outputs at the end.

<job>/outputs/<name>/    what the flow has written of an output, until it has succeeded
      folders/<name>/    what lies between its tasks
      results/           what its finished tasks returned; see task_results.py
      flow/              that its outputs are in place; see commit.py
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled
from pydantic.fields import FieldInfo

from ..scoring.errors import BatchError
from ..scoring.storage import Folder
from ..scoring.traces import describe
from . import data_files, flow_source, provision
from .commit import Staged, check_free, commit, read_result
from .dask_mapper import ENDED
from .data import CURRENT_JOB, InputFile, InputFolder, OutputFile, OutputFolder, Pointer
from .pipeline_job import DataValue, OutputPlace, PipelineJob
from .pipeline_runner import CODE, FlowCode, PipelineFuture, PipelineTaskRunner, call_tasks_on_cluster, code_folder
from .pipeline_summary import COMPLETED, FAILED, PipelineSummary, shown_outputs, summarize
from .placing import link_or_copy
from .score import RUNNING, RunningFlow
from .step_result import StepResult
from .task_results import RESULTS, exited
from .task_rows import close_lost, close_stale, set_state
from .task_runner import LeanDaskTaskRunner, is_connected

RECORD, OUTPUTS, _STAGED = "flow", "outputs", ".staged"


def run_python_flow(
    job: PipelineJob,
    client: SyncPrefectClient,
    runner: LeanDaskTaskRunner,
    logger: logging.Logger | Any,
    run: int,
) -> PipelineSummary:
    """Run the flow of a job, or what is left of it, to its end. A flow that fails gives a summary that says so.

    Args:
        job: as recorded.
        client: of the Prefect server.
        runner: of the flow run that this is called in, started.
        logger: of that flow run.
        run: how often the job has been started.

    Raises BatchError, OSError.
    """
    cluster = provision.current()
    usage = cluster.usage if cluster is not None else None
    began, record = time.monotonic(), job.folder / RECORD
    if read_result(record) is None:
        for name, place in job.outputs.items():
            check_free(record, name, place.location, place.is_file)
        failure = _FlowRun(job, client, runner, logger, run).run()
        if failure is not None:
            return summarize(job, FAILED, failure, run, time.monotonic() - began, usage)
        _commit(job, record, run, time.monotonic() - began)
    _clear(job)
    places = {name: place.location.url for name, place in job.outputs.items()}
    message = f"flow {_name(job)} completed{shown_outputs(places)}"
    summary = summarize(job, COMPLETED, message, run, time.monotonic() - began, usage)
    summary.outputs = places
    return summary


def _name(job: PipelineJob) -> str:
    return flow_source.split(str(job.deployment.flow))[1]


class _FlowRun:
    """One run of the user's flow."""

    def __init__(
        self,
        job: PipelineJob,
        client: SyncPrefectClient,
        runner: LeanDaskTaskRunner,
        logger: logging.Logger | Any,
        run: int,
    ) -> None:
        snapshot = job.deployment.code_snapshot
        assert snapshot is not None and job.deployment.flow is not None
        self._job, self._client, self._logger, self._run = job, client, logger, run
        self._entrypoint = job.deployment.flow
        self._dask: Any = runner.client
        self._snapshot, self._folder = snapshot, code_folder(snapshot)
        self._futures: list[PipelineFuture] = []

    def run(self) -> str | None:
        """Why the flow failed, or None."""
        call_tasks_on_cluster()
        cluster = provision.current()
        if cluster is not None:
            cluster.nodes.on_starved(self._give_up)
        try:
            with self._code() as flow:
                state = self._call(flow)
                if state.is_completed():
                    return None
                failure = self._failure(state)
        except BatchError:
            raise
        except Exception as error:  # of the import, or of parameters that the flow itself refuses
            failure = f"flow {_name(self._job)} failed: {self._said(error)}"
        if cluster is not None and (cluster.nodes.starved or not is_connected(self._dask)):
            return str(cluster.nodes.cut_off())
        return failure

    def _give_up(self) -> None:
        self._dask.cancel([future.dask for future in list(self._futures)], force=True)

    @contextmanager
    def _code(self) -> Generator[Flow[Any, Any]]:
        """The user's flow, imported here and within reach of every worker."""
        file, _ = flow_source.split(self._entrypoint)
        plugin = f"{CODE}{self._job.id}"
        self._dask.register_plugin(FlowCode(self._snapshot, file, self._job.root), name=plugin)
        by_value: list[Any] = []
        try:
            flow = flow_source.load_flow(self._folder, self._entrypoint)
            cluster = provision.current()
            if cluster is None or not cluster.private:  # another job may have modules of these names there
                by_value = [sys.modules[name] for name in flow_source.modules_of(self._folder)]
                for module in by_value:
                    cloudpickle.register_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]
            yield flow
        finally:
            for module in by_value:
                cloudpickle.unregister_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]
            flow_source.forget(self._folder)
            if is_connected(self._dask):
                self._dask.unregister_worker_plugin(plugin)

    def _call(self, flow: Flow[Any, Any]) -> State[Any]:
        runner = PipelineTaskRunner(**provision.runner_arguments())
        runner.job = self._job.root
        ours = flow.with_options(task_runner=cast(Any, runner))
        ours.fn = _Body(flow, self)
        token = CURRENT_JOB.set(self._job.root)
        try:
            called: Any = ours(**_arguments(flow, self._job), return_state=True)
            return asyncio.run(called) if inspect.iscoroutine(called) else called
        finally:
            CURRENT_JOB.reset(token)

    def begin(self) -> PipelineTaskRunner:
        """At the start of each attempt at the flow, in its context."""
        RUNNING.set(RunningFlow(self._job, self._client))
        context = FlowRunContext.get()
        assert context is not None and context.flow_run is not None
        if self._run > 1:
            close_stale(self._client, context.flow_run.id, self._logger)
        runner = cast(PipelineTaskRunner, context.task_runner)
        self._futures = runner.futures
        return runner

    def _failure(self, state: State[Any]) -> str:
        error: Any = state.result(raise_on_failure=False)
        said = self._said(error) if isinstance(error, BaseException) else str(state.message or state.name)
        for future in self._futures:
            ended = future.ended
            if ended is None or not (ended.is_failed() or ended.is_crashed()):
                continue
            cause: Any = ended.result(raise_on_failure=False)
            if not isinstance(error, BaseException) or _same(cause, error):
                return f"task {self._task_name(future)} failed: {_words(cause)}"
        return f"flow {_name(self._job)} failed: {said}"

    def _said(self, error: BaseException) -> str:
        if isinstance(error, BatchError):
            return describe(error)[1]
        return flow_source.line_of(error, self._folder) + _words(error)

    def _task_name(self, future: PipelineFuture) -> str:
        try:
            return self._client.read_task_run(future.task_run_id).name
        except Exception:  # the server hears of tasks by events, perhaps later
            return future.task.name

    def end_tasks(self, runner: PipelineTaskRunner) -> None:
        """After a flow that failed, while its runner is still there: nobody waits for its tasks any more."""
        for future in runner.stop():
            set_state(self._client, future.task_run_id, Cancelled(message=ENDED))

    def close_lost(self, runner: PipelineTaskRunner) -> None:
        """At the end of each attempt at the flow: tasks whose workers died cannot say so."""
        for future in runner.futures:
            if (loss := future.loss) is not None:
                close_lost(self._client, future.task, future.task_run_id, describe(loss)[1])


class _Body:
    """The user's function as the body of the flow that runs: it ends when all its tasks have.

    Workers get the flow, and with it this, only to know what it is called.
    """

    def __init__(self, flow: Flow[Any, Any], flow_run: _FlowRun) -> None:
        functools.update_wrapper(self, flow.fn)
        self.__globals__ = flow.fn.__globals__  # Prefect reads annotations with it
        self._function, self._isasync, self._flow_run = flow.fn, flow.isasync, flow_run

    def __reduce__(self) -> Any:
        return _nothing, ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        runner = self._flow_run.begin()
        if self._isasync:
            return self._await(runner, *args, **kwargs)
        with self._ending(runner):
            value = self._function(*args, **kwargs)
            runner.settle()
        return value

    async def _await(self, runner: PipelineTaskRunner, *args: Any, **kwargs: Any) -> Any:
        with self._ending(runner):
            value = await self._function(*args, **kwargs)
            await asyncio.to_thread(runner.settle)
        return value

    @contextmanager
    def _ending(self, runner: PipelineTaskRunner) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            self._flow_run.end_tasks(runner)
            if isinstance(error, SystemExit):
                raise exited(error) from None
            raise
        finally:
            self._flow_run.close_lost(runner)


def _nothing() -> None:
    return None


def _words(error: BaseException) -> str:
    """`ValueError: no good`, or just the type of one that says nothing."""
    return ": ".join(dict.fromkeys(describe(error)))


def _same(one: Any, other: BaseException) -> bool:
    return one is other or (type(one) is type(other) and str(one) == str(other))


def _arguments(flow: Flow[Any, Any], job: PipelineJob) -> dict[str, Any]:
    """The values of the flow's parameters."""
    interface, values = job.deployment.interface, dict[str, Any]()
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        if name in job.outputs:
            values[name] = _output(job, name, job.outputs[name])
        elif name in job.inputs:
            given = job.inputs[name]
            if isinstance(given, DataValue):
                kind = InputFile if interface.inputs[name].type == "uri_file" else InputFolder
                values[name] = kind(given.location.reference, job.root)
            else:
                values[name] = given
        elif parameter.default is parameter.empty or isinstance(parameter.default, FieldInfo):
            values[name] = None  # optional, and left out
    return values


def _output(job: PipelineJob, name: str, place: OutputPlace) -> Pointer:
    reference = f"{job.root}/{OUTPUTS}/{name}"
    if place.is_file:
        return OutputFile(f"{reference}/{place.location.url.rpartition('/')[2]}", job.root)
    return OutputFolder(reference, job.root)


def _commit(job: PipelineJob, record: Folder, run: int, seconds: float) -> None:
    """Put the outputs in place. Raises BatchError."""
    data_files.send(job.root)
    staged = {
        name: Staged(_staged(job, name, place), place.location, place.is_file) for name, place in job.outputs.items()
    }
    result = StepResult(name=_name(job), state=COMPLETED, seconds=seconds)
    commit(record, result, staged, run)


def _staged(job: PipelineJob, name: str, place: OutputPlace) -> Path:
    """An output on this machine, as what the commit may move away: a run that is killed meanwhile can be resumed."""
    written = _output(job, name, place)
    if not job.folder.is_local:
        return _fetched(written)
    source = written.path
    target = Path(job.folder.path) / OUTPUTS / _STAGED / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if not place.is_file:
        shutil.copytree(source, target, copy_function=link_or_copy, dirs_exist_ok=True)
        return target
    if source.exists():
        link_or_copy(str(source), str(target / source.name))
    return target / source.name


def _fetched(written: Pointer) -> Path:
    kind = InputFolder if written.is_folder else InputFile
    try:
        return kind(written.reference, written.job).path
    except FileNotFoundError:
        return written.path  # nothing was written


def _clear(job: PipelineJob) -> None:
    """Remove what only a resumed run would need."""
    for name in (OUTPUTS, RESULTS):
        folder = job.folder / name
        if folder.is_local:
            shutil.rmtree(folder.path, ignore_errors=True)
        else:
            _remove(folder, folder.files())
    data_files.release(job.root)


def _remove(folder: Folder, names: Sequence[str]) -> None:
    for name in names:
        folder.remove(name)
