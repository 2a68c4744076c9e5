"""What Prefect knows of an endpoint: a deployment `endpoint/<name>` with a Run form, in a work pool."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from ..blocks import store
from ..blocks.deployment import latest
from ..blocks.endpoint import BatchEndpoint
from .parameters import parameter_schema

WORK_POOL = "batch-endpoints"
FLOW = "endpoint"
ENTRYPOINT = "prefect_batch.flows.endpoint:endpoint"


def publish(client: SyncPrefectClient, name: str) -> None:
    """Bring the Prefect deployment `endpoint/<name>` in line with the endpoint: its description and Run form."""
    endpoint = store.load(BatchEndpoint, name, client)
    deployments = latest(client, name)
    default = deployments.get(endpoint.defaults.deployment_name or "")
    schema = parameter_schema(default, deployments)
    description = endpoint.description or f"Batch endpoint {name}."
    if (held := published(client, name)) is not None:
        update = DeploymentUpdate.model_validate(
            {
                "parameter_openapi_schema": schema,
                "parameters": {**held.parameters, "endpoint": name},
                "description": description,
                "enforce_parameter_schema": True,
            }
        )
        client.update_deployment(held.id, update)
        return
    ensure_work_pool(client)
    client.create_deployment(
        flow_id=client.create_flow_from_name(FLOW),
        name=name,
        description=description,
        parameters={"endpoint": name},
        parameter_openapi_schema=schema,
        enforce_parameter_schema=True,
        entrypoint=ENTRYPOINT,
        pull_steps=[],
        work_pool_name=WORK_POOL,
        tags=["prefect-batch"],
    )


def ensure_work_pool(client: SyncPrefectClient) -> None:
    """Make the work pool that endpoints are served from, unless it is there."""
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        from prefect.workers.process import ProcessWorker  # half a second to import, and once in a server's life

        pool = WorkPoolCreate(
            name=WORK_POOL, type="process", base_job_template=ProcessWorker.get_default_base_job_template()
        )
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            pass


def published(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """The Prefect deployment of an endpoint, if there is one."""
    try:
        return client.read_deployment_by_name(f"{FLOW}/{name}")
    except ObjectNotFound:
        return None
