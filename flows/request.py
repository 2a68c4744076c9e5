"""A call to an endpoint: routed to a deployment, its data resolved and checked, and recorded as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field

from ..blocks import store
from ..blocks.acting import acting_as
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.datastore import open_folder
from ..blocks.deployment import Deployment, find_deployment, latest
from ..blocks.documents import validate
from ..blocks.endpoint import BatchEndpoint
from ..blocks.model_deployment import ModelDeployment
from ..blocks.model_params import check_params
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.settings import Document, JobSettings
from ..scoring.errors import InvalidDocument, NotFound
from .guarded import check_links, check_places, check_size
from .inputs import PARAMS, check_apart, find_input, model_inputs
from .job import Job, installed_versions, user
from .outputs import find_output
from .pipeline_job import AnyJob
from .pipeline_request import make_pipeline_job


class Request(Document):
    """A call as it came. The server has checked it already, unless the caller switched that off."""

    endpoint: str
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    deployment: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    input: Any = None
    caller: str | None = None


class _ModelSettings(Document):
    settings: JobSettings


def record(client: SyncPrefectClient, call: Mapping[str, Any], job_id: str, root: str, by: str | None) -> AnyJob:
    """Check, route and resolve a call, and write it down. Raises BatchError for whatever is wrong with it.

    Args:
        client: of the Prefect server.
        call: the request's fields.
        job_id: the job's name.
        root: reference of the folder for the job's files.
        by: who called, as far as the server knows.
    """
    request = validate(Request, {key: value for key, value in call.items() if value is not None}, "parameters")
    found = route(client, request.endpoint, request.deployment)
    inputs = named_inputs(found, request.input, request.inputs)
    with acting_as(request.caller):
        if request.caller is not None:
            check_places(client, found, {"inputs": inputs, "outputs": request.outputs}, request.caller)
        job = _make(client, job_id, found, root, inputs, request)
        if request.caller is not None:
            check_links(job)
            check_size(job)
    job.endpoint, job.caller = request.endpoint, request.caller
    job.submitted_by = request.caller or by or user()
    job.save()
    return job


def _make(
    client: SyncPrefectClient, job_id: str, found: Deployment, root: str, inputs: Mapping[str, Any], request: Request
) -> AnyJob:
    compute = find_compute(client, found.compute)
    if isinstance(found, PipelineDeployment):
        return make_pipeline_job(client, job_id, found, compute, root, inputs, request.outputs, request.settings)
    overrides = validate(_ModelSettings, {"settings": request.settings}, "parameters").settings
    return make_job(client, job_id, found, compute, root, inputs, request.outputs, overrides)


def make_job(
    client: SyncPrefectClient | None,
    job_id: str,
    deployment: ModelDeployment,
    compute: ComputeCluster,
    root: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    overrides: JobSettings,
) -> Job:
    """A job whose input is there, and whose output is free and may be written. Raises BatchError.

    Args:
        client: of the Prefect server; None for a trial run without one.
        job_id: the job's name.
        deployment: that scores.
        compute: that it runs on.
        root: reference of the folder for the job's files.
        inputs: as in the request.
        outputs: as in the request.
        overrides: of the deployment's settings.
    """
    settings = deployment.settings.overridden(overrides)
    compute.check(settings)
    data, given, params = model_inputs(inputs)
    params = check_params(deployment.params_schema, params)
    found = find_input(data, given, client)
    output, settings = find_output(client, outputs, job_id, root, settings)
    check_apart(found, [open_folder(root), output.open()])
    return Job(
        id=job_id,
        endpoint=None,
        deployment=deployment,
        compute=compute,
        settings=settings,
        input=found,
        params=params,
        output=output,
        overrides=overrides.model_dump(exclude_none=True),
        submitted_by=user(),
        versions=installed_versions(),
        root=root,
    )


def named_inputs(deployment: Deployment, short: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of a call, with the data that the parameter `input` gives among them.

    Args:
        deployment: that is called.
        short: the parameter `input`; None where it was not given.
        inputs: as in the request.

    Raises:
        InvalidDocument: for a pipeline, whose inputs have names of their own, and where both give the data.
    """
    if short is None:
        return inputs
    if isinstance(deployment, PipelineDeployment):
        names = ", ".join(deployment.interface.inputs) or "none"
        raise InvalidDocument(
            f"input: {deployment.name} is a pipeline and has inputs by name ({names}): give them as inputs={{...}}"
        )
    if named := [name for name in inputs if name != PARAMS]:
        raise InvalidDocument(f"input and inputs.{named[0]} both name the data: give one of them")
    return {**inputs, "data": short}


def route(client: SyncPrefectClient, endpoint_name: str, name: str | None) -> Deployment:
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
