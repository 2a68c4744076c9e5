"""A call to an endpoint: routed to a deployment, its data resolved and checked, and recorded as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field

from ..blocks import store
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.deployment import ModelDeployment, find_deployment, latest
from ..blocks.documents import validate
from ..blocks.endpoint import BatchEndpoint
from ..blocks.settings import Document, JobSettings
from ..scoring.errors import NotFound
from ..scoring.storage import Folder
from .inputs import check_inside, check_output, resolve, resolve_input, single
from .job import OUTPUT_NAME, Job, Location, installed_versions, user


class Request(Document):
    """A call as it came. The server has checked it already, unless the caller switched that off."""

    endpoint: str
    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)
    deployment: str | None = None
    settings: JobSettings = Field(default_factory=JobSettings)


def record(client: SyncPrefectClient, call: Mapping[str, Any], job_id: str, folder: Folder, by: str | None) -> Job:
    """Check, route and resolve a call, and write it down. Raises BatchError for whatever is wrong with it."""
    request = validate(Request, {key: value for key, value in call.items() if value is not None}, "parameters")
    found = route(client, request.endpoint, request.deployment)
    compute = find_compute(client, found.compute)
    output = single("outputs", request.outputs)
    where = Location(given=output, url=resolve(output) if output else folder.file_url(OUTPUT_NAME))
    job = make_job(job_id, found, compute, folder, single("inputs", request.inputs), where, request.settings)
    job.endpoint, job.submitted_by = request.endpoint, by or user()
    job.save()
    return job


def make_job(
    job_id: str,
    deployment: ModelDeployment,
    compute: ComputeCluster,
    folder: Folder,
    given_input: str | None,
    output: Location,
    overrides: JobSettings,
) -> Job:
    """A job whose input is there and whose output is free. Raises BatchError."""
    settings = deployment.settings.overridden(overrides)
    compute.check(settings)
    source = resolve_input(given_input)
    check_output(output.url, settings.output_file_name)
    check_inside(source, [folder.url, output.url])
    return Job(
        id=job_id,
        endpoint=None,
        deployment=deployment,
        compute=compute,
        settings=settings,
        input=Location(given=given_input, url=source),
        output=output,
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
    if name is not None:
        return find_deployment(client, endpoint_name.lower(), name)
    deployments = latest(client, endpoint_name.lower())
    known = f"it has {', '.join(deployments)}" if deployments else "it has none yet"
    if default is None or default not in deployments:
        raise NotFound(
            f"Endpoint {endpoint_name!r} has no default deployment to route to ({known}): name one, or set one with "
            f"`prefect-batch endpoint update {endpoint_name} --default NAME`"
        )
    return deployments[default]
