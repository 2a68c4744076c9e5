"""The flow `pipeline`: a pipeline deployment runs one job. Runs as a subflow of `endpoint` and of `pipeline_job`."""

from __future__ import annotations

import logging
import time
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger
from prefect.states import Completed, Failed

from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError
from . import provision
from .dask_steps import DaskStepper
from .pipeline_job import PipelineJob
from .pipeline_summary import FAILED, PipelineSummary, read_pipeline_summary
from .progress import StepProgress, publish_pipeline
from .python_flow import run_python_flow
from .run_graph import StepCounts, run_graph
from .summary import SUMMARY
from .task_rows import close_stale
from .task_runner import LeanDaskTaskRunner


@flow(name="pipeline", flow_run_name="{deployment}", validate_parameters=False, persist_result=False)
def pipeline(deployment: str, job_folder: str) -> State[Any]:
    """Run one job on Dask.

    Args:
        deployment: name of the batch deployment, as this run is called.
        job_folder: reference of the folder that the job is recorded in.
    """
    job = PipelineJob.load(open_folder(job_folder))
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    logger: Any = get_run_logger()
    runner, flow_run_id = cast(LeanDaskTaskRunner, context.task_runner), context.flow_run.id
    with get_client(sync_client=True) as client:
        try:
            if job.deployment.graph is None:
                summary = _run_flow(job, client, runner, logger)
            else:
                summary = _run_graph(job, client, runner, logger, flow_run_id)
        except (BatchError, OSError) as error:
            logger.error(str(error))
            return Failed(message=str(error))
        publish_pipeline(client, summary)
    logger.info(summary.message)  # followers of the job read it as its end
    return Completed(message=summary.message) if summary.completed else Failed(message=summary.message)


def _run_graph(
    job: PipelineJob,
    client: SyncPrefectClient,
    runner: LeanDaskTaskRunner,
    logger: logging.Logger | Any,
    flow_run_id: UUID,
) -> PipelineSummary:
    def stepper(run: int) -> DaskStepper:
        if run > 1:
            close_stale(client, flow_run_id, logger)
        return DaskStepper(job, run, runner, client)

    said = flow_run_logger(client.read_flow_run(UUID(job.id)))

    def report(counts: StepCounts) -> None:
        progress(counts)
        if counts.ended is not None:  # in the job's own log, where its followers look
            said.log(logging.ERROR if counts.ended.state == FAILED else logging.INFO, counts.ended.line)

    cluster = provision.current()
    with StepProgress(client, job.id) as progress:
        return run_graph(job, stepper, report, cluster.usage if cluster is not None else None)


def _run_flow(
    job: PipelineJob, client: SyncPrefectClient, runner: LeanDaskTaskRunner, logger: logging.Logger | Any
) -> PipelineSummary:
    """Run the user's flow, unless the job has completed before."""
    if (ended := read_pipeline_summary(job)) is not None and ended.completed:
        return ended
    run, began = job.begin_run(), time.monotonic()
    summary = run_python_flow(job, client, runner, logger, run)
    summary.runs, summary.seconds = run, round(time.monotonic() - began, 3)
    job.folder.put(SUMMARY, summary.to_json())
    return summary
