"""Component files as their users write them, with Azure ML's keys: commands, and pipelines of them.

Where a component is asked for, there may stand a file (relative to the one it is named in), a registered one
(`azureml:<name>:<version>`, `azureml:<name>@latest`, `azureml:<name>`), or the component itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..scoring.errors import InvalidDocument, NotFound
from .command_job import command_of
from .command_line import as_argument
from .component import Asset, CommandComponent, Component, PipelineComponent
from .documents import Where, load_located, merged, validate
from .graph import Value, check_command, check_pipeline
from .interface import InputSpec, Interface

Find = Callable[[str, str | None, str | None], Component]
"""Gives a registered component by its name, and its version or a label. Raises NotFound, InvalidDocument."""

_REGISTERED = re.compile(r"azureml:/?(?P<name>[\w.-]+)(?::(?P<version>[\w.-]+)|@(?P<label>[\w.-]+))?")
_HEAD = {"$schema", "properties"}
_IGNORED_OF_PIPELINES = _HEAD | {"settings"}
_IGNORED_OF_STEPS = {"properties", "queue_settings", "services", "tags"}


@dataclass(frozen=True)
class Loaded:
    """A component that was read and checked, and where it stands."""

    component: CommandComponent | PipelineComponent
    where: Where
    folder: Path
    """What relative paths in it mean."""
    stored: bool = False
    """Whether it is registered, and so whole: with all that it needs."""

    @property
    def pipeline(self) -> PipelineComponent:
        """The component where it is a pipeline. Raises InvalidDocument."""
        if not isinstance(self.component, PipelineComponent):
            raise self.where.error("is a component of type command: name one of type pipeline, with jobs")
        return self.component


def load_component(path: Path, find: Find, changes: Mapping[str, Any] | None = None) -> Loaded:
    """A component's file, with the files and the registered components that it names.

    Args:
        path: of the file.
        find: looks registered components up.
        changes: laid over the file's keys.

    Raises InvalidDocument with the file, the line and the expression; NotFound for what is not registered.
    """
    data, where = load_located(path)
    return parse_component(merged(data, changes or {}), where, path.parent, find)


def read_component(source: Any, where: Where, folder: Path, find: Find) -> Loaded:
    """What a document says under `component`. Raises InvalidDocument, NotFound.

    Args:
        source: a file, a registered component, or the component itself.
        where: the place of that key.
        folder: of the document.
        find: looks registered components up.
    """
    if isinstance(source, Mapping):
        return parse_component(dict(cast("Mapping[str, Any]", source)), where, folder, find)
    if not isinstance(source, str):
        raise where.error(f"{source!r} is no component: write a file, azureml:<name>:<version> or the component itself")
    if source.startswith("azureml:"):
        return _registered(source, where, folder, find)
    path = Path(os.path.normpath(folder / Path(source.removeprefix("file:")).expanduser()))
    if not path.is_file():
        raise where.error(f"{source!r} is not a file ({path}); one that is registered is azureml:<name>:<version>")
    return load_component(path, find)


def _registered(source: str, where: Where, folder: Path, find: Find) -> Loaded:
    if "registries/" in source:
        raise where.error(
            f"{source!r} is in a registry, which is not supported: register it with `prefect-batch component create`"
        )
    if (match := _REGISTERED.fullmatch(source)) is None:
        raise where.error(f"{source!r} is not understood: write azureml:<name>:<version> or azureml:<name>@latest")
    try:
        found = find(match["name"], match["version"], match["label"])
    except (InvalidDocument, NotFound) as error:
        raise type(error)(f"{where}: {error}") from None
    component = found.component.model_copy(update={"name": found.name, "version": found.version})
    return Loaded(component, Where(found.label), folder, stored=True)


def parse_component(data: dict[str, Any], where: Where, folder: Path, find: Find) -> Loaded:
    """A component's keys. Raises InvalidDocument, NotFound.

    Args:
        data: as they were written.
        where: their place.
        folder: what relative paths mean.
        find: looks registered components up.
    """
    kind = data.get("type") or ("pipeline" if "jobs" in data else "command" if "command" in data else None)
    if kind == "pipeline":
        return Loaded(_pipeline(data, where, folder, find), where, folder)
    if kind == "command":
        return Loaded(_command(data, where, folder), where, folder)
    if kind is None:
        raise where.error("holds no component: write type: command with a command, or type: pipeline with jobs")
    raise where.at("type").error(f"{kind!r} is not supported: write type: command or type: pipeline")


def _command(data: dict[str, Any], where: Where, folder: Path) -> CommandComponent:
    known = set(CommandComponent.model_fields) - {"code_snapshot"}
    given = {key: value for key, value in data.items() if key not in _HEAD}
    component = validate(CommandComponent, given, where, known)
    check_command(component, where)
    if component.code is None:
        return component
    return component.model_copy(update={"code": _code(component.code, where.at("code"), folder)})


def _code(code: str, where: Where, folder: Path) -> str:
    if re.match(r"azureml:|git\+|\w+://", code):
        raise where.error(f"{code!r} is not supported: write a folder beside the file")
    path = (folder / Path(code).expanduser()).resolve()
    if not path.is_dir():
        raise where.error(f"{code!r} is not a folder (looked at {path})")
    return str(path)


def _pipeline(data: dict[str, Any], where: Where, folder: Path, find: Find) -> PipelineComponent:
    given = {key: value for key, value in data.items() if key not in _IGNORED_OF_PIPELINES}
    ports = {key: value for key in ("inputs", "outputs") if (value := given.get(key)) is not None}
    interface = validate(Interface, ports, where)
    steps = _mapping(given.get("jobs"), where.at("jobs"))
    whole: dict[str, dict[str, Any]] = {}
    for name, step in steps.items():
        here = where.at("jobs", name)
        whole[name] = {key: value for key, value in _mapping(step, here).items() if key not in _IGNORED_OF_STEPS}
        if (kind := whole[name].get("type", "command")) != "command":
            raise here.at("type").error(f"{kind!r} is not supported: a step is of type command")
        if "component" in whole[name]:
            whole[name]["component"] = _component(whole[name], here.at("component"), folder, find)
    for name, step in whole.items():
        if "component" not in step:
            whole[name] = _command_job(name, whole, interface, where.at("jobs", name), folder)
    component = validate(PipelineComponent, given | ports | {"jobs": whole}, where)
    for step in component.jobs.values():
        step.inputs = {name: _fitting(value, step.component.inputs.get(name)) for name, value in step.inputs.items()}
    check_pipeline(component, where)
    return component


def _mapping(value: Any, where: Where) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise where.error("is missing" if value is None else f"{value!r} must be a mapping of keys to values")
    return {str(key): inner for key, inner in cast("Mapping[Any, Any]", value).items()}


def _component(step: Mapping[str, Any], where: Where, folder: Path, find: Find) -> CommandComponent:
    source = step["component"]
    if isinstance(source, Mapping) and "jobs" in source:
        raise where.error("is a pipeline, which no step can be: write its steps here")
    loaded = read_component(source, where, folder, find)
    if not isinstance(loaded.component, CommandComponent):
        raise where.error(f"{source!r} is a pipeline, which no step can be: write its steps here")
    return loaded.component


def _command_job(
    name: str, steps: Mapping[str, Mapping[str, Any]], interface: Interface, where: Where, folder: Path
) -> dict[str, Any]:
    """A step that holds its command itself, as one that holds a component."""
    if not steps[name].get("command"):
        raise where.error("component is missing: name one, or write it there")
    try:
        definition, rest = command_of(name, steps, interface)
    except InvalidDocument as error:
        raise where.error(str(error)) from None
    return {**rest, "component": _command(definition, where, folder)}


def _fitting(value: Value, spec: InputSpec | None) -> Value:
    """A literal written with its type is the literal; a number where a text belongs is meant as it was written."""
    if isinstance(value, Asset) and value.value is not None:
        value = value.value
    if spec is None or spec.type != "string" or value is None or isinstance(value, (str, Asset)):
        return value
    return as_argument(value)
