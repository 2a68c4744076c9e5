"""A call as the command line gives it: options and `--set` made into a request, local data brought within reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient
from pydantic import Field

from ..blocks.datastore import default_datastore
from ..blocks.documents import load_yaml, validate
from ..blocks.references import LocalPath, parse
from ..blocks.settings import Document
from ..flows.inputs import PARAMS
from ..flows.locations import locate
from ..flows.outputs import locate_output
from ..flows.upload import upload
from ..scoring.errors import InvalidDocument, NotFound
from . import terminal

_WILD = "*?["


class _CallFile(Document):
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


def load_call(path: Path) -> dict[str, Any]:
    """A call's YAML file as `--set` would say the same. Raises InvalidDocument."""
    call = validate(_CallFile, load_yaml(path), str(path))
    return {**call.settings, **call.model_dump(include={"inputs", "outputs"})}


def request(
    assignments: dict[str, Any],
    inputs: list[str],
    input_type: str | None,
    include: list[str],
    exclude: list[str],
    output: str | None,
) -> dict[str, Any]:
    """The request's `inputs`, `outputs` and `settings`, each only where something was given. Raises InvalidDocument.

    Args:
        assignments: what `--set` says: `inputs.…`, `outputs.…`, and settings.
        inputs: places of the data.
        input_type: uri_folder or uri_file.
        include: globs of files that count.
        exclude: globs of files that do not.
        output: the output's place.
    """
    settings = dict(assignments)
    found: dict[str, dict[str, Any]] = {}
    for group in ("inputs", "outputs"):
        value = settings.pop(group, {})
        if not isinstance(value, dict):
            raise InvalidDocument(f"--set {group}={value}: name which, as in --set {group}.data.path=PATH")
        found[group] = cast("dict[str, Any]", value)
    if inputs:
        named = {name for name in found["inputs"] if name != PARAMS}
        if named:
            raise InvalidDocument(f"--input and inputs.{min(named)} both name the data: give one of them")
        found["inputs"]["data"] = inputs[0] if len(inputs) == 1 else inputs
    filters = {"type": input_type, "include": include, "exclude": exclude}
    for name, value in found["inputs"].items():
        if name != PARAMS and any(filters.values()):
            spec = cast("dict[str, Any]", value) if isinstance(value, dict) else {"path": value}
            found["inputs"][name] = spec | {key: given for key, given in filters.items() if given}
    if output is not None:
        found["outputs"]["score"] = output
    return {key: value for key, value in (*found.items(), ("settings", settings)) if value}


def bring_within_reach(parameters: dict[str, Any], client: SyncPrefectClient | None) -> None:
    """Make local paths of a request absolute, in place; for a job elsewhere, upload the data first. Check the names.

    A job is elsewhere when the default datastore is: then the worker may be on another machine, and what both reach is
    the datastore. Raises NotFound, InvalidDocument.
    """
    elsewhere = client is not None and not default_datastore(client).is_local
    inputs: dict[str, Any] = parameters.get("inputs", {})
    for name, value in inputs.items():
        if name != PARAMS:
            inputs[name] = _each_path(value, lambda path: _reachable(path, client, elsewhere))
    outputs: dict[str, Any] = parameters.get("outputs", {})
    for name, value in outputs.items():
        outputs[name] = _each_path(value, lambda path, name=name: _writable(path, name, client))


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


def _reachable(given: str, client: SyncPrefectClient | None, elsewhere: bool) -> str:
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
    with terminal.byte_bar(f"Uploading {given}") as update:
        return upload(Path(path), default_datastore(client), update)
