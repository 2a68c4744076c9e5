"""Shards as mapped Prefect tasks on Dask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from distributed import CancelledError
from distributed.scheduler import KilledWorker
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed
from prefect_dask.task_runners import PrefectDaskFuture

from ..scoring import slots
from ..scoring.errors import BatchError, JobReleased
from ..scoring.shard import Receipt
from . import provision
from .job import Job
from .mapping import Suspected
from .plan import Plan, Shard, shard_name
from .score_shard import LimitedSink, fail_shard, score_shard
from .task_rows import close_lost, set_state
from .task_runner import LeanDaskTaskRunner, is_connected

ENDED = "The job has ended."

_sinks: dict[str, LimitedSink] = {}


@task(name="score", persist_result=False, cache_policy=NO_CACHE)
def score(shard: int, mini_batches: str, job_folder: str, run: int, logging_level: str) -> Receipt | State[Any]:
    """Score one shard; `mini_batches` only tells a reader of the UI which."""
    logger: Any = get_run_logger()
    sink = _sinks.setdefault(job_folder, LimitedSink(logger, logging_level))
    sink.logger = logger
    try:
        return score_shard(job_folder, shard, run, sink)
    except JobReleased:  # nobody waits any more; raised, it would be a traceback in the log of the job
        return Cancelled(message=ENDED)
    except BatchError as error:  # says all there is to say
        return Failed(message=str(error), data=error)


def release(job_folder: str, at_once: bool) -> None:
    """On a worker: let the job's scoring processes go."""
    _sinks.pop(job_folder, None)
    slots.release(job_folder, at_once)


class DaskMapper:
    """Submits shards through the task runner of the flow run that it is made in.

    Args:
        job: whose shards.
        plan: of the job.
        run: number of this run of the job.
        runner: the flow run's task runner.
        client: of the Prefect server.
    """

    def __init__(self, job: Job, plan: Plan, run: int, runner: LeanDaskTaskRunner, client: SyncPrefectClient) -> None:
        self._job, self._plan, self._run, self._runner, self._client = job, plan, run, runner, client
        self._flying: dict[int, PrefectDaskFuture[Receipt]] = {}
        self._cluster = provision.current()
        if self._cluster is not None:
            self._cluster.nodes.on_starved(self._give_up)
        self.ahead = 2 * job.settings.parallelism * threads(plan) + 2

    def submit(self, shard: Shard, done: Callable[[], None]) -> PrefectDaskFuture[Receipt]:
        parameters = {
            "shard": shard.number,
            "mini_batches": shard_name(shard),
            "job_folder": self._job.root,
            "run": self._run,
            "logging_level": self._job.settings.logging_level,
        }
        future = self._runner.submit_plain(score, parameters)
        self._flying[shard.number] = future
        future.add_done_callback(lambda _: done())  # pyright: ignore[reportUnknownLambdaType]
        return future

    def receipt(self, handle: PrefectDaskFuture[Receipt], shard: Shard, alone: bool) -> Receipt:
        try:
            state = dask_future(handle).result()
            # What Prefect's own result() gives, which takes a turn in another thread.
            return state.data if state.is_completed() else handle.result()
        except KilledWorker as error:
            message = f"{error.allowed_failures + 1} workers died one after the other while they had this shard"
            close_lost(self._client, score, handle.task_run_id, message)
            if not alone:
                raise Suspected(message) from None
            return fail_shard(self._job, self._plan, shard, self._run, "KilledWorker", message)
        except CancelledError:
            if self._cluster is not None:
                raise self._cluster.nodes.cut_off() from None
            raise
        finally:
            self._flying.pop(shard.number, None)
            dask_future(handle).release()  # a held result would be computed again when its worker dies

    def _give_up(self) -> None:
        dask: Any = self._runner.client
        dask.cancel([dask_future(future) for future in list(self._flying.values())], force=True)

    def abort(self) -> None:
        futures = list(self._flying.values())
        dask: Any = self._runner.client
        if is_connected(dask):
            self._give_up()
            dask.run(release, self._job.root, True, on_error="ignore")
        for future in futures:
            set_state(self._client, future.task_run_id, Cancelled(message=ENDED))

    def release(self) -> None:
        dask: Any = self._runner.client
        if is_connected(dask):
            dask.run(release, self._job.root, False, on_error="ignore")


def threads(plan: Plan) -> int:
    """Threads for each scoring process: with two, the files of the next shard arrive while this one is scored."""
    return 2 if plan.staged else 1


def dask_future(future: PrefectDaskFuture[Any]) -> Any:
    """The Dask future inside a Prefect future."""
    return cast(Any, future).wrapped_future
