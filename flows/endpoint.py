"""The flows that callers start: `endpoint`, behind every batch endpoint, and `pipeline-job`, for pipelines without one.

Both record the job and run the flow of its deployment's type.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError
from . import stand_alone
from .dask_mapper import threads
from .job import RECORD, job_root
from .job_events import told
from .model import model
from .packing import plan_job
from .pipeline import pipeline
from .pipeline_job import AnyJob, PipelineJob, load_job
from .pipeline_summary import read_pipeline_summary
from .provision import provisioned, runner_arguments
from .request import record
from .summary import read_summary
from .task_runner import LeanDaskTaskRunner

Record = Callable[[SyncPrefectClient, str, str, str | None], AnyJob]
"""Checks and records a call. Takes the client, the job's id, the reference of its folder, and who called."""


def _is_no_echo(entry: logging.LogRecord) -> bool:
    """False for Prefect's traceback of its own code, which it logs when a flow returns that it has failed."""
    return not (entry.exc_info and isinstance(entry.exc_info[1], FailedRun))


@flow(name="endpoint", validate_parameters=False, persist_result=False)
def endpoint(
    endpoint: str,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    deployment: str | None = None,
    settings: dict[str, Any] | None = None,
    input: str | list[str] | dict[str, Any] | None = None,
    caller: str | None = None,
) -> State[Any]:
    """Run the endpoint's default deployment, or another of its deployments, on a lot of data.

    Args:
        endpoint: Name of the endpoint; part of the Prefect deployment, not given by callers.
        inputs: The data, by name; a model deployment takes one, of any name, and literal values under `params`; a
            pipeline deployment takes data and literal values by the names that it declares.
        outputs: Places for the outputs, by name; by default the job's own.
        deployment: Name of a deployment of the endpoint, instead of its default.
        settings: What this job overrides of the deployment's settings.
        input: Short for the one data input of a model deployment: one place or several.
        caller: The principal that the job runs as; given by what stands in front of Prefect and knows it.
    """
    call = {
        "endpoint": endpoint,
        "inputs": inputs,
        "outputs": outputs,
        "deployment": deployment,
        "settings": settings,
        "input": input,
        "caller": caller,
    }
    return told(_run_job(lambda client, job_id, root, by: record(client, call, job_id, root, by)))


@flow(name=stand_alone.FLOW, validate_parameters=False, persist_result=False)
def pipeline_job(
    component: str,
    deployment: str,
    settings: dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
) -> State[Any]:
    """Run a pipeline that no endpoint stands before: `prefect-batch job create`.

    Args:
        component: Name of the stored component.
        deployment: What the pipeline is called.
        settings: As of a pipeline deployment.
        inputs: Data and literal values, by name.
        outputs: Places for the outputs, by name; by default the job's own.
    """

    def make(client: SyncPrefectClient, job_id: str, root: str, by: str | None) -> PipelineJob:
        found = stand_alone.load(client, component, deployment, settings or {})
        return stand_alone.record(client, found, inputs or {}, outputs or {}, job_id, root, by)

    return told(_run_job(make))


def _run_job(make_record: Record) -> State[Any]:
    """The body of both: the job of this flow run, recorded by its first start, to its end."""
    logger: Any = get_run_logger()
    logging.getLogger("prefect.flow_runs").addFilter(_is_no_echo)
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    job_id, by = str(context.flow_run.id), context.flow_run.created_by
    try:
        with get_client(sync_client=True) as client:
            root = job_root(client, job_id)
            if (folder := open_folder(root)).exists(RECORD):
                job = load_job(folder)
                logger.info("Job %s goes on from what it has committed", job_id)
            else:
                job = make_record(client, job_id, root, by.display_value if by else None)
            with _cluster(client, job, context.flow_run, logger) as runner:
                state = _call(job, runner)
    except (BatchError, OSError) as error:
        logger.error(str(error))
        return Failed(message=str(error))
    return Completed(message=state.message) if state.is_completed() else Failed(message=_one_line(state))


@contextmanager
def _cluster(
    client: SyncPrefectClient, job: AnyJob, flow_run: FlowRun, logger: logging.Logger | Any
) -> Generator[LeanDaskTaskRunner]:
    """A task runner on the cluster that the job gets for the time of the block."""
    ended = read_pipeline_summary(job) if isinstance(job, PipelineJob) else read_summary(job)
    if ended is not None and ended.completed:
        yield LeanDaskTaskRunner()  # never started: its flow only gives its end again
        return
    if isinstance(job, PipelineJob):
        logger.info("Pipeline %s runs", job.deployment_label)
        shape = job.compute.shape(job.settings)
    else:
        logger.info("Deployment %s scores %s", job.deployment_label, job.input.url)
        plan = plan_job(job, logger.info)
        shape = job.compute.shape(job.settings, threads(plan), job.deployment.image)
        shape = replace(shape, alone=len(plan.shards) == 1)
    with provisioned(client, job, shape, flow_run, logger.info):
        yield LeanDaskTaskRunner(**runner_arguments())


def _call(job: AnyJob, runner: LeanDaskTaskRunner) -> State[Any]:
    """Run the flow of the job's type."""
    subflow: Any = pipeline if isinstance(job, PipelineJob) else model
    # Our own heartbeat is enough: the thread of another one would take a second to end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return subflow.with_options(task_runner=runner)(
            deployment=job.deployment.name, job_folder=job.root, return_state=True
        )


def _one_line(state: State[Any]) -> str:
    return (state.message or f"The deployment's flow ended as {state.name}").removeprefix(
        "Flow run encountered an exception: "
    )
