"""The flow `model`: a model deployment scores the items of one job. Runs as a subflow of `endpoint`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError
from . import environments, provision
from .dask_mapper import DaskMapper
from .job import Job
from .plan import Plan
from .progress import ProgressArtifact, publish_result
from .score_job import score_job
from .summary import read_summary
from .task_rows import close_stale
from .task_runner import LeanDaskTaskRunner


@flow(name="model", flow_run_name="{deployment}", validate_parameters=False, persist_result=False)
def model(deployment: str, job_folder: str) -> State[Any]:
    """Score one job on Dask.

    Args:
        deployment: name of the batch deployment, as this run is called.
        job_folder: reference of the folder that the job is recorded in.
    """
    job = Job.load(open_folder(job_folder))
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    logger: Any = get_run_logger()
    runner, flow_run_id = cast(LeanDaskTaskRunner, context.task_runner), context.flow_run.id
    shown_on = job.id if job.parent is None else str(flow_run_id)  # a step of a pipeline has no flow run but this
    cluster = provision.current()
    usage = cluster.usage if cluster is not None and job.parent is None else None  # a step's is its pipeline's
    with get_client(sync_client=True) as client:

        def mapper(plan: Plan, run: int) -> DaskMapper:
            if run > 1:
                close_stale(client, flow_run_id, logger)
            logger.info(
                "%d %s in %d mini-batches, %d task runs", plan.items, plan.unit, plan.mini_batches, len(plan.shards)
            )
            return DaskMapper(job, plan, run, runner, client)

        try:
            warnings = _prepare(job, runner, logger.info if cluster is None else cluster.say)
            for warning in warnings:
                logger.warning(warning)
            with ProgressArtifact(client, shown_on) as progress:
                summary = score_job(job, mapper, progress, usage, warnings)
        except (BatchError, OSError) as error:
            logger.error(str(error))
            return Failed(message=str(error))
        publish_result(client, summary, shown_on)
    logger.info(summary.message) if summary.completed else logger.error(summary.message)
    return Completed(message=summary.message) if summary.completed else Failed(message=summary.message)


def _prepare(job: Job, runner: LeanDaskTaskRunner, say: Callable[[str], None]) -> list[str]:
    """Have the job's environment on its nodes; returns what of it does not suit the model. Raises JobFailed."""
    if (ended := read_summary(job)) is not None and ended.completed:
        return []
    return environments.prepare(job, runner.client, say)
