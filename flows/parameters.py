"""The parameter schema of an endpoint: what its Run form shows and what the server refuses before anything starts."""

from __future__ import annotations

from typing import Any

from ..blocks.deployment import ModelDeployment
from ..blocks.settings import JobRetrySettings, JobSettings, ModelSettings


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
            "Inputs": _one_path("data", "Folder or file to score. Relative paths start where the worker was started."),
            "Outputs": _one_path("score", "Folder for the output; by default one of the job's own.", required=False),
            "Settings": _settings(JobSettings, settings.model_dump()),
            "RetrySettings": _settings(JobRetrySettings, settings.retry_settings.model_dump()),
        },
    }


def _reference(definition: str, title: str, position: int) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{definition}", "title": title, "position": position}


def _one_path(name: str, description: str, required: bool = True) -> dict[str, Any]:
    """A mapping of one path; the form calls it `name`, a caller may call it anything."""
    return {
        "title": name,
        "type": "object",
        "properties": {name: {"title": name, "type": "string", "minLength": 1, "description": description}},
        "additionalProperties": {"type": "string", "minLength": 1},
        "minProperties": 1 if required else 0,
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
        default = f"{value:g}" if isinstance(value, float) else value
        description = f"{about} Default: {default}.".strip()
        properties[name] = {**only, "title": name, "description": description}
    return {"title": "Settings", "type": "object", "properties": properties, "additionalProperties": False}
