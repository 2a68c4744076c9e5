"""A job of a pipeline deployment: the data of the call found, its outputs free, and all of it in a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from ..blocks.compute import ComputeCluster
from ..blocks.datastore import default_datastore, open_folder
from ..blocks.documents import validate
from ..blocks.interface import MODELS, InputSpec, OutputSpec
from ..blocks.model_source import is_registered
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import JobPipelineSettings, PipelineSettings
from ..scoring.errors import InvalidDocument, NotFound
from .inputs import is_below, stat_of
from .job import installed_versions, user
from .locations import Location, locate
from .outputs import check_output, default_output, fill_in, is_pattern, locate_output, split_file
from .pipeline_call import DataPointer, OutputPointer, check_inputs, check_outputs
from .pipeline_job import DataValue, OutputPlace, PipelineJob
from .upload import upload_model


def make_pipeline_job(
    client: SyncPrefectClient | None,
    job_id: str,
    deployment: PipelineDeployment,
    compute: ComputeCluster,
    root: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> PipelineJob:
    """A job whose data is there, and whose outputs are free and may be written. Raises BatchError.

    Args:
        client: of the Prefect server; None for a trial run without one.
        job_id: the job's name.
        deployment: that runs.
        compute: that it runs on.
        root: reference of the folder for the job's files.
        inputs: as in the request.
        outputs: as in the request.
        overrides: of the deployment's settings.
    """
    changed = validate(JobPipelineSettings, overrides, "settings")
    settings = deployment.settings.overridden(changed)
    compute.check(settings)
    values, pointers = check_inputs(deployment.interface, inputs), check_outputs(deployment.interface, outputs)
    found = {
        name: _find(name, deployment.interface.inputs[name], value, client) if isinstance(value, DataPointer) else value
        for name, value in values.items()
    }
    places = {
        name: _place(client, job_id, root, settings, name, spec, pointers.get(name))
        for name, spec in deployment.interface.outputs.items()
    }
    _check_apart(found, places, root)
    for name, place in places.items():
        _check_free(name, place)
    return PipelineJob(
        id=job_id,
        endpoint=None,
        deployment=deployment,
        compute=compute,
        settings=settings,
        inputs=found,
        outputs=places,
        overrides=changed.model_dump(exclude_none=True),
        submitted_by=user(),
        versions=installed_versions(),
        root=root,
        display_name=deployment.graph.display_name if deployment.graph else None,
    )


def _find(name: str, spec: InputSpec, pointer: DataPointer, client: SyncPrefectClient | None) -> DataValue:
    """What a pointer means: one existing file or folder. Raises InvalidDocument, NotFound, BatchError."""
    where, given = f"inputs.{name}", pointer.path
    if client is not None and spec.type in MODELS and is_registered(given):
        datastore = default_datastore(client)
        location = locate(upload_model(given, datastore), client).model_copy(update={"given": given})
    else:
        location = locate(given, client)
    about = stat_of(location, where)
    is_folder = check_found(name, spec, given, location.url, about.is_dir if about is not None else None)
    return DataValue(
        given=given, location=location, is_folder=is_folder, direct=(pointer.mode or spec.mode) == "direct"
    )


def check_found(name: str, spec: InputSpec, given: str, place: str, is_folder: bool | None) -> bool:
    """Whether what was found for a data input is a folder. Raises NotFound, InvalidDocument for what does not fit.

    Args:
        name: of the input.
        spec: of the input.
        given: as the caller wrote it.
        place: where that was looked for.
        is_folder: None where nothing is there.
    """
    where = f"inputs.{name}"
    if is_folder is None:
        if is_pattern(given):
            raise InvalidDocument(f"{where}: {given!r} is a pattern: name one file or one folder")
        raise NotFound(f"{where}: {given!r} does not exist (looked for {place})")
    if spec.type == "uri_file" and is_folder:
        raise InvalidDocument(f"{where}: {given!r} is a folder, and the deployment takes a file there")
    if spec.type in ("uri_folder", "triton_model", "mlflow_model") and not is_folder:
        raise InvalidDocument(f"{where}: {given!r} is a file, and the deployment takes a folder there")
    return is_folder


def _place(
    client: SyncPrefectClient | None,
    job_id: str,
    root: str,
    settings: PipelineSettings,
    name: str,
    spec: OutputSpec,
    pointer: OutputPointer | None,
) -> OutputPlace:
    """Where an output goes: as the call says, else as the pipeline does, else a place of the job's own."""
    path = pointer.path if pointer is not None else None
    if path is None and spec.path is not None:
        path = fill_in(spec.path, client, settings.default_datastore, job_id, name)
    if path:
        return OutputPlace(location=locate_output(path, name, client), is_file=spec.is_file, given=True)
    own = default_output(client, job_id, root, name, settings.default_datastore)
    return OutputPlace(location=own, is_file=spec.is_file, given=False)


def _check_free(name: str, place: OutputPlace) -> None:
    """Refuse an output that something stands in the way of, or that may not be written."""
    if place.is_file:
        folder, file_name = split_file(place.location)
        check_output(folder.open(), file_name, f"outputs.{name}", "file")
    else:
        check_output(place.location.open(), "", f"outputs.{name}")


def _check_apart(inputs: Mapping[str, Any], outputs: Mapping[str, OutputPlace], root: str) -> None:
    """Refuse outputs in each other's place, and a job that would write into its own input. Raises InvalidDocument."""
    opened = {name: place.location.open() for name, place in outputs.items()}
    for name, folder in opened.items():
        for other, held in opened.items():
            if name != other and is_below(folder, held):
                raise InvalidDocument(
                    f"outputs.{name} and outputs.{other} lie in one place, {held.url}: keep them apart"
                )
    for name, location in _folders(inputs):
        source = location.open()
        for folder in (*opened.values(), open_folder(root)):
            if is_below(folder, source):
                raise InvalidDocument(
                    f"inputs.{name}: {source.url} holds {folder.url}, which the job writes to: keep them apart"
                )


def _folders(inputs: Mapping[str, Any]) -> Iterable[tuple[str, Location]]:
    return (
        (name, value.location) for name, value in inputs.items() if isinstance(value, DataValue) and value.is_folder
    )
