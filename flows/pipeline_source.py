"""What a pipeline deployment runs: a component, a flow in Python, or what a job ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.component_file import Loaded, read_component
from ..blocks.datastore import Datastore, default_datastore, open_folder
from ..blocks.documents import Where, load_located, validate
from ..blocks.interface import Interface
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_job_file import load_pipeline_job
from ..blocks.pipeline_settings import PipelineSettings
from ..blocks.snapshot import take
from ..scoring.errors import InvalidDocument, NotFound
from . import jobs
from .components import CODE, finder, whole
from .flow_interface import interface_of
from .flow_source import split
from .job import RECORD, job_root
from .pipeline_call import check_inputs, check_outputs
from .pipeline_job import DataValue, PipelineJob, load_job
from .stand_alone import NAME


@dataclass(frozen=True)
class JobToRun:
    """A pipeline job's file, ready to be submitted."""

    deployment: PipelineDeployment
    """What runs, as if it were a deployment, which it is not."""
    inputs: dict[str, Any]
    """As in a call."""
    outputs: dict[str, Any]
    name: str | None
    display_name: str | None


def with_pipeline(
    client: SyncPrefectClient | None, deployment: PipelineDeployment, path: Path, datastore: Datastore
) -> PipelineDeployment:
    """A pipeline deployment with what it runs: its graph, or its flow's code, and what that takes and gives.

    Args:
        client: of the Prefect server; None for a trial run without one.
        deployment: as its file says.
        path: the file.
        datastore: where copies go.

    Raises BatchError.
    """
    if deployment.component is not None:
        return _of_component(client, deployment, path, datastore)
    if deployment.flow is not None:
        return _of_flow(deployment, deployment.flow, path, datastore)
    if client is None:
        raise InvalidDocument(f"{path}: job_definition: jobs are kept by a server, and a trial run has none")
    return _of_job(client, deployment, path)


def _of_component(
    client: SyncPrefectClient | None, deployment: PipelineDeployment, path: Path, datastore: Datastore
) -> PipelineDeployment:
    where = load_located(path)[1] if path.is_file() else Where(str(path))  # one from Python has no lines
    loaded = read_component(deployment.component, where.at("component"), path.parent, finder(client))
    update = {"component": deployment.component if isinstance(deployment.component, str) else None}
    return deployment.model_copy(update=update | _graph(loaded, client, datastore))


def _graph(loaded: Loaded, client: SyncPrefectClient | None, datastore: Datastore) -> dict[str, Any]:
    interface = loaded.pipeline.interface
    return {"graph": whole(loaded, client, datastore), "interface": interface}


def _of_flow(deployment: PipelineDeployment, flow: str, path: Path, datastore: Datastore) -> PipelineDeployment:
    """The flow's file is named relative to `code` where that is given, else to the deployment's file."""
    file, name = split(flow)
    folder, script = (path.resolve().parent / (deployment.code or ".")).resolve(), Path(file)
    if deployment.code is None:
        folder, script = (folder / script).parent, Path(script.name)
    if not (folder / script).is_file():
        raise InvalidDocument(f"{path}: flow: {file!r} is not a file (looked at {folder / script})")
    entrypoint = f"{script.as_posix()}:{name}"
    interface = interface_of(folder, entrypoint)
    return deployment.model_copy(
        update={"flow": entrypoint, "interface": interface, "code_snapshot": take(folder, datastore, CODE)}
    )


def _of_job(client: SyncPrefectClient, deployment: PipelineDeployment, path: Path) -> PipelineDeployment:
    """What a job ran, with its values as defaults and its settings; those of the deployment itself count first."""
    name = str(deployment.job_definition).removeprefix("azureml:").removeprefix("/")
    where = f"{path}: job_definition: {deployment.job_definition!r}"
    try:
        folder = open_folder(job_root(client, str(jobs.find(client, name).id)))
    except NotFound as error:
        raise NotFound(f"{where}: {error}") from None
    job = load_job(folder) if folder.exists(RECORD) else None
    if not isinstance(job, PipelineJob):
        what = "was never started" if job is None else "ran a model, not a pipeline"
        raise InvalidDocument(f"{where}: the job {what}: name a job of a pipeline")
    inputs = dict(job.deployment.interface.inputs)
    for key, value in job.inputs.items():
        if not isinstance(value, DataValue):
            inputs[key] = inputs[key].model_copy(update={"default": value})
    interface = Interface(inputs=inputs, outputs=job.deployment.interface.outputs)
    graph = job.deployment.graph
    given = deployment.settings.model_dump(exclude_unset=True)
    settings = validate(PipelineSettings, job.settings.model_dump(exclude_unset=True) | given, f"{path}: settings")
    return deployment.model_copy(
        update={
            "interface": interface,
            "graph": graph and graph.model_copy(update={"inputs": interface.inputs}),
            "flow": job.deployment.flow,
            "code_snapshot": job.deployment.code_snapshot,
            "settings": settings,
        }
    )


def prepare_job(client: SyncPrefectClient, path: Path, assignments: Mapping[str, Any] | None = None) -> JobToRun:
    """A pipeline job's file with all that it runs copied to the default datastore. Raises BatchError.

    Args:
        client: of the Prefect server.
        path: the file.
        assignments: laid over its keys, as `--set` says.
    """
    job = load_pipeline_job(path, finder(client), assignments or {})
    interface = job.loaded.pipeline.interface
    try:
        check_inputs(interface, job.inputs)
        check_outputs(interface, job.outputs)
    except InvalidDocument as error:
        raise InvalidDocument(f"{path}: {error}") from None
    graph = whole(job.loaded, client, default_datastore(client))
    deployment = PipelineDeployment.model_validate(
        {
            "name": job.title,
            "endpoint_name": NAME,
            "description": job.file.description,
            "tags": job.file.tags,
            "settings": job.file.settings,
            "interface": interface,
            "graph": graph,
        }
    )
    return JobToRun(deployment, job.inputs, job.outputs, job.file.name, job.file.display_name)
