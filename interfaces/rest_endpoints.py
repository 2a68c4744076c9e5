"""Routes of endpoints: which there are, what each takes, and which deployment answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from prefect.client.orchestration import SyncPrefectClient

from ..blocks import store
from ..blocks.endpoint import BatchEndpoint
from ..flows import catalog
from ..scoring.errors import InvalidDocument, NotFound
from .callers import Caller
from .rest_access import CallerOf, GatewayOf, check_grant, published_endpoint
from .rest_body import Body, check_keys, lowered, read_json, text_at
from .rest_errors import ErrorBody
from .rest_openapi import CHANGE, of_endpoint
from .rest_resources import EndpointList, EndpointResource, endpoint_resource

router = APIRouter(prefix="/endpoints", tags=["endpoints"])


@router.get("", response_model=EndpointList, operation_id="listEndpoints")
async def list_endpoints(caller: CallerOf, gateway: GatewayOf) -> EndpointList:
    """The endpoints with which the caller may do anything at all."""
    found = await gateway.run(store.list_all, BatchEndpoint, gateway.client)
    return EndpointList(value=[endpoint_resource(one) for one in found if _sees(caller, one.name)])


def _sees(caller: Caller, name: str) -> bool:
    return any(caller.may(action, name) for action in ("read", "invoke", "manage"))


@router.get("/{name}", response_model=EndpointResource, operation_id="getEndpoint")
async def get_endpoint(name: str, caller: CallerOf, gateway: GatewayOf) -> EndpointResource:
    """An endpoint."""
    endpoint = check_grant(caller, name, "read", "invoke", "manage")
    return endpoint_resource(await gateway.run(store.load, BatchEndpoint, endpoint, gateway.client))


@router.patch(
    "/{name}",
    response_model=EndpointResource,
    operation_id="updateEndpoint",
    responses={status: {"model": ErrorBody} for status in (400, 408, 413, 415)},
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": CHANGE}}}},
)
async def update_endpoint(request: Request, name: str, caller: CallerOf, gateway: GatewayOf) -> EndpointResource:
    """Switch the default deployment, or change the description; the URL stays."""
    endpoint = check_grant(caller, name, "manage")
    settings = gateway.settings
    body = await read_json(request, settings.body_bytes, settings.request_seconds)
    default, description = _change(body)
    return endpoint_resource(await gateway.run(_update, gateway.client, endpoint, default, description))


def _change(body: Body) -> tuple[str | None, str | None]:
    """The default deployment and the description that a body gives."""
    given = lowered(body, "the body")
    check_keys(given, {"description", "defaults"}, "")
    description, defaults = given.get("description"), given.get("defaults", {})
    if not isinstance(defaults, dict):
        raise InvalidDocument("defaults: must be an object with deploymentName")
    defaults = {key.replace("_", ""): value for key, value in lowered(defaults, "defaults").items()}  # pyright: ignore[reportUnknownArgumentType]
    check_keys(defaults, {"deploymentname"}, "defaults.")
    name = text_at(defaults, "deploymentname")
    if description is not None and not (isinstance(description, str) and len(description) <= 10_000):
        raise InvalidDocument("description: must be a text")
    if name is None and description is None:
        raise InvalidDocument("nothing to change: give defaults.deploymentName or description")
    return name.lower() if name else None, description


def _update(client: SyncPrefectClient, endpoint: str, default: str | None, description: str | None) -> BatchEndpoint:
    try:
        return catalog.update_endpoint(client, endpoint, default, description)
    except NotFound as error:
        store.load(BatchEndpoint, endpoint, client)
        raise InvalidDocument(str(error)) from None  # the deployment that the body names, not the URL


@router.get("/{name}/openapi.json", operation_id="describeEndpoint")
async def describe_endpoint(request: Request, name: str, caller: CallerOf, gateway: GatewayOf) -> dict[str, Any]:
    """The OpenAPI document of the endpoint, with its inputs, outputs and settings as they are now."""
    endpoint = check_grant(caller, name, "read", "invoke", "manage")
    found = await gateway.run(published_endpoint, gateway.client, endpoint)
    return of_endpoint(request.app.openapi(), endpoint, found.description, found.parameter_openapi_schema or {})
