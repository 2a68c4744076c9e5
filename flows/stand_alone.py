"""Pipeline jobs without an endpoint: `prefect-batch job create`.

The pipeline is stored under a name that is made of its content, so that a job that runs again, or is made a
deployment of, finds what it ran.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from ..blocks import store
from ..blocks.component import Component, PipelineComponent
from ..blocks.compute import find_compute
from ..blocks.documents import validate
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import PipelineSettings
from ..scoring.errors import AlreadyExists, InvalidDocument
from .job import user
from .pipeline_job import PipelineJob
from .pipeline_request import make_pipeline_job
from .publication import WORK_POOL, ensure_work_pool

FLOW = "pipeline-job"
NAME = "stand-alone"
"""Of their Prefect deployment; it stands in the place of the endpoint, too."""
ENTRYPOINT = "prefect_batch.flows.endpoint:pipeline_job"


def submit(
    client: SyncPrefectClient,
    deployment: PipelineDeployment,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    name: str | None = None,
) -> FlowRun:
    """Start a job of a pipeline that is no deployment of an endpoint; returns at once.

    Args:
        client: of the Prefect server.
        deployment: with its graph whole; its name is what the pipeline is called.
        inputs: as in a call.
        outputs: as in a call.
        name: of the job.

    Raises NotFound for its compute, InvalidDocument for one that cannot hold it.
    """
    assert deployment.graph is not None
    find_compute(client, deployment.compute).check(deployment.settings)
    parameters = {
        "component": _store(client, deployment.graph),
        "deployment": deployment.name,
        "settings": deployment.settings.model_dump(mode="json", exclude_unset=True),
        "inputs": dict(inputs),
        "outputs": dict(outputs),
    }
    return client.create_flow_run_from_deployment(_prefect_deployment(client).id, parameters=parameters, name=name)


def _store(client: SyncPrefectClient, graph: PipelineComponent) -> str:
    """Keep a component; returns the name of its document."""
    definition = graph.model_dump(mode="json", exclude_none=True)
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
    component = Component(name=f"job_{digest[:32]}", version="1", type="pipeline", definition=definition, archived=True)
    try:
        store.create(component, component.document_name, client)
    except AlreadyExists:
        pass  # the same content
    return component.document_name


def load(client: SyncPrefectClient, component: str, name: str, settings: Mapping[str, Any]) -> PipelineDeployment:
    """A stored pipeline as if it were a deployment, which it is not. Raises NotFound, InvalidDocument.

    Args:
        client: of the Prefect server.
        component: name of its document.
        name: what it is called.
        settings: as of a pipeline deployment.
    """
    graph = store.load(Component, component, client).component
    if not isinstance(graph, PipelineComponent):
        raise InvalidDocument(f"component {component!r} is a command: a pipeline runs")
    return PipelineDeployment(
        name=name,
        endpoint_name=NAME,
        settings=validate(PipelineSettings, settings, "settings"),
        interface=graph.interface,
        graph=graph,
    )


def record(
    client: SyncPrefectClient,
    deployment: PipelineDeployment,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    job_id: str,
    root: str,
    by: str | None,
) -> PipelineJob:
    """Check and resolve a job, and write it down. Raises BatchError for whatever is wrong with it."""
    compute = find_compute(client, deployment.compute)
    job = make_pipeline_job(client, job_id, deployment, compute, root, inputs, outputs, {})
    job.submitted_by = by or user()
    job.save()
    return job


def _prefect_deployment(client: SyncPrefectClient) -> DeploymentResponse:
    """The Prefect deployment that all these jobs are runs of; made by the first."""
    try:
        return client.read_deployment_by_name(f"{FLOW}/{NAME}")
    except ObjectNotFound:
        ensure_work_pool(client)
        made = client.create_deployment(
            flow_id=client.create_flow_from_name(FLOW),
            name=NAME,
            description="Pipeline jobs without an endpoint: `prefect-batch job create`.",
            entrypoint=ENTRYPOINT,
            pull_steps=[],
            work_pool_name=WORK_POOL,
            tags=["prefect-batch"],
        )
        return client.read_deployment(made)
