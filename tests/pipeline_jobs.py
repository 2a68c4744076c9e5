"""Jobs of pipelines, made without a server: a datastore is just a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect_batch.blocks.component import PipelineComponent
from prefect_batch.blocks.compute import builtin_local
from prefect_batch.blocks.datastore import Datastore, open_folder
from prefect_batch.blocks.pipeline_deployment import PipelineDeployment
from prefect_batch.blocks.pipeline_settings import PipelineSettings
from prefect_batch.blocks.snapshot import take
from prefect_batch.flows.locations import Location
from prefect_batch.flows.pipeline_job import DataValue, OutputPlace, PipelineJob


def data(reference: str, **about: Any) -> DataValue:
    """Data that is there, as the value of an input."""
    folder = open_folder(reference)
    location = Location(given=reference, url=folder.url, reference=reference)
    return DataValue(given=reference, location=location, is_folder=folder.stat().is_dir, **about)


def place(reference: str, is_file: bool = False, given: bool = False) -> OutputPlace:
    """Where an output goes."""
    location = Location(given=reference, url=open_folder(reference).url, reference=reference)
    return OutputPlace(location=location, is_file=is_file, given=given)


def make_job(
    datastore: str,
    name: str,
    steps: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, OutputPlace] | None = None,
    code: Path | None = None,
    declared: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PipelineJob:
    """A recorded job.

    Args:
        datastore: reference of its root.
        name: of the job.
        steps: as they stand below `jobs:`.
        inputs: of the job.
        outputs: of the job.
        code: copied for every step.
        declared: inputs as the pipeline declares them; by default as the job's values are.
        settings: of the deployment.
    """
    spec: dict[str, Any] = {
        key: {"type": "uri_folder" if isinstance(value, DataValue) else "string"}
        for key, value in (inputs or {}).items()
    }
    written = {key: {"type": "uri_file" if out.is_file else "uri_folder"} for key, out in (outputs or {}).items()}
    graph = PipelineComponent.model_validate({"inputs": declared or spec, "outputs": written, "jobs": steps})
    if code is not None:
        snapshot = take(code, Datastore(url=datastore), "code")
        for step in graph.jobs.values():
            step.component.code_snapshot = snapshot
    deployment = PipelineDeployment(name="steps", endpoint_name="tests", graph=graph, settings=PipelineSettings())
    job = PipelineJob(
        id=name,
        endpoint="tests",
        deployment=deployment,
        compute=builtin_local(),
        root=f"{datastore}/jobs/{name}",
        settings=PipelineSettings(**settings),
        inputs=dict(inputs or {}),
        outputs=dict(outputs or {}),
    )
    job.save()
    return job
