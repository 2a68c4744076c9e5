"""Routes of jobs: call an endpoint, list, look at and cancel its jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from ..blocks.grants import Action
from ..blocks.pipeline_deployment import PipelineDeployment
from ..flows import jobs
from ..flows.guarded import check_places
from ..flows.kept import MayRead
from ..flows.request import named_inputs, route
from ..scoring.errors import Forbidden, InvalidDocument, NotFound
from . import rest_idempotency as idempotency
from .call import as_sent
from .callers import Caller
from .rest_access import CallerOf, GatewayOf, check_grant, published_endpoint
from .rest_body import Call, params_of, read_call, read_json
from .rest_errors import ErrorBody
from .rest_openapi import CALL
from .rest_resources import JobPage, JobResource, full_job_resource, job_resource

router = APIRouter(prefix="/endpoints/{name}/jobs", tags=["jobs"])
Top = Annotated[int, Query(ge=1, le=200, description="At most so many.")]
Skip = Annotated[int, Query(ge=0, le=1_000_000, description="Without so many of the first.")]
_KEY = Header(description="Of a call: repeated with the same key, it makes no second job.")


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=JobResource,
    operation_id="invoke",
    responses={
        200: {"model": JobResource, "description": "The job that an earlier call with this key made."},
        **{status: {"model": ErrorBody} for status in (400, 408, 413, 415)},
    },
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": CALL}}}},
)
async def invoke(
    request: Request,
    response: Response,
    name: str,
    caller: CallerOf,
    gateway: GatewayOf,
    azureml_model_deployment: Annotated[
        str | None, Header(description="A deployment of the endpoint, instead of its default.")
    ] = None,
    idempotency_key: Annotated[str | None, _KEY] = None,
) -> JobResource:
    """Call the endpoint: makes a job, which runs later, and returns at once."""
    endpoint = check_grant(caller, name, "invoke")
    settings = gateway.settings
    body = await read_json(request, settings.body_bytes, settings.request_seconds)
    call, key = read_call(body, azureml_model_deployment), idempotency.key_of(request)
    run, is_new = await gateway.run(_invoke, gateway.client, caller, endpoint, call, key)
    response.headers["Location"] = f"/endpoints/{endpoint}/jobs/{run.id}"
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return job_resource(run, endpoint)


def _invoke(
    client: SyncPrefectClient, caller: Caller, endpoint: str, call: Call, key: str | None
) -> tuple[FlowRun, bool]:
    """The job of a call, and whether it is new."""
    try:
        parameters = _parameters(client, endpoint, call, caller)
        if key is None:
            return jobs.invoke(client, endpoint, parameters, call.name, caller.principal), True
        key = idempotency.scoped(key, caller.principal, endpoint)
        with idempotency.in_turn(key):
            earlier = idempotency.made_before(client, key)
            run = earlier or jobs.invoke(client, endpoint, parameters, call.name, caller.principal, key)
    except NotFound as error:
        published_endpoint(client, endpoint)
        raise InvalidDocument(str(error)) from None  # what the body names, not the URL
    idempotency.check_same(run, parameters, call.name)  # a gateway elsewhere may have made it for another call
    return run, earlier is None


def _parameters(client: SyncPrefectClient, endpoint: str, call: Call, caller: Caller) -> dict[str, Any]:
    """What Prefect is sent: literals as plain values, places that the caller may name.

    Raises NotFound, InvalidDocument, Forbidden.
    """
    found = route(client, endpoint, call.deployment)
    if isinstance(found, PipelineDeployment):
        inputs = dict(named_inputs(found, call.input, call.inputs))
        groups: dict[str, Any] = as_sent(inputs, call.outputs, found.interface)
    else:
        groups = {"inputs": named_inputs(found, call.input, params_of(call.inputs)), "outputs": call.outputs}
    groups |= {"settings": call.settings, "deployment": call.deployment}
    parameters = {group: value for group, value in groups.items() if value}
    check_places(client, found, parameters, caller.principal, _may_read(client, caller))
    return parameters


@router.get("", response_model=JobPage, operation_id="listJobs")
async def list_jobs(name: str, caller: CallerOf, gateway: GatewayOf, top: Top = 50, skip: Skip = 0) -> JobPage:
    """The endpoint's jobs, the newest first."""
    endpoint = check_grant(caller, name, "read")
    found = await gateway.run(_list, gateway.client, endpoint, top, skip)
    more = f"/endpoints/{endpoint}/jobs?top={top}&skip={skip + top}" if len(found) == top else None
    return JobPage(value=[job_resource(run, endpoint) for run in found], next_link=more)


def _list(client: SyncPrefectClient, endpoint: str, top: int, skip: int) -> list[FlowRun]:
    found = jobs.list_jobs(client, endpoint, top, skip)
    if not found:
        published_endpoint(client, endpoint)
    return found


@router.get("/{job}", response_model=JobResource, operation_id="getJob")
async def get_job(name: str, job: UUID, caller: CallerOf, gateway: GatewayOf) -> JobResource:
    """A job: its status, and how far it is."""

    def read(client: SyncPrefectClient) -> JobResource:
        endpoint, run = find_job(client, caller, name, job, "read")
        return full_job_resource(client, run, endpoint)

    return await gateway.run(read, gateway.client)


@router.post(
    "/{job}/cancel",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobResource,
    operation_id="cancelJob",
)
async def cancel_job(name: str, job: UUID, caller: CallerOf, gateway: GatewayOf) -> JobResource:
    """Stop a job; what it has finished is kept."""

    def cancel(client: SyncPrefectClient) -> JobResource:
        endpoint, run = find_job(client, caller, name, job, "manage")
        jobs.cancel(client, run)
        return job_resource(client.read_flow_run(run.id), endpoint)

    return await gateway.run(cancel, gateway.client)


def _is_own(run: FlowRun, caller: Caller) -> bool:
    return run.parameters.get("caller") == caller.principal


def _may_read(client: SyncPrefectClient, caller: Caller) -> MayRead:
    def may_read(job: UUID) -> bool | None:
        if (run := jobs.job_of(client, None, job)) is None:
            return None
        endpoint = str(run.parameters["endpoint"])
        return caller.may("read", endpoint) or (caller.may("invoke", endpoint) and _is_own(run, caller))

    return may_read


def find_job(client: SyncPrefectClient, caller: Caller, name: str, job: UUID, action: Action) -> tuple[str, FlowRun]:
    """The endpoint's name and its job, where the caller may do that, or has made the job and may invoke.

    Raises NotFound, and Forbidden, which says nothing of whether there is such a job.
    """
    allowed = caller.may(action, name)
    endpoint = check_grant(caller, name, action, "invoke")
    run = jobs.job_of(client, endpoint, job)
    if not (allowed or (run is not None and _is_own(run, caller))):
        raise Forbidden(f"this caller may not {action} here what others have made")
    if run is None:
        raise NotFound(f"endpoint {endpoint!r} has no job {job}")
    return endpoint, run
