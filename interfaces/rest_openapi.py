"""What calls look like, as OpenAPI tells it: in general, and for one endpoint with its own inputs, typed."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, cast

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_DATA_TYPES = ["UriFolder", "UriFile", "CustomModel", "MLFlowModel", "TritonModel"]
_DATA: Schema = {
    "type": "object",
    "properties": {
        "JobInputType": {"enum": _DATA_TYPES},
        "Uri": {"type": "string", "minLength": 1, "description": "A datastore path, a data asset or a public URL."},
    },
    "required": ["JobInputType", "Uri"],
    "additionalProperties": False,
}
_LITERAL: Schema = {
    "type": "object",
    "properties": {"JobInputType": {"const": "Literal"}, "Value": {}},
    "required": ["JobInputType", "Value"],
    "additionalProperties": False,
}
_PLACE: Schema = {
    "type": "object",
    "properties": {
        "JobOutputType": {"enum": _DATA_TYPES},
        "Uri": {"type": "string", "minLength": 1, "description": "A folder or file in a datastore that is not there."},
    },
    "required": ["JobOutputType"],
    "additionalProperties": False,
}
AZURE_CALL: Schema = {
    "title": "Azure ML's form",
    "description": "Keys are taken in any case.",
    "type": "object",
    "properties": {
        "properties": {
            "type": "object",
            "properties": {
                "InputData": {"type": "object", "additionalProperties": {"anyOf": [_DATA, _LITERAL]}},
                "OutputData": {"type": "object", "additionalProperties": _PLACE},
                "MiniBatchSize": {},
                "ErrorThreshold": {},
                "OutputFileName": {},
                "MaxConcurrencyPerInstance": {},
                "LoggingLevel": {},
                "RetrySettings": {
                    "type": "object",
                    "properties": {"MaxRetries": {}, "Timeout": {}},
                    "additionalProperties": False,
                },
                "Compute": {"type": "object", "properties": {"InstanceCount": {}}},
                "Name": _TEXT,
                "properties": {"type": "object", "description": "Such as experimentName; taken and not heeded."},
            },
            "additionalProperties": False,
        }
    },
    "required": ["properties"],
    "additionalProperties": False,
}
_NAME: Schema = {**_TEXT, "title": "name", "description": "Of the job, instead of a name made up."}
_PLAIN_CALL: Schema = {
    "title": "plain form",
    "description": "What an endpoint takes is told by its own openapi.json.",
    "type": "object",
    "properties": {
        "input": {"description": "The data, for a model."},
        "inputs": {"type": "object", "description": "Data and literal values, by name."},
        "outputs": {"type": "object", "description": "Places for the outputs, by name."},
        "settings": {"type": "object", "description": "What this job overrides of the deployment's settings."},
        "deployment": {**_TEXT, "description": "Instead of the default."},
        "name": _NAME,
    },
    "additionalProperties": False,
}
CALL: Schema = {"anyOf": [_PLAIN_CALL, AZURE_CALL]}
"""The body of a call to any endpoint."""

CHANGE: Schema = {
    "type": "object",
    "properties": {
        "description": {"type": "string", "maxLength": 10_000},
        "defaults": {
            "type": "object",
            "properties": {"deploymentName": {**_TEXT, "description": "Takes calls that name no deployment."}},
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
}
"""The body of a change to an endpoint."""


def of_endpoint(
    general: Mapping[str, Any], name: str, description: str | None, parameters: Mapping[str, Any]
) -> Schema:
    """The OpenAPI document of one endpoint.

    Args:
        general: the gateway's own document.
        name: of the endpoint.
        description: of the endpoint.
        parameters: the schema of its calls that the server holds them to.
    """
    made: Schema = copy.deepcopy({key: value for key, value in general.items() if key != "paths"})
    made["info"] = {**made["info"], "title": f"Batch endpoint {name}", "description": description or ""}
    made["paths"] = {
        path.replace("{name}", name): _without_name(copy.deepcopy(item))
        for path, item in general["paths"].items()
        if path.startswith("/endpoints/{name}")
    }
    call = cast("Schema", _moved(parameters))
    schemas: Schema = made["components"]["schemas"]
    for group in ("definitions", "$defs"):
        schemas |= call.pop(group, {})
    call["properties"] = {**call["properties"], "name": _NAME}
    schemas["Call"] = {**call, "title": "plain form", "additionalProperties": False}
    post = made["paths"][f"/endpoints/{name}/jobs"]["post"]
    body = {"anyOf": [{"$ref": "#/components/schemas/Call"}, AZURE_CALL]}
    post["requestBody"]["content"]["application/json"]["schema"] = body
    return made


def _without_name(item: Schema) -> Schema:
    for operation in item.values():
        operation["parameters"] = [one for one in operation.get("parameters", []) if one["name"] != "name"]
    return item


def _moved(schema: Any) -> Any:
    """A schema with its references pointing to where OpenAPI keeps schemas."""
    if isinstance(schema, list):
        return [_moved(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    made = {key: _moved(value) for key, value in cast("Schema", schema).items()}
    if isinstance(reference := made.get("$ref"), str):
        made["$ref"] = re.sub(r"^#/(definitions|\$defs)/", "#/components/schemas/", reference)
    return made
