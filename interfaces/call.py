"""A call as the command line and the Python client give it: made into a request, local data brought within reach."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from pydantic import Field

from ..blocks.datastore import default_datastore
from ..blocks.documents import load_yaml, validate
from ..blocks.interface import MODELS, InputSpec, Interface
from ..blocks.model_source import is_registered
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import JobPipelineSettings
from ..blocks.references import LocalPath, parse
from ..blocks.settings import Document, JobSettings
from ..flows import jobs, stand_alone
from ..flows.inputs import PARAMS
from ..flows.locations import locate
from ..flows.outputs import locate_output
from ..flows.pipeline_call import check_inputs, check_outputs, from_text
from ..flows.pipeline_request import check_found
from ..flows.pipeline_source import prepare_job
from ..flows.request import route
from ..flows.upload import upload
from ..scoring.errors import InvalidDocument, NotFound
from . import overrides, terminal, views

_WILD = "*?["
Bar = Callable[[str], AbstractContextManager[Callable[[int, int], object] | None]]
"""Shows how far an upload is. Takes what is uploaded; gives what is told of bytes done and bytes in all."""


@contextmanager
def unseen(what: str) -> Generator[None]:
    """A Bar for programs, which shows nothing."""
    yield


class _CallFile(Document):
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


def load_call(path: Path) -> dict[str, Any]:
    """A call's YAML file as `--set` would say the same. Raises InvalidDocument."""
    call = validate(_CallFile, load_yaml(path), str(path))
    return {**call.settings, **call.model_dump(include={"inputs", "outputs"})}


def interface_of(client: SyncPrefectClient, endpoint: str, deployment: str | None) -> Interface | None:
    """What the pipeline takes that a call would go to; None for a model. Raises NotFound where it would go nowhere."""
    try:
        found = route(client, endpoint, deployment)
    except NotFound:
        jobs.find_endpoint(client, endpoint)  # one that is not there is told as such
        raise
    return found.interface if isinstance(found, PipelineDeployment) else None


def reader(interface: Interface | None) -> overrides.Read:
    """Reads the text of an assignment to a literal input as what that input is: 007 is a text where a text belongs."""
    specs = interface.inputs if interface is not None else {}

    def read(key: Sequence[str], text: str) -> Any:
        is_value = key[0] == "inputs" and (len(key) == 2 or (len(key) == 3 and key[2] in ("default", "value")))
        spec = specs.get(key[1]) if is_value else None
        return from_text(spec, text) if spec is not None and spec.is_literal else overrides.value_of(key, text)

    return read


def request(
    assignments: dict[str, Any],
    inputs: list[str],
    input_type: str | None,
    include: list[str],
    exclude: list[str],
    output: str | None,
    interface: Interface | None = None,
) -> dict[str, Any]:
    """The request's `inputs`, `outputs` and `settings`, each only where something was given. Raises InvalidDocument.

    Args:
        assignments: what `--set` says: `inputs.…`, `outputs.…`, and settings.
        inputs: places of the data.
        input_type: uri_folder or uri_file.
        include: globs of files that count.
        exclude: globs of files that do not.
        output: the output's place.
        interface: of the pipeline that the call is for; None for a model.
    """
    settings = dict(assignments)
    found: dict[str, dict[str, Any]] = {}
    for group in ("inputs", "outputs"):
        value = settings.pop(group, {})
        if not isinstance(value, dict):
            raise InvalidDocument(f"--set {group}={value}: name which, as in --set {group}.data.path=PATH")
        found[group] = cast("dict[str, Any]", value)
    if interface is not None:
        _name_the_only(found, inputs, input_type, output, interface)
        if include or exclude or len(inputs) > 1:
            raise InvalidDocument("--input: a pipeline takes one place for an input, and all its files")
        found = as_sent(found["inputs"], found["outputs"], interface)
    else:
        _name_the_data(found["inputs"], inputs, {"type": input_type, "include": include, "exclude": exclude})
        if output is not None:
            found["outputs"]["score"] = output
    return {key: value for key, value in (*found.items(), ("settings", settings)) if value}


def _name_the_data(found: dict[str, Any], inputs: list[str], filters: dict[str, Any]) -> None:
    """What `--input` and its filters mean to a model."""
    if inputs:
        named = {name for name in found if name != PARAMS}
        if named:
            raise InvalidDocument(f"--input and inputs.{min(named)} both name the data: give one of them")
        found["data"] = inputs[0] if len(inputs) == 1 else inputs
    for name, value in found.items():
        if name != PARAMS and any(filters.values()):
            spec = cast("dict[str, Any]", value) if isinstance(value, dict) else {"path": value}
            found[name] = spec | {key: given for key, given in filters.items() if given}


def _name_the_only(
    found: dict[str, dict[str, Any]],
    inputs: list[str],
    input_type: str | None,
    output: str | None,
    interface: Interface,
) -> None:
    """What `--input` and `--output-path` mean to a pipeline: the only one that it has."""
    data = {"path": inputs[0]} | ({"type": input_type} if input_type else {}) if inputs else None
    for option, group, given, names in (
        ("--input", "inputs", data, interface.data_inputs),
        ("--output-path", "outputs", {"path": output} if output is not None else None, list(interface.outputs)),
    ):
        if given is None:
            continue
        if len(names) != 1:
            has = f"it has {', '.join(names)}: --set {group}.NAME.path=PATH names one" if names else "it has none"
            raise InvalidDocument(f"{option} is for a pipeline with one data {group[:-1]}, and {has}")
        if names[0] in found[group]:
            raise InvalidDocument(f"{option} and {group}.{names[0]} both name a place: give one of them")
        found[group][names[0]] = given


def as_sent(inputs: dict[str, Any], outputs: dict[str, Any], interface: Interface) -> dict[str, dict[str, Any]]:
    """A pipeline's inputs and outputs as they are sent: what was given, checked, literals as plain values."""
    values, places = check_inputs(interface, inputs), check_outputs(interface, outputs)
    return {
        "inputs": {name: _sent(value) for name, value in values.items() if inputs.get(name) is not None},
        "outputs": {name: _sent(place) for name, place in places.items()},
    }


def _sent(value: Any) -> Any:
    if not isinstance(value, Document):
        return value
    pointer = value.model_dump(exclude_none=True)
    return pointer["path"] if set(pointer) == {"path"} else pointer


def send(
    client: SyncPrefectClient,
    endpoint: str,
    deployment: str | None,
    interface: Interface | None,
    parameters: dict[str, Any],
    *,
    where: str = "--set",
    bar: Bar = terminal.byte_bar,
    job_name: str | None = None,
    experiment_name: str | None = None,
    idempotency_key: str | None = None,
) -> FlowRun:
    """Make the job of a request; returns at once. Raises NotFound, InvalidDocument.

    Args:
        client: of the Prefect server.
        endpoint: that is called.
        deployment: instead of its default.
        interface: of the pipeline that the call is for; None for a model.
        parameters: the request, in which local paths become what the worker reaches.
        where: what gave the settings, for messages.
        bar: shows uploads.
        job_name: instead of a name made up.
        experiment_name: kept as a tag of the job.
        idempotency_key: a call with the key of an earlier one gets that one's job.
    """
    kind = JobSettings if interface is None else JobPipelineSettings
    validate(kind, parameters.get("settings", {}), where)  # the server checks too, but explains less
    bring_within_reach(parameters, client, interface, bar)
    parameters |= {"deployment": deployment.lower()} if deployment else {}
    tags = [f"{views.EXPERIMENT_TAG}{experiment_name}"] if experiment_name is not None else []
    return jobs.invoke(client, endpoint.lower(), parameters, job_name, None, idempotency_key, tags)


def run_file(
    client: SyncPrefectClient,
    file: Path,
    changes: Mapping[str, Any],
    job_name: str | None = None,
    bar: Bar = terminal.byte_bar,
) -> FlowRun:
    """Run a pipeline job's file without an endpoint; returns at once. Raises NotFound, InvalidDocument.

    Args:
        client: of the Prefect server.
        file: of the job.
        changes: laid over its keys.
        job_name: instead of the file's, or of one made up.
        bar: shows uploads.
    """
    job = prepare_job(client, file, changes)
    values = {"inputs": dict(job.inputs), "outputs": dict(job.outputs)}
    bring_within_reach(values, client, job.deployment.interface, bar)
    return stand_alone.submit(client, job.deployment, values["inputs"], values["outputs"], job_name or job.name)


def bring_within_reach(
    parameters: dict[str, Any],
    client: SyncPrefectClient | None,
    interface: Interface | None = None,
    bar: Bar = terminal.byte_bar,
) -> None:
    """Make local paths of a request absolute, in place; for a job elsewhere, upload the data first. Check the names.

    A job is elsewhere when the default datastore is: then the worker may be on another machine, and what both reach is
    the datastore. Raises NotFound, InvalidDocument.
    """
    elsewhere = client is not None and not default_datastore(client).is_local
    inputs: dict[str, Any] = parameters.get("inputs", {})
    for name, value in inputs.items():
        spec = interface.inputs[name] if interface is not None else None
        if name == PARAMS if spec is None else spec.is_literal or _is_model(spec, value):
            continue
        if spec is not None:
            _check_local(name, spec, value if isinstance(value, str) else value["path"])
        inputs[name] = _each_path(value, lambda path: _reachable(path, client, elsewhere, bar))
    outputs: dict[str, Any] = parameters.get("outputs", {})
    for name, value in outputs.items():
        outputs[name] = _each_path(value, lambda path, name=name: _writable(path, name, client))


def _is_model(spec: InputSpec, value: Any) -> bool:
    """Whether a model of MLflow's registry, which the worker fetches."""
    return spec.type in MODELS and is_registered(value if isinstance(value, str) else value["path"])


def _check_local(name: str, spec: InputSpec, given: str) -> None:
    """Refuse a local file or folder that is not there or not what a pipeline takes, before there is a job."""
    if (path := _absolute(given)) is not None:
        check_found(name, spec, given, path, Path(path).is_dir() if Path(path).exists() else None)


def _each_path(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_path(item, change) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return given | ({"path": _each_path(given["path"], change)} if "path" in given else {})
    return value


def _absolute(given: str) -> str | None:
    """The absolute path of a local one, with the slash at its end that it came with; None for what is not local."""
    pointer = parse(given)
    if not isinstance(pointer, LocalPath):
        return None
    path = str(Path(pointer.path).expanduser().absolute())
    return f"{path}/" if given.endswith("/") and path != "/" else path


def _writable(given: str, name: str, client: SyncPrefectClient | None) -> str:
    path = _absolute(given) or given
    if client is not None:
        locate_output(path, name, client)  # what it refuses is said now, not when the job starts
    return path


def _reachable(given: str, client: SyncPrefectClient | None, elsewhere: bool, bar: Bar) -> str:
    path = _absolute(given)
    if path is None:
        if client is not None:
            locate(given, client)  # a misspelt name is said now, not when the job starts
        return given
    there = Path(path).exists()
    if not there and not any(letter in path for letter in _WILD):
        raise NotFound(f"input {given!r} does not exist (looked for {path})")
    if client is None or not elsewhere:
        return path
    if not there:
        raise InvalidDocument(
            f"input {given!r}: patterns of local files are not uploaded: give the folder and --include"
        )
    with bar(f"Uploading {given}") as update:
        return upload(Path(path), default_datastore(client), update)
