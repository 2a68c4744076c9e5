"""Parts of a Run form that deployments of both types have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ..blocks.settings import BOOLEAN_SCHEMA

Schema = dict[str, Any]


@dataclass
class Form:
    """What a call to one deployment may say: schemas of its parts, and which of them it must have."""

    inputs: Schema
    outputs: Schema
    settings: Schema
    required: list[str]
    takes_input: bool = False
    """Whether the data may also stand in the parameter `input`, which is short for the one data input."""

    @property
    def demands(self) -> Schema:
        """What holds for the parameters together, as keywords of their schema beside `properties`.

        No condition asks for a name by `required`: the server checks a Prefect deployment's own parameters without it.
        """
        if not self.takes_input:
            return {"required": self.required}
        no_data: Schema = {"propertyNames": {"const": "params"}}
        beside: Schema = {"properties": {"params": True}, "additionalProperties": False}
        return {
            "required": self.required,
            "dependentSchemas": {"input": {"properties": {"inputs": beside}}},
            "if": {"properties": {"inputs": no_data}},
            "then": {"required": ["input"]},
        }


PATH: Schema = {"type": "string", "minLength": 1}


def pointer(
    title: str, path: Schema, types: list[str], modes: list[str], more: dict[str, Schema] | None = None
) -> Schema:
    """A mapping with a path, and what may stand beside it."""
    properties: Schema = {
        "path": path,
        "type": {"type": "string", "enum": types},
        "mode": {"type": "string", "enum": modes},
    }
    return {
        "title": title,
        "type": "object",
        "properties": {name: {"title": name, **schema} for name, schema in (properties | (more or {})).items()},
        "required": ["path"],
        "additionalProperties": False,
    }


def output(types: list[str], modes: list[str], path_description: str) -> Schema:
    """Where an output goes: a path, or a mapping with one."""
    typed = pointer("path with type", {**PATH, "description": path_description}, types, modes)
    return {"anyOf": [{**PATH, "title": "path"}, typed]}


def switch_or_choice(default: Any) -> Schema:
    """True or false: a switch only where what it shows untouched is what is meant."""
    return {"type": "boolean"} if default is False else BOOLEAN_SCHEMA


def settings_schema(model: type[BaseModel], effective: dict[str, Any]) -> Schema:
    """Overrides of settings, each with a description that ends in the value of the deployment.

    Args:
        model: of the overrides.
        effective: the deployment's values.
    """
    properties: Schema = {}
    for name, schema in model.model_json_schema()["properties"].items():
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        if "$ref" in branches[0]:
            properties[name] = {"$ref": "#/definitions/RetrySettings", "title": name}
            continue
        about = branches[0].get("description") or schema.get("description") or ""
        branches = branches[0].get("anyOf", branches)
        only: Schema = branches[0] if len(branches) == 1 else {"anyOf": branches}
        value = effective[name]
        if only.get("type") == "boolean":
            only = switch_or_choice(value)
        properties[name] = {**only, "title": name, "description": f"{about} {default_text(value)}".strip()}
    return {"title": "Settings", "type": "object", "properties": properties, "additionalProperties": False}


def default_text(value: Any) -> str:
    """`Default: 7.`, or nothing for None."""
    if value is None:
        return ""
    shown = f"{value:g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return f"Default: {shown}."
