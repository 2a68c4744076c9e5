"""What the inputs and outputs of a step are in one job: its expressions resolved."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from prefect.client.orchestration import SyncPrefectClient

from ..blocks import store
from ..blocks.component import Asset, PipelineComponent, Step
from ..blocks.datastore import open_folder
from ..blocks.expressions import Expression, ParentInput, StepOutput
from ..blocks.graph import origin, parent_output
from ..blocks.interface import InputSpec, Literals
from ..blocks.references import DatastorePath, parse
from ..scoring.errors import InvalidDocument, NotFound
from ..scoring.storage import Folder
from .commit import read_result
from .job import JOBS, OUTPUTS
from .locations import Location, locate
from .outputs import default_output, fill_in, locate_output
from .pipeline_job import DataValue, OutputPlace, PipelineJob

Value = DataValue | Literals


def graph_of(job: PipelineJob) -> PipelineComponent:
    """The steps of a job. Raises InvalidDocument for one of a flow in Python."""
    if job.deployment.graph is None:
        raise InvalidDocument(f"job {job.id} runs a flow in Python, which has no steps of this kind")
    return job.deployment.graph


def step_of(job: PipelineJob, step: str) -> Step:
    """Raises NotFound."""
    try:
        return graph_of(job).jobs[step]
    except KeyError:
        raise NotFound(f"job {job.id} has no step {step!r}") from None


def record_of(job: PipelineJob, step: str) -> Folder:
    """The folder in the job's own that holds what became of a step."""
    return job.folder / "steps" / step


def base_of(job: PipelineJob) -> str | None:
    """Reference of the root of the datastore that the job is recorded in; None for a trial run, which has none."""
    root, own = job.root.rstrip("/"), f"{JOBS}/{job.id}"
    return root.removesuffix(own) if root.endswith(f"/{own}") else None


def input_values(job: PipelineJob, step: str) -> dict[str, Value]:
    """The values of a step's inputs; an optional one that was left out is not in it.

    Raises BatchError, such as NotFound for data that is gone.
    """
    specs = step_of(job, step).component.inputs
    found = {name: _input(job, step, name, spec) for name, spec in specs.items()}
    return {name: value for name, value in found.items() if value is not None}


def _input(job: PipelineJob, step: str, name: str, spec: InputSpec) -> Value | None:
    given = step_of(job, step).inputs.get(name)
    value = _resolved(job, origin(graph_of(job).jobs, step, name))
    if value is None:
        value = spec.default
    if isinstance(value, DataValue):
        mode = given.mode if isinstance(given, Asset) and given.mode else spec.mode
        return value.model_copy(update={"direct": mode == "direct" or (mode is None and value.direct)})
    try:
        return None if value is None else spec.check(value)
    except ValueError:  # a number for a text: a command takes either
        return value


def _resolved(job: PipelineJob, value: Expression | Asset | Literals | None) -> Value | None:
    if isinstance(value, ParentInput):
        return job.inputs.get(value.name)
    if isinstance(value, StepOutput):
        return _output_of(job, value)
    if isinstance(value, Asset):
        return value.value if value.path is None else _asset(job, value.path)
    return cast("Literals | None", value)


def _output_of(job: PipelineJob, expression: StepOutput) -> DataValue:
    result = read_result(record_of(job, expression.step))
    if result is None or expression.output not in result.outputs:
        raise NotFound(f"{expression}: step {expression.step} has not written it")
    return result.outputs[expression.output].value


def _asset(job: PipelineJob, path: str) -> DataValue:
    """A fixed asset: the version that was the latest when the job first asked."""
    name = f"assets/{hashlib.sha256(path.encode()).hexdigest()[:16]}.json"
    try:
        return DataValue.model_validate_json(job.folder.read(name))
    except FileNotFoundError:
        pass
    with _client(job) as client:
        location = locate(path, client)
    try:
        is_folder = location.open().stat().is_dir
    except FileNotFoundError:
        raise NotFound(f"{path!r} does not exist (looked for {location.url})") from None
    found = DataValue(given=path, location=location, is_folder=is_folder)
    try:
        job.folder.create(name, found.model_dump_json().encode())
    except FileExistsError:
        return DataValue.model_validate_json(job.folder.read(name))
    return found


@contextmanager
def _client(job: PipelineJob) -> Generator[SyncPrefectClient | None]:
    if base_of(job) is None:
        yield None
        return
    with store.api() as client:
        yield client


def output_places(job: PipelineJob, step: str) -> dict[str, OutputPlace]:
    """Where the outputs of a step go. Raises BatchError."""
    return {name: _place(job, step, name) for name in step_of(job, step).component.outputs}


def _place(job: PipelineJob, step: str, name: str) -> OutputPlace:
    about = step_of(job, step)
    spec, binding = about.component.outputs[name], about.outputs.get(name)
    is_file = spec.is_file
    if binding is not None and (output := parent_output(binding)) is not None:
        return job.outputs[output].model_copy(update={"is_file": is_file})
    path = binding.path if binding is not None and binding.path else spec.path
    if path is None:
        return OutputPlace(location=_own(job, step, name), is_file=is_file, given=False)
    with _client(job) as client:
        filled = fill_in(path, client, job.settings.default_datastore, f"{job.id}-{step}", name)
        location = locate_output(filled, name, client)
    return OutputPlace(location=location, is_file=is_file, given=True)


def _own(job: PipelineJob, step: str, name: str) -> Location:
    """A place that no other step or job has."""
    base = base_of(job)
    if base is None:
        reference = f"{job.root.rstrip('/')}/steps/{step}/outputs/{name}"
    elif job.settings.default_datastore is not None:
        with _client(job) as client:
            return default_output(client, job.id, job.root, f"{step}/{name}", job.settings.default_datastore)
    else:
        reference = f"{base}{OUTPUTS}/{job.id}/{step}/{name}"
    pointer = parse(reference)
    datastore = pointer.datastore if isinstance(pointer, DatastorePath) else None
    return Location(given=None, url=open_folder(reference).url, reference=reference, datastore=datastore)
