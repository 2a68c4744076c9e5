"""The Python client, in the shape of Azure ML's: `MLClient` by another name.

    from prefect_batch.interfaces.client import BatchClient, Input

    client = BatchClient()
    job = client.batch_endpoints.invoke("heart", input=Input(path="data/"))
    print(job.result())

It parses, calls and shows: what it does is done by what the command line calls, too. Whatever goes wrong is a
BatchError of one line; only a wait that takes too long is a TimeoutError.
"""

from __future__ import annotations

from typing import Any, Self

from prefect.settings import load_profiles

from ..scoring.errors import BatchError, NotFound
from .client_assets import ComponentOperations, DataOperations, EnvironmentOperations, ModelOperations
from .client_deployments import AnyDeployment, BatchDeploymentOperations
from .client_endpoints import BatchEndpointOperations
from .client_jobs import JobOperations
from .client_places import ComputeOperations, DatastoreOperations
from .connection import Connection
from .entities import (
    AmlCompute,
    BatchDeployment,
    BatchEndpoint,
    Component,
    Data,
    Datastore,
    Environment,
    Input,
    Job,
    Model,
    ModelBatchDeployment,
    Output,
    PipelineComponentBatchDeployment,
    PipelineJob,
)
from .entity import Entity
from .loading import (
    load_batch_deployment,
    load_batch_endpoint,
    load_component,
    load_compute,
    load_data,
    load_datastore,
    load_environment,
    load_job,
    load_model,
)
from .poller import Poller

__all__ = [
    "BatchClient",
    "BatchError",
    "Input",
    "Job",
    "Output",
    "load_batch_deployment",
    "load_batch_endpoint",
    "load_component",
    "load_compute",
    "load_data",
    "load_datastore",
    "load_environment",
    "load_job",
    "load_model",
]

_CREATED_AT_ONCE = {
    Data: "data",
    Model: "models",
    Component: "components",
    Environment: "environments",
    Datastore: "datastores",
    PipelineJob: "jobs",
}
_BEGUN = {
    BatchEndpoint: "batch_endpoints",
    ModelBatchDeployment: "batch_deployments",
    BatchDeployment: "batch_deployments",
    PipelineComponentBatchDeployment: "batch_deployments",
    AmlCompute: "compute",
}


class BatchClient:
    """Endpoints, deployments, jobs and all that they need, on a Prefect server.

    A client holds no connection open and may be used from several threads.
    """

    def __init__(self, api_url: str | None = None, api_key: str | None = None) -> None:
        """
        Args:
            api_url: of the Prefect server; by default that of Prefect's settings (PREFECT_API_URL, or the profile).
            api_key: of Prefect Cloud; by default that of Prefect's settings.
        """
        given = {"PREFECT_API_URL": api_url, "PREFECT_API_KEY": api_key}
        self._connect({name: value for name, value in given.items() if value is not None})

    @classmethod
    def from_config(cls, profile: str | None = None) -> Self:
        """A client with the settings that Prefect keeps: of a profile, or those in force. Raises NotFound.

        Args:
            profile: its name, as in `prefect profile ls`.
        """
        client = cls()
        if profile is not None:
            profiles = load_profiles()
            if profile not in profiles:
                raise NotFound(f"Prefect has no profile {profile!r}: it has {', '.join(profiles.names)}")
            client._connect(profiles[profile].settings)
        return client

    def _connect(self, settings: dict[Any, Any]) -> None:
        connection = Connection(settings)
        self.batch_endpoints = BatchEndpointOperations(connection)
        self.batch_deployments = BatchDeploymentOperations(connection)
        self.jobs = JobOperations(connection)
        self.data = DataOperations(connection)
        self.datastores = DatastoreOperations(connection)
        self.compute = ComputeOperations(connection)
        self.models = ModelOperations()
        self.components = ComponentOperations(connection)
        self.environments = EnvironmentOperations(connection)

    def begin_create_or_update(self, entity: BatchEndpoint | AnyDeployment | AmlCompute) -> Poller[Any]:
        """Make an endpoint, a deployment or a compute, or bring it up to date."""
        return self._operations(_BEGUN, entity).begin_create_or_update(entity)

    def create_or_update(self, entity: Data | Model | Component | Environment | Datastore | PipelineJob) -> Any:
        """Make the next version of an asset, make or change a datastore, or run a pipeline job."""
        return self._operations(_CREATED_AT_ONCE, entity).create_or_update(entity)

    def _operations(self, known: dict[Any, str], entity: Entity) -> Any:
        found = [name for kind, name in known.items() if isinstance(entity, kind)]
        if not found:
            raise TypeError(f"{type(entity).__name__} is none of {', '.join(kind.__name__ for kind in known)}")
        return getattr(self, found[0])
