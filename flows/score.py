"""A model deployment as a step of a Python flow.

from prefect_batch.flows.score import score

@flow
def pipeline(data: InputFolder, scores: OutputFolder) -> None:
    prepared = prepare.submit(data)
    score("heart-model", prepared, output=scores)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture

from ..blocks.acting import acting_as
from ..blocks.datastore import open_folder
from ..scoring.errors import BatchError, InvalidDocument, JobFailed
from .data import InputFolder, OutputFolder, Pointer

if TYPE_CHECKING:  # a flow's file is imported often, and these take a while
    from .job import Job
    from .pipeline_job import PipelineJob


@dataclass
class RunningFlow:
    """The flow that runs here, and of which job."""

    job: PipelineJob
    client: SyncPrefectClient
    names: Counter[str] = field(default_factory=Counter[str])
    """Of model deployments, and how often each was called."""


RUNNING: ContextVar[RunningFlow | None] = ContextVar("RUNNING", default=None)


def score(
    deployment: str,
    data: Any,
    output: OutputFolder | None = None,
    settings: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> InputFolder:
    """Score data with a model deployment: a job of its own in mini-batches, on the cluster of the pipeline's job.

    Resumed with the pipeline's job, it scores what is missing.

    Args:
        deployment: of the same endpoint, or `endpoint/deployment`.
        data: an InputFolder, an InputFile, an output that was written to, a path or a URL, or a future of one.
        output: where the predictions go; by default a folder of the pipeline's job.
        settings: what this job overrides of the deployment's settings.
        params: the model's parameters.

    Returns the folder with the predictions. Raises BatchError for a call that is not valid, JobFailed.
    """
    flow = RUNNING.get()
    if flow is None or TaskRunContext.get() is not None:
        raise BatchError("score() is called by the flow of a pipeline job: not by a task, and not without a job")
    name = deployment.rpartition("/")[2]
    flow.names[name] += 1
    step = name if flow.names[name] == 1 else f"{name}-{flow.names[name]}"
    job = _job(flow, deployment, step, _reference(data), output, settings or {}, params or {})
    _run(job)
    return InputFolder(job.output.reference, flow.job.root)


def _reference(data: Any) -> str:
    if isinstance(data, PrefectFuture):
        data = cast("PrefectFuture[Any]", data).result()
    if isinstance(data, Pointer):
        if data.is_output:  # what this process wrote there is to be seen by others
            from . import data_files

            data_files.send(data.job)
        return data.reference
    if not data:
        raise InvalidDocument(f"score(): {data!r} is no data: give an InputFolder, a path or a URL")
    return str(data)


def _job(
    flow: RunningFlow,
    deployment: str,
    step: str,
    data: str,
    output: OutputFolder | None,
    settings: Mapping[str, Any],
    params: Mapping[str, Any],
) -> Job:
    """The model's job: as an earlier run has recorded it, or a new one."""
    from ..blocks.documents import validate
    from ..blocks.model_deployment import ModelDeployment
    from ..blocks.settings import JobSettings
    from .inputs import PARAMS
    from .job import RECORD, Job
    from .request import make_job, route

    parent = flow.job
    root = f"{parent.root}/steps/{step}"
    if (folder := open_folder(root)).exists(RECORD):
        return Job.load(folder)
    endpoint, _, name = deployment.rpartition("/")
    if not endpoint and parent.endpoint is None:
        raise InvalidDocument(f"score({deployment!r}): this job has no endpoint: write endpoint/deployment")
    found = route(flow.client, endpoint or str(parent.endpoint), name)
    if not isinstance(found, ModelDeployment):
        raise InvalidDocument(f"score({deployment!r}): is a pipeline: name a deployment of type model")
    overrides = {"instance_count": parent.settings.instance_count, **settings}
    with acting_as(None):  # what the caller's rights open, its reference says
        job = make_job(
            flow.client,
            f"{parent.id}-{step}",
            found,
            parent.compute,
            root,
            {"data": data, PARAMS: dict(params)},
            {"predictions": {"path": output.reference if output is not None else f"{root}/score"}},
            validate(JobSettings, overrides, f"score({deployment!r}): settings"),
        )
    job.endpoint, job.parent = found.endpoint_name, parent.id
    job.submitted_by, job.caller = parent.submitted_by, parent.caller
    job.save()
    return job


def _run(job: Job) -> None:
    from .model import model
    from .packing import plan_job
    from .provision import runner_arguments
    from .task_runner import LeanDaskTaskRunner

    logger: Any = get_run_logger()
    logger.info("Deployment %s scores %s", job.deployment_label, job.input.url)
    plan_job(job, logger.info)
    runner: Any = LeanDaskTaskRunner(**runner_arguments())
    state: Any = model.with_options(task_runner=runner)(
        deployment=job.deployment.name, job_folder=job.root, return_state=True
    )
    if not state.is_completed():
        raise JobFailed(f"deployment {job.deployment.name}: {state.message}")
