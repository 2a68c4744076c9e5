"""The parameter schema of an endpoint: what its Run form shows and what the server refuses before anything starts."""

from __future__ import annotations

import json
from typing import Any

from ..blocks.model_deployment import ModelDeployment
from ..blocks.model_params import ANY_NAME, Param
from ..blocks.settings import BOOLEAN_SCHEMA, JobRetrySettings, JobSettings, ModelSettings


def parameter_schema(default: ModelDeployment | None, deployments: list[str]) -> dict[str, Any]:
    """A schema in the form that Prefect deployments carry.

    Args:
        default: the endpoint's default deployment, whose settings the descriptions tell. Not as schema defaults: the
            form would submit them, and so override another deployment that the caller chose.
        deployments: names to choose from.
    """
    settings = default.settings if default else ModelSettings()
    which: dict[str, Any] = {
        "title": "deployment",
        "type": "string",
        "description": f"Deployment to run instead of the default, {default.name}."
        if default
        else "Deployment to run; the endpoint has no default.",
        "position": 2,
    }
    if deployments:
        which["enum"] = deployments
    return {
        "title": "Parameters",
        "type": "object",
        "properties": {
            "inputs": _reference("Inputs", "inputs", 0),
            "outputs": _reference("Outputs", "outputs", 1),
            "deployment": which,
            "settings": _reference("Settings", "settings", 3),
        },
        "required": ["inputs"] if default else ["inputs", "deployment"],
        "definitions": {
            "Inputs": _inputs(default),
            "Outputs": _outputs(),
            "Settings": _settings(JobSettings, settings.model_dump() | {"output_file_name": settings.file_name}),
            "RetrySettings": _settings(JobRetrySettings, settings.retry_settings.model_dump()),
        },
    }


def _reference(definition: str, title: str, position: int) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{definition}", "title": title, "position": position}


_PATH: dict[str, Any] = {"type": "string", "minLength": 1}
_PATHS: dict[str, Any] = {"type": "array", "items": _PATH, "minItems": 1}
_ONE_OR_MORE: dict[str, Any] = {"anyOf": [{**_PATH, "title": "one"}, {**_PATHS, "title": "several"}]}
_DATA_TYPE: dict[str, Any] = {
    "type": "string",
    "enum": ["uri_folder", "uri_file", "UriFolder", "UriFile"],  # the latter as Azure's REST API spells them
}


def _inputs(default: ModelDeployment | None) -> dict[str, Any]:
    """One data input, which the form calls `data` and a caller may call anything, and the model's parameters.

    Parameters of the default deployment have fields. The call may be for another one: others pass, and none is
    required here.
    """
    described = (
        "Required: the folder or file to score, as a path, a URL or a data asset like data:heart@latest. A relative "
        "path starts where the worker was started."
    )
    properties: dict[str, Any] = {"data": {"title": "data", "description": described, **_data()}}
    params = {name: param for name, param in ((default and default.params_schema) or {}).items() if name != ANY_NAME}
    if params:
        properties["params"] = {
            "title": "params",
            "type": "object",
            "description": "Parameters of the model.",
            "properties": {name: _param(name, param) for name, param in params.items()},
            "additionalProperties": True,
        }
    return {
        "title": "data",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^params$": {"type": ["object", "null"]}},
        "additionalProperties": _data(),
        "minProperties": 1,
        "if": {"required": ["params"]},
        "then": {"minProperties": 2, "maxProperties": 2},
        "else": {"maxProperties": 1},
    }


def _pointer(
    title: str, path: dict[str, Any], modes: list[str], more: dict[str, dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A mapping with a path, and what may stand beside it."""
    properties: dict[str, Any] = {"path": path, "type": _DATA_TYPE, "mode": {"type": "string", "enum": modes}}
    return {
        "title": title,
        "type": "object",
        "properties": {name: {"title": name, **schema} for name, schema in (properties | (more or {})).items()},
        "required": ["path"],
        "additionalProperties": False,
    }


def _data() -> dict[str, Any]:
    filtered = _pointer(
        "path with filters",
        {**_ONE_OR_MORE, "description": "Folders, files or both."},
        ["ro_mount", "download", "direct"],
        {
            "include": {**_ONE_OR_MORE, "description": "Files to score, such as *.csv; by default all."},
            "exclude": {**_ONE_OR_MORE, "description": "Files to leave out, such as *_old.csv."},
        },
    )
    return {"anyOf": [{**_PATH, "title": "path"}, {**_PATHS, "title": "several paths"}, filtered]}


_ITEM: dict[str, Any] = {
    "anyOf": [{"title": "text", "type": "string"}, {"title": "number", "type": "number"}, {"title": "JSON"}]
}


def _param(name: str, param: Param) -> dict[str, Any]:
    said = "Required." if param.required else _default(param.default)
    spelled = "Written as JSON." if param.type in ("any", "object") else None  # a form has only an editor for it
    description = " ".join(filter(None, [param.description, spelled, said]))
    special = {"any": {}, "boolean": BOOLEAN_SCHEMA, "array": {"type": "array", "items": _ITEM}}
    kind = special.get(param.type, {"type": param.type})
    return {"title": name, **kind, **({"description": description} if description else {})}


def _outputs() -> dict[str, Any]:
    path = {**_PATH, "description": "A folder; with type uri_file also a file."}
    typed = _pointer("path with type", path, ["rw_mount", "upload"])
    one: dict[str, Any] = {"anyOf": [{**_PATH, "title": "path"}, typed]}
    described = "Folder for the output, as a path or a URL; by default one of the job's own in the default datastore."
    return {
        "title": "score",
        "type": "object",
        "properties": {"score": {"title": "score", "description": described, **one}},
        "additionalProperties": one,
        "maxProperties": 1,
    }


def _settings(model: type[JobSettings] | type[JobRetrySettings], effective: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, schema in model.model_json_schema()["properties"].items():
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        if "$ref" in branches[0]:
            properties[name] = {"$ref": "#/definitions/RetrySettings", "title": name}
            continue
        about = branches[0].get("description") or schema.get("description") or ""
        branches = branches[0].get("anyOf", branches)
        only: dict[str, Any] = branches[0] if len(branches) == 1 else {"anyOf": branches}
        value = effective[name]
        description = f"{about} {_default(value)}".strip()
        properties[name] = {**only, "title": name, "description": description}
    return {"title": "Settings", "type": "object", "properties": properties, "additionalProperties": False}


def _default(value: Any) -> str:
    if value is None:
        return ""
    shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return f"Default: {shown}."
