"""Making, listing, changing and deleting endpoints and deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from ..blocks import store
from ..blocks.compute import find_compute
from ..blocks.datastore import Datastore, default_datastore
from ..blocks.deployment import (
    Deployment,
    create_version,
    delete_deployment,
    find_deployment,
    latest,
    load_deployment,
)
from ..blocks.endpoint import BatchEndpoint, Defaults
from ..blocks.model_deployment import ModelDeployment
from ..blocks.model_params import params_of
from ..blocks.model_source import local_copy, mlflow_folder
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.snapshot import take
from ..scoring.errors import AlreadyExists, BatchError, InvalidDocument
from .parameters import parameter_schema

WORK_POOL = "batch-endpoints"
FLOW = "endpoint"
ENTRYPOINT = "prefect_batch.flows.endpoint:endpoint"


def create_endpoint(client: SyncPrefectClient, endpoint: BatchEndpoint) -> BatchEndpoint:
    """Make an endpoint, or bring an existing one up to date: its description, tags, properties and defaults.

    Raises NotFound for a default deployment that does not exist.
    """
    try:
        if endpoint.defaults.deployment_name is not None:
            find_deployment(client, endpoint.name, endpoint.defaults.deployment_name)
        store.create(endpoint, endpoint.name, client)
    except AlreadyExists:
        given = endpoint.model_dump(mode="json", include=endpoint.model_fields_set - {"name"})
        store.patch(BatchEndpoint, endpoint.name, given, client)
    publish(client, endpoint.name)
    return store.load(BatchEndpoint, endpoint.name, client)


def update_endpoint(
    client: SyncPrefectClient, name: str, default: str | None, description: str | None
) -> BatchEndpoint:
    """Change an endpoint's default deployment or description, and its Run form with it. Raises NotFound."""
    store.load(BatchEndpoint, name, client)
    data: dict[str, Any] = {}
    if default is not None:
        find_deployment(client, name, default)
        data["defaults"] = Defaults(deployment_name=default).model_dump()
    if description is not None:
        data["description"] = description
    store.patch(BatchEndpoint, name, data, client)
    publish(client, name)
    return store.load(BatchEndpoint, name, client)


def delete_endpoint(client: SyncPrefectClient, name: str) -> None:
    """Delete an endpoint and all its deployments; past jobs, their outputs and the compute stay. Raises NotFound."""
    store.load(BatchEndpoint, name, client)
    for deployment in latest(client, name):
        delete_deployment(client, name, deployment)
    if (held := _prefect_deployment(client, name)) is not None:
        client.delete_deployment(held.id)
    store.delete(BatchEndpoint, name, client)


def create_deployment(
    client: SyncPrefectClient,
    path: Path,
    endpoint: str | None = None,
    name: str | None = None,
    set_default: bool = False,
) -> Deployment:
    """Make the next version of the deployment that a file describes, with its code and model copied.

    Args:
        path: the YAML file; paths in it are relative to it.
        endpoint: instead of the file's `endpoint_name`.
        name: instead of the file's `name`.
        set_default: make it the endpoint's default after all else went well.

    Raises InvalidDocument, NotFound.
    """
    deployment = load_deployment(path, endpoint, name)
    store.load(BatchEndpoint, deployment.endpoint_name, client)
    find_compute(client, deployment.compute).check(deployment.settings)
    if not isinstance(deployment, ModelDeployment):
        raise InvalidDocument(f"{path}: type: pipeline is not supported yet: use type: model")
    stored = create_version(client, take_snapshots(deployment, path, default_datastore(client)))
    if set_default:
        update_endpoint(client, stored.endpoint_name, stored.name, None)
    else:
        publish(client, stored.endpoint_name)
    return stored


def take_snapshots(deployment: ModelDeployment, path: Path, datastore: Datastore) -> ModelDeployment:
    """The deployment with its code and its model copied to the datastore. Raises InvalidDocument, NotFound."""
    update: dict[str, Any] = {}
    beside = path.resolve().parent
    code = deployment.code_configuration
    if code is not None:
        update["code_snapshot"] = take((beside / code.code).resolve(), datastore)
        update["params_schema"] = params_of((beside / code.code / code.scoring_script).resolve(), None)
    if (reference := deployment.model_reference) is not None:
        with local_copy(reference, beside) as (model, name):
            if code is None and (not model.is_dir() or mlflow_folder(model) is None):
                raise InvalidDocument(
                    f"{path}: model: {reference!r} is not an MLflow model (no MLmodel file in it): "
                    "add code_configuration with a scoring script"
                )
            update["model_snapshot"] = take(model, datastore, name)
            if code is None:
                update["params_schema"] = params_of(None, mlflow_folder(model))
    return deployment.model_copy(update=update)


def remove_deployment(client: SyncPrefectClient, endpoint: str, name: str) -> None:
    """Delete all versions of a deployment. Raises NotFound, and BatchError for the endpoint's default."""
    held = store.load(BatchEndpoint, endpoint, client)
    if held.defaults.deployment_name == name and name in latest(client, endpoint):
        raise BatchError(
            f"{name!r} is the default deployment of endpoint {endpoint!r}: first switch with "
            f"`prefect-batch endpoint update {endpoint} --default OTHER`, or delete the endpoint"
        )
    delete_deployment(client, endpoint, name)
    publish(client, endpoint)


def publish(client: SyncPrefectClient, name: str) -> None:
    """Bring the Prefect deployment `endpoint/<name>` in line with the endpoint: its description and Run form."""
    endpoint = store.load(BatchEndpoint, name, client)
    deployments = latest(client, name)
    default = deployments.get(endpoint.defaults.deployment_name or "")
    assert not isinstance(default, PipelineDeployment)
    schema = parameter_schema(default, list(deployments))
    description = endpoint.description or f"Batch endpoint {name}."
    if (held := _prefect_deployment(client, name)) is not None:
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


def _prefect_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{FLOW}/{name}")
    except ObjectNotFound:
        return None
