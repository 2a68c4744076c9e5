"""Making, listing, changing and deleting endpoints and deployments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

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
from ..blocks.snapshot import take
from ..scoring.errors import AlreadyExists, BatchError, InvalidDocument, NotFound
from .automation import apply_automation, check_automation, remove_triggers
from .environment_source import check_image, find_spec, recorded_by, wants_model
from .pipeline_source import with_pipeline
from .publication import publish, published

_KEPT_BY_PREFECT = ("schedules", "triggers")


def create_endpoint(client: SyncPrefectClient, endpoint: BatchEndpoint) -> BatchEndpoint:
    """Make an endpoint, or bring an existing one up to date: what its document says of it.

    Raises NotFound for a default deployment that does not exist, InvalidDocument for a schedule or a trigger whose
    parameters do not fit.
    """
    kept = endpoint.model_copy(update=dict.fromkeys(_KEPT_BY_PREFECT))
    default = endpoint.defaults.deployment_name
    if default is not None:
        find_deployment(client, endpoint.name, default)
    check_automation(client, endpoint, default or _default(client, endpoint.name))
    try:
        store.create(kept, endpoint.name, client)
    except AlreadyExists:
        given = kept.model_dump(mode="json", include=kept.model_fields_set - {"name", *_KEPT_BY_PREFECT})
        store.patch(BatchEndpoint, endpoint.name, given, client)
    publish(client, endpoint.name)
    apply_automation(client, endpoint)
    return store.load(BatchEndpoint, endpoint.name, client)


def _default(client: SyncPrefectClient, endpoint: str) -> str | None:
    """The default deployment that an endpoint has, if it is there and has one."""
    try:
        return store.load(BatchEndpoint, endpoint, client).defaults.deployment_name
    except NotFound:
        return None


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
    if (held := published(client, name)) is not None:
        remove_triggers(client, held.id)
        client.delete_deployment(held.id)
    store.delete(BatchEndpoint, name, client)


def create_deployment(
    client: SyncPrefectClient,
    path: Path,
    endpoint: str | None = None,
    name: str | None = None,
    set_default: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Deployment:
    """Make the next version of the deployment that a file describes, with all that it runs copied.

    Args:
        path: the YAML file; paths in it are relative to it.
        endpoint: instead of the file's `endpoint_name`.
        name: instead of the file's `name`.
        set_default: make it the endpoint's default after all else went well.
        changes: laid over the file's keys.

    Raises InvalidDocument, NotFound.
    """
    return deploy(client, load_deployment(path, endpoint, name, changes), path, set_default)


def deploy(client: SyncPrefectClient, deployment: Deployment, path: Path, set_default: bool = False) -> Deployment:
    """Make the next version of a deployment, with all that it runs copied.

    Args:
        deployment: as its user wrote it, checked together with what it names.
        path: what messages call it; relative paths in it start from this path's folder.
        set_default: make it the endpoint's default after all else went well.

    Raises InvalidDocument, NotFound.
    """
    store.load(BatchEndpoint, deployment.endpoint_name, client)
    datastore = default_datastore(client)
    if isinstance(deployment, ModelDeployment):
        compute = find_compute(client, deployment.compute)
        compute.check(deployment.settings)
        whole = take_snapshots(client, deployment, path, datastore)
        check_image(whole, compute, str(path))
        stored: Deployment = create_version(client, whole)
    else:
        pipeline = with_pipeline(client, deployment, path, datastore)
        find_compute(client, pipeline.compute).check(pipeline.settings)
        stored = create_version(client, pipeline)
    if set_default:
        update_endpoint(client, stored.endpoint_name, stored.name, None)
    else:
        publish(client, stored.endpoint_name)
    return stored


def take_snapshots(
    client: SyncPrefectClient | None, deployment: ModelDeployment, path: Path, datastore: Datastore
) -> ModelDeployment:
    """The deployment with its code and its model copied to the datastore, and its environment read.

    Args:
        client: of the Prefect server; None for a trial run without one.
        deployment: as its user wrote it.
        path: what messages call it; relative paths in it start from this path's folder.
        datastore: where copies go.

    Raises InvalidDocument, NotFound.
    """
    update: dict[str, Any] = {}
    beside = path.resolve().parent
    code = deployment.code_configuration
    if code is not None:
        update["code_snapshot"] = take((beside / code.code).resolve(), datastore)
        update["params_schema"] = params_of((beside / code.code / code.scoring_script).resolve(), None)
    if (reference := deployment.model_reference) is not None:
        with local_copy(reference, beside) as (model, name):
            mlflow = mlflow_folder(model)
            if code is None and mlflow is None:
                raise InvalidDocument(
                    f"{path}: model: {reference!r} is not an MLflow model (no MLmodel file in it): "
                    "add code_configuration with a scoring script"
                )
            update["model_snapshot"] = take(model, datastore, name)
            if code is None:
                update["params_schema"] = params_of(None, mlflow)
            if mlflow is not None:
                update["model_environment"] = recorded_by(mlflow, wants_model(deployment), str(path))
    whole = deployment.model_copy(update=update)
    return whole.model_copy(update={"environment_spec": find_spec(client, whole, str(path), beside)})


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
