"""Pipeline jobs as their users write them, with Azure ML's keys: steps or a component, and the values that they get.

Where the steps stand in the file itself, what the pipeline takes follows from the values: data from what has a path,
a literal with that default from all else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field

from ..scoring.errors import InvalidDocument
from .component_file import Find, Loaded, parse_component, read_component
from .documents import Text, Where, load_located, merged, validate
from .interface import LITERAL_TYPES
from .names import is_name
from .pipeline_settings import PipelineSettings
from .references import LocalPath, parse
from .settings import Document

_COMPONENT_KEYS = ("type", "display_name", "description", "tags")
_DATA_KEYS = ("type", "mode")


class PipelineJobFile(Document):
    """`pipelineJob.schema.json`."""

    type: Literal["pipeline"] = "pipeline"
    name: str | None = None
    display_name: str | None = None
    experiment_name: str | None = Field(default=None, description="Taken for compatibility.")
    description: str | None = None
    tags: dict[str, Text] = Field(default_factory=dict)
    properties: dict[str, Any] = Field(default_factory=dict)
    compute: str | None = None
    component: str | dict[str, Any] | None = None
    jobs: dict[str, Any] | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    settings: PipelineSettings = Field(default_factory=PipelineSettings)
    identity: dict[str, Any] | None = Field(default=None, description="Taken for compatibility.")


@dataclass(frozen=True)
class LoadedJob:
    """A pipeline job's file, read and checked."""

    file: PipelineJobFile
    loaded: Loaded
    """The pipeline."""
    inputs: dict[str, Any]
    """Those that are not the pipeline's own defaults, as in a call; local paths are absolute."""
    outputs: dict[str, Any]
    """As in a call; local paths are absolute."""
    title: str
    """What the pipeline is called where only a name will do."""


def load_pipeline_job(path: Path, find: Find, changes: Mapping[str, Any]) -> LoadedJob:
    """A pipeline job's file, with the component files and the registered components that it names.

    Args:
        path: of the file.
        find: looks registered components up.
        changes: laid over the file's keys; relative paths in them are taken from the working directory, those of the
            file from its folder, and settings may stand at the top.

    Raises InvalidDocument, NotFound.
    """
    data, where = load_located(path)
    data = merged(_absolute(data, path.parent), _absolute(_settings_below(changes), Path.cwd()))
    if "compute" in data:
        data["settings"] = {"default_compute": data["compute"], **(data.get("settings") or {})}
    file = validate(PipelineJobFile, {key: value for key, value in data.items() if value is not None}, where)
    if (file.component is None) == (file.jobs is None):
        both = "component and jobs stand there: keep one" if file.jobs else "component or jobs is missing"
        raise InvalidDocument(f"{where.file}: {both}")
    if file.component is not None:
        loaded = read_component(file.component, where.at("component"), path.parent, find)
        inputs, outputs = dict(file.inputs), {key: value for key, value in file.outputs.items() if _path(value)}
    else:
        component, inputs, outputs = _component(file, where)
        loaded = parse_component(component, where, path.parent, find)
    _ = loaded.pipeline  # nothing else is run
    return LoadedJob(file, loaded, inputs, outputs, _title(file, path))


def _settings_below(changes: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in changes.items() if key in PipelineSettings.model_fields}
    others = {key: value for key, value in changes.items() if key not in settings}
    return merged({"settings": settings}, others) if settings else others


def _absolute(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The document with the local paths of its inputs and outputs taken from a folder."""
    result = dict(data)
    for part in ("inputs", "outputs"):
        ports: Any = data.get(part)
        if isinstance(ports, Mapping):
            named = cast("Mapping[str, Any]", ports)
            result[part] = {name: _from(folder, value) for name, value in named.items()}
    return result


def _from(folder: Path, value: Any) -> Any:
    path = _path(value)
    if path is None or "${{" in path or path.startswith(("models:/", "runs:/", "mlflow-artifacts:/")):
        return value
    place = parse(path)
    if not isinstance(place, LocalPath):
        return value
    absolute = os.path.normpath(folder.absolute() / Path(place.path).expanduser())
    return {**value, "path": f"{absolute}/" if place.path.endswith("/") else absolute}


def _path(value: Any) -> str | None:
    path = cast("Mapping[str, Any]", value).get("path") if isinstance(value, Mapping) else None
    return path if isinstance(path, str) and path else None


def _component(file: PipelineJobFile, where: Where) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The pipeline that a job's own steps make, and what a call of it gives."""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    specs_in: dict[str, Any] = {}
    specs_out: dict[str, Any] = {}
    for name, value in file.inputs.items():
        if _path(value):
            inputs[name], specs_in[name] = value, {key: value[key] for key in _DATA_KEYS if key in value}
        else:
            specs_in[name] = _literal(value, where.at("inputs", name))
    for name, value in file.outputs.items():
        given: dict[str, Any] = value or {}
        path = _path(value)
        if path is not None and "${{" not in path:
            outputs[name], given = {"path": path}, {key: inner for key, inner in given.items() if key != "path"}
        specs_out[name] = given
    about = {key: value for key in _COMPONENT_KEYS if (value := getattr(file, key)) is not None}
    return about | {"inputs": specs_in, "outputs": specs_out, "jobs": file.jobs}, inputs, outputs


def _literal(value: Any, where: Where) -> dict[str, Any]:
    """A literal input that has this value unless a call gives another."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, Any]", value)
        inner = given.get("value", given.get("default"))
        spec = {"default": inner} | {key: given[key] for key in given if key not in ("value", "default")}
        return spec if "type" in spec else spec | _literal(inner, where)
    kind = LITERAL_TYPES.get(cast("type[Any]", type(value)))
    if kind is None:
        raise where.error(f"{value!r} is no value: write a text, a number, true or false, or {{type: ..., path: ...}}")
    return {"type": kind, "default": value}


def _title(file: PipelineJobFile, path: Path) -> str:
    for text in (file.name, file.display_name, path.stem):
        title = re.sub("[^A-Za-z0-9]+", "-", text or "").strip("-")[:32].strip("-")
        if is_name(title):
            return title
    return "pipeline-job"
