"""A call to an endpoint: routed to a deployment, its data resolved and checked, and recorded as a job."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks import store
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.deployment import ModelDeployment, latest
from ..blocks.documents import validate
from ..blocks.endpoint import BatchEndpoint
from ..blocks.settings import JobSettings
from ..scoring.errors import NotFound
from ..scoring.storage import Folder
from .inputs import check_inside, check_output, resolve, resolve_input, single
from .job import OUTPUT_NAME, Job, Location, installed_versions, user


class Request:
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


def record(client: SyncPrefectClient, request: Request, job_id: str, folder: Folder, by: str | None) -> Job:
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
    try:
        default = store.load(BatchEndpoint, endpoint_name.lower(), client).defaults.deployment_name
    except NotFound:
        raise NotFound(
            f"endpoint {endpoint_name!r} has no deployments: `prefect-batch endpoint create {endpoint_name}`, then "
            f"`prefect-batch deployment create -f FILE --endpoint {endpoint_name} --set-default`"
        ) from None
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
