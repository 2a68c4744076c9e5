"""The flow `endpoint`: what a call to a batch endpoint runs. Routes to a deployment, resolves the data, records the
job, and runs the deployment's flow."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed

from ..blocks import store
from ..blocks.compute import LOCAL, ComputeCluster, builtin_local
from ..blocks.datastore import default_datastore
from ..blocks.deployment import ModelDeployment, latest
from ..blocks.documents import validate
from ..blocks.endpoint import BatchEndpoint
from ..blocks.settings import JobSettings
from ..scoring.errors import BatchError, NotFound
from ..scoring.storage import Folder
from .inputs import check_inside, check_output, resolve, resolve_input, single
from .job import OUTPUT_NAME, RECORD, Job, Location, installed_versions, user
from .model import model
from .task_runner import LeanDaskTaskRunner


@flow(name="endpoint", validate_parameters=False, persist_result=False)
def endpoint(
    endpoint: str,
    inputs: dict[str, str] | None = None,
    outputs: dict[str, str] | None = None,
    deployment: str | None = None,
    settings: JobSettings | None = None,
) -> State[Any]:
    """Score a lot of data with the endpoint's default deployment, or with another of its deployments.

    Args:
        endpoint: Name of the endpoint; part of the Prefect deployment, not given by callers.
        inputs: The data, by name; a model deployment takes one, of any name.
        outputs: Folder for the output, by name; by default one of the job's own.
        deployment: Name of a deployment of the endpoint, instead of its default.
        settings: What this job overrides of the deployment's settings.
    """
    logger: Any = get_run_logger()
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None
    job_id, by = str(context.flow_run.id), context.flow_run.created_by
    try:
        with get_client(sync_client=True) as client:
            folder = default_datastore(client).folder / "jobs" / job_id
            if folder.exists(RECORD):
                job = Job.load(folder)
                logger.info("Job %s goes on from its committed parts", job_id)
            else:
                request = _Request(endpoint, inputs or {}, outputs or {}, deployment, settings or {})
                job = record(client, request, job_id, folder, by.display_value if by else None)
        runner = LeanDaskTaskRunner(**job.compute.runner_arguments(job.settings))
    except BatchError as error:
        logger.error(str(error))
        return Failed(message=str(error))
    logger.info("Deployment %s scores %s", job.deployment_label, job.input.url)
    state: State[Any] = model.with_options(task_runner=cast(Any, runner))(
        deployment=job.deployment.name, job_folder=job.root, return_state=True
    )
    return Completed(message=state.message) if state.is_completed() else Failed(message=_one_line(state))


def _one_line(state: State[Any]) -> str:
    return (state.message or f"The deployment's flow ended as {state.name}").removeprefix(
        "Flow run encountered an exception: "
    )


class _Request:
    """A call as it came."""

    def __init__(
        self,
        endpoint: str,
        inputs: dict[str, str],
        outputs: dict[str, str],
        deployment: str | None,
        settings: JobSettings | dict[str, Any],
    ) -> None:
        self.endpoint, self.inputs, self.outputs = endpoint, inputs, outputs
        self.deployment = deployment
        self.settings: dict[str, Any] = settings.model_dump() if isinstance(settings, JobSettings) else settings


def record(client: SyncPrefectClient, request: _Request, job_id: str, folder: Folder, by: str | None) -> Job:
    """Route, resolve and check a request, and write it down. Raises BatchError for whatever is wrong with it."""
    overrides = validate(JobSettings, request.settings, "settings")
    found = route(client, request.endpoint, request.deployment)
    compute = find_compute(client, found.compute)
    output = single("outputs", request.outputs)
    job = make_job(
        job_id, found, compute, folder, single("inputs", request.inputs), resolve(output) if output else None, overrides
    )
    job.endpoint, job.submitted_by = request.endpoint, by or user()
    job.output.given = output
    job.save()
    return job


def make_job(
    job_id: str,
    deployment: ModelDeployment,
    compute: ComputeCluster,
    folder: Folder,
    given_input: str | None,
    output: str | None,
    overrides: JobSettings,
) -> Job:
    """A job whose input is there and whose output is free. Raises BatchError."""
    settings = deployment.settings.overridden(overrides)
    compute.check(settings)
    source = resolve_input(given_input)
    target = output or folder.file_url(OUTPUT_NAME)
    check_output(target, settings.output_file_name)
    check_inside(source, [folder.url, target])
    return Job(
        id=job_id,
        endpoint=None,
        deployment=deployment,
        compute=compute,
        settings=settings,
        input=Location(given=given_input, url=source),
        output=Location(given=output, url=target),
        overrides=overrides.model_dump(exclude_none=True),
        submitted_by=user(),
        versions=installed_versions(),
        root=folder.url,
    )


def route(client: SyncPrefectClient, endpoint_name: str, name: str | None) -> ModelDeployment:
    """The newest version of the named deployment, else of the endpoint's default. Raises NotFound."""
    default = store.load(BatchEndpoint, endpoint_name.lower(), client).defaults.deployment_name
    deployments = latest(client, endpoint_name.lower())
    known = f"it has {', '.join(deployments)}" if deployments else "it has none yet"
    if name is not None:
        if name.lower() not in deployments:
            raise NotFound(f"Deployment {name!r} not found for endpoint {endpoint_name!r}: {known}")
        return deployments[name.lower()]
    if default is None or default not in deployments:
        raise NotFound(
            f"Endpoint {endpoint_name!r} has no default deployment to route to ({known}): name one, or set one with "
            f"`prefect-batch endpoint update {endpoint_name} --default NAME`"
        )
    return deployments[default]


def find_compute(client: SyncPrefectClient, name: str) -> ComputeCluster:
    """The compute cluster of that name; `local` is there without being made. Raises NotFound."""
    try:
        return store.load(ComputeCluster, name, client)
    except NotFound:
        if name == LOCAL:
            return builtin_local()
        raise NotFound(
            f"compute {name!r} does not exist: make it with `prefect-batch compute create {name}`, "
            "or write compute: local"
        ) from None
