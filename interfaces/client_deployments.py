"""`client.batch_deployments`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks import store
from ..blocks.deployment import Deployment, find_deployment, latest, parse_deployment
from ..blocks.endpoint import BatchEndpoint
from ..blocks.model_deployment import ModelDeployment, check_source
from ..flows import catalog, jobs
from ..flows.deployment_update import update_deployment
from ..scoring.errors import InvalidDocument
from . import views
from .connection import Connection
from .entities import BatchDeployment, ModelBatchDeployment, PipelineComponentBatchDeployment
from .job import Job
from .poller import Poller

AnyDeployment = ModelBatchDeployment | PipelineComponentBatchDeployment | BatchDeployment
Shown = ModelBatchDeployment | PipelineComponentBatchDeployment


class BatchDeploymentOperations:
    """What stands behind endpoints."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin_create_or_update(self, deployment: AnyDeployment, *, set_default: bool = False) -> Poller[Shown]:
        """Make the next version of a deployment, with copies of its code and model.

        One that was read from the server keeps its code and model; what was changed of all else is in the next version.

        Args:
            deployment: relative paths in it start in the folder of its file, or in the working directory.
            set_default: make it the endpoint's default.

        Raises InvalidDocument, NotFound.
        """
        with self._connection.open() as client:
            made = _change(client, deployment) if deployment.version is not None else _create(client, deployment)
            if set_default:
                catalog.update_endpoint(client, made.endpoint_name, made.name, None)
        return Poller(_shown(made))

    def get(self, name: str, endpoint_name: str) -> Shown:
        """The newest version of a deployment. Raises NotFound."""
        with self._connection.open() as client:
            return _shown(find_deployment(client, endpoint_name.lower(), name))

    def list(self, endpoint_name: str) -> list[Shown]:
        """The newest version of each deployment of an endpoint, by name. Raises NotFound."""
        with self._connection.open() as client:
            store.load(BatchEndpoint, endpoint_name.lower(), client)
            return [_shown(each) for each in latest(client, endpoint_name.lower()).values()]

    def begin_delete(self, name: str, endpoint_name: str) -> Poller[None]:
        """Delete all versions of a deployment. Raises NotFound, and BatchError for the endpoint's default."""
        with self._connection.open() as client:
            catalog.remove_deployment(client, endpoint_name.lower(), name.lower())
        return Poller(None)

    def list_jobs(self, endpoint_name: str, *, name: str | None = None, max_results: int = 50) -> list[Job]:
        """The newest jobs of an endpoint; with `name`, those of them that this deployment ran."""
        with self._connection.open() as client:
            found = jobs.newest_jobs(client, endpoint_name.lower(), max_results, name.lower() if name else None)
        return [Job.of(self._connection, run) for run in found]


def _create(client: SyncPrefectClient, deployment: AnyDeployment) -> Deployment:
    path = deployment.source or Path(f"deployment {deployment.name!r}")  # which lies in the working directory
    block = parse_deployment(deployment.document(), str(path))
    if isinstance(block, ModelDeployment):
        check_source(block, path)
    return catalog.deploy(client, block, path)


def _change(client: SyncPrefectClient, deployment: AnyDeployment) -> Deployment:
    given = deployment.document()
    if isinstance(deployment, BatchDeployment) or deployment.endpoint_name is None:
        raise InvalidDocument("a deployment that is there has a name, an endpoint_name and settings")
    held = find_deployment(client, deployment.endpoint_name.lower(), deployment.name)
    known: dict[str, Any] = _shown(held).document()
    changes = {key: value for key, value in given.items() if value != known.get(key)}
    return update_deployment(client, held.endpoint_name, held.name, changes) if changes else held


def _shown(deployment: Deployment) -> Shown:
    kind = ModelBatchDeployment if isinstance(deployment, ModelDeployment) else PipelineComponentBatchDeployment
    return kind.told(views.of_deployment(deployment))
