"""The parameter schema of an endpoint: what its Run form shows and what the server refuses before anything starts.

The form is the default deployment's. A call may be for another one, with other inputs and settings: where they differ,
the part of the schema that is the form lets pass what any of them takes, and a chain of if, then and else, which a
form does not show, holds each call to the deployment that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..blocks.deployment import Deployment
from ..blocks.model_deployment import ModelDeployment
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.settings import BOOLEAN_SCHEMA
from .form import Form, Schema
from .model_form import input_field, model_form, retry_settings
from .pipeline_form import REQUIRED, pipeline_form

_GROUPS = ("inputs", "outputs", "settings")
_SHOWN = {"title", "description", "position"}
_LAST = 5
"""Where in the form stands what its readers may leave alone."""


def parameter_schema(default: Deployment | None, deployments: Mapping[str, Deployment]) -> Schema:
    """A schema in the form that Prefect deployments carry.

    Args:
        default: the endpoint's default deployment, whose inputs have fields, and whose settings the descriptions tell.
            Not as schema defaults: the form would submit them, and so override another deployment that the caller
            chose.
        deployments: those to choose from, by name.
    """
    known = dict(deployments) | ({default.name: default} if default else {})
    shown = default or _stand_in(known)
    form, forms = _form(shown), {name: _form(deployment) for name, deployment in known.items()}
    which: Schema = {
        "title": "deployment",
        "type": "string",
        "description": f"Deployment to run instead of the default, {default.name}."
        if default
        else "Deployment to run; the endpoint has no default.",
        "position": 3,
    }
    if deployments:
        which["enum"] = list(deployments)
    schema: Schema = {
        "title": "Parameters",
        "type": "object",
        "properties": {
            "inputs": _reference("Inputs", "inputs", 1) | _by_name(shown, form, known),
            "outputs": _reference("Outputs", "outputs", 2) | _nothing(shown, form.outputs, known),
            "deployment": which,
            "settings": _reference("Settings", "settings", 4),
        },
        "definitions": {group.capitalize(): getattr(form, group) for group in _GROUPS},
        **form.demands,
    }
    schema["required"] = form.required + ([] if default else ["deployment"])
    models = form.takes_input or any(other.takes_input for other in forms.values())
    if models:
        field = input_field(0 if form.takes_input else _LAST, shown)
        schema["properties"] = {"input": field} | schema["properties"]
        schema["definitions"]["RetrySettings"] = retry_settings(shown if isinstance(shown, ModelDeployment) else None)
    if not models or any(_checks(other) != _checks(form) for other in forms.values()):
        _distinguish(schema, default.name if default else None, form, forms)
    return schema


def _stand_in(deployments: Mapping[str, Deployment]) -> Deployment | None:
    """Whose form an endpoint without a default shows: a pipeline's where there is nothing else."""
    pipelines = [one for one in deployments.values() if isinstance(one, PipelineDeployment)]
    return pipelines[0] if pipelines and len(pipelines) == len(deployments) else None


def _form(deployment: Deployment | None) -> Form:
    return pipeline_form(deployment) if isinstance(deployment, PipelineDeployment) else model_form(deployment)


def _reference(definition: str, title: str, position: int) -> Schema:
    return {"$ref": f"#/definitions/{definition}", "title": title, "position": position}


def _by_name(shown: Deployment | None, form: Form, known: Mapping[str, Deployment]) -> Schema:
    """What is said above the inputs, and where they stand in the form, where there is no field for any."""
    if not form.takes_input or form.inputs["properties"]:
        return _nothing(shown, form.inputs, known)
    return {"description": 'The data by name, instead of input: JSON like {"data": "a/folder"}.', "position": _LAST}


def _nothing(shown: Deployment | None, part: Schema, known: Mapping[str, Deployment]) -> Schema:
    """What is said above a part without any field, which the Run form shows as an editor of JSON."""
    if shown is None or part["properties"]:
        return {}
    others = "; those of another deployment are given as JSON" if len(known) > 1 else ""
    return {"description": f"{shown.name} has none{others}."}


def _distinguish(schema: Schema, default: str | None, shown: Form, forms: Mapping[str, Form]) -> None:
    """Let the form's part of the schema pass every call that is right for its deployment, and check by deployment."""
    for group in _GROUPS:
        others = [getattr(form, group) for form in forms.values()]
        schema["definitions"][group.capitalize()] = _lenient(getattr(shown, group), others)
    lenient: Schema = schema["definitions"]["Inputs"]
    _say_who_requires(lenient, shown, default)
    by_all = [name for name in shown.required if all(name in form.required for form in forms.values())]
    schema["required"] = by_all + ([] if default else ["deployment"])
    schema["$defs"] = {
        f"{name}-{group}": _nullable(getattr(form, group), lenient if group == "inputs" else {})
        for name, form in forms.items()
        for group in _GROUPS
    }
    for keyword in shown.demands.keys() - {"required"}:
        del schema[keyword]
    chain: Schema = {}
    # The default's is asked for first: it is that of a call that names none.
    for name, form in sorted(forms.items(), key=lambda pair: pair[0] == default):
        named: Schema = {"properties": {"deployment": {"const": name}}}
        if name != default:
            named["required"] = ["deployment"]
        parts: Schema = {group: {"$ref": f"#/$defs/{name}-{group}"} for group in _GROUPS}
        if not form.takes_input:
            parts["input"] = {"type": "null"}
        more = {"required": [name for name in form.required if name not in by_all]}
        chain = {"if": named, "then": {**form.demands, **more, "properties": parts}, "else": chain}
    schema |= chain


def _say_who_requires(lenient: Schema, shown: Form, default: str | None) -> None:
    """Mend the descriptions of inputs that the form calls optional, as another deployment has no need of them."""
    for name in set(shown.inputs.get("required", ())) - set(lenient.get("required", ())):
        field = lenient["properties"][name]
        whose = f"Required by {default}." if default else "Required by some."
        lenient["properties"][name] = field | {"description": field["description"].replace(REQUIRED, whose, 1)}


def _nullable(schema: Schema, asked: Schema) -> Schema:
    """A schema whose optional properties may be null, as the server makes it of what the form shows.

    It would make a union of it, and say of a wrong value only that it fits neither.

    Args:
        schema: of a group of parameters.
        asked: that of the form, which is checked, too: what it requires needs no telling twice.
    """
    properties = {
        name: {**held, "type": [held["type"], "null"]}
        if isinstance(held.get("type"), str) and name not in schema.get("required", ())
        else held
        for name, held in schema["properties"].items()
    }
    required = [name for name in schema.get("required", ()) if name not in asked.get("required", ())]
    return schema | {"properties": properties, "required": required}


def _lenient(shown: Schema, others: list[Schema]) -> Schema:
    """A schema whose form is that of `shown`, and that refuses nothing that one of the others takes."""
    others = [other for other in others if _checks(other) != _checks(shown)]
    if not others:
        return shown
    about = {key: value for key, value in shown.items() if key in _SHOWN}
    if any("properties" not in one for one in (shown, *others)):
        branches = [branch for one in (shown, *others) for branch in one.get("anyOf", [_titled(one)])]
        return about | {"anyOf": [one for at, one in enumerate(branches) if one not in branches[:at]]}
    properties: dict[str, Schema] = shown["properties"]
    return about | {
        "type": "object",
        "properties": {
            name: _lenient(schema, [other["properties"][name] for other in others if name in other["properties"]])
            for name, schema in properties.items()
        },
        "additionalProperties": True,
        "required": [
            name for name in shown.get("required", ()) if all(name in other.get("required", ()) for other in others)
        ],
    }


def _titled(schema: Schema) -> Schema:
    """A branch of a union, whose title names it in the form."""
    kind = "choice" if "enum" in schema else {"string": "text"}.get(schema.get("type", ""), schema.get("type", "JSON"))
    return {key: value for key, value in schema.items() if key not in _SHOWN} | {"title": kind}


def _checks(schema: Any) -> Any:
    """A form or schema without what is only for people."""
    if isinstance(schema, Form):
        return {group: _checks(getattr(schema, group)) for group in _GROUPS} | {"demands": schema.demands}
    if isinstance(schema, list):
        return [_checks(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _checks(value)
        for key, value in cast("Schema", schema).items()
        if key not in _SHOWN or isinstance(value, dict)  # a property may be called so
    }
    return BOOLEAN_SCHEMA if kept == {"type": "boolean"} else kept
