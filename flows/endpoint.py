"""The flow `endpoint`: what a call to a batch endpoint runs. Records the job and runs its deployment's flow."""

from __future__ import annotations

import logging
from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed, Failed

from ..blocks.datastore import open_folder
from ..blocks.settings import JobSettings
from ..scoring.errors import BatchError
from .dask_mapper import threads
from .job import RECORD, Job, job_root
from .model import model
from .packing import plan_job
from .request import record
from .task_runner import LeanDaskTaskRunner


def _is_no_echo(entry: logging.LogRecord) -> bool:
    """False for Prefect's traceback of its own code, which it logs when a flow returns that it has failed."""
    return not (entry.exc_info and isinstance(entry.exc_info[1], FailedRun))


@flow(name="endpoint", validate_parameters=False, persist_result=False)
def endpoint(
    endpoint: str,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    deployment: str | None = None,
    settings: JobSettings | None = None,
) -> State[Any]:
    """Score a lot of data with the endpoint's default deployment, or with another of its deployments.

    Args:
        endpoint: Name of the endpoint; part of the Prefect deployment, not given by callers.
        inputs: The data, by name; a model deployment takes one, of any name, and literal values under `params`.
        outputs: Place for the output, by name; by default one of the job's own.
        deployment: Name of a deployment of the endpoint, instead of its default.
        settings: What this job overrides of the deployment's settings.
    """
    logger: Any = get_run_logger()
    logging.getLogger("prefect.flow_runs").addFilter(_is_no_echo)
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    job_id, by = str(context.flow_run.id), context.flow_run.created_by
    try:
        with get_client(sync_client=True) as client:
            root = job_root(client, job_id)
            if (folder := open_folder(root)).exists(RECORD):
                job = Job.load(folder)
                logger.info("Job %s goes on from its committed parts", job_id)
            else:
                call = {
                    "endpoint": endpoint,
                    "inputs": inputs,
                    "outputs": outputs,
                    "deployment": deployment,
                    "settings": settings,
                }
                job = record(client, call, job_id, root, by.display_value if by else None)
        logger.info("Deployment %s scores %s", job.deployment_label, job.input.url)
        plan = plan_job(job, logger.info)
        runner = LeanDaskTaskRunner(**job.compute.runner_arguments(job.settings, threads(plan)))
    except (BatchError, OSError) as error:
        logger.error(str(error))
        return Failed(message=str(error))
    # Our own heartbeat is enough: the thread of another one would take a second to end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        state: State[Any] = model.with_options(task_runner=cast(Any, runner))(
            deployment=job.deployment.name, job_folder=job.root, return_state=True
        )
    return Completed(message=state.message) if state.is_completed() else Failed(message=_one_line(state))


def _one_line(state: State[Any]) -> str:
    return (state.message or f"The deployment's flow ended as {state.name}").removeprefix(
        "Flow run encountered an exception: "
    )
