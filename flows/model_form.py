"""The Run form of a model deployment."""

from __future__ import annotations

from ..blocks.model_deployment import ModelDeployment
from ..blocks.model_params import ANY_NAME, Param
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.settings import BOOLEAN_SCHEMA, JobRetrySettings, JobSettings, ModelSettings
from .form import PATH, Form, Schema, default_text, output, pointer, settings_schema

_PATHS: Schema = {"type": "array", "items": PATH, "minItems": 1}
_ONE_OR_MORE: Schema = {"anyOf": [{**PATH, "title": "one"}, {**_PATHS, "title": "several"}]}
_TYPES = ["uri_folder", "uri_file", "UriFolder", "UriFile"]  # the latter as Azure's REST API spells them


def model_form(deployment: ModelDeployment | None) -> Form:
    """The form of a deployment; of one that is not known yet for None."""
    settings = deployment.settings if deployment else ModelSettings()
    return Form(
        inputs=_inputs(deployment),
        outputs=_outputs(),
        settings=settings_schema(JobSettings, settings.model_dump() | {"output_file_name": settings.file_name}),
        required=[],
        takes_input=True,
    )


def retry_settings(deployment: ModelDeployment | None) -> Schema:
    """What the form of settings refers to as RetrySettings."""
    settings = deployment.settings if deployment else ModelSettings()
    return settings_schema(JobRetrySettings, settings.retry_settings.model_dump())


def _inputs(deployment: ModelDeployment | None) -> Schema:
    """One data input, of any name, and the model's parameters. The field for the data is that of `input`.

    Parameters that are not known pass, and none is required here: what takes them says it.
    """
    properties: Schema = {}
    known = (deployment and deployment.params_schema) or {}
    params = {name: param for name, param in known.items() if name != ANY_NAME}
    if params:
        properties["params"] = {
            "title": "params",
            "type": "object",
            "description": "Parameters of the model.",
            "properties": {name: _param(name, param) for name, param in params.items()},
            "additionalProperties": True,
        }
    return {
        "title": "inputs",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^params$": {"type": ["object", "null"]}},
        "additionalProperties": _data(),
        "if": {"required": ["params"]},
        "then": {"maxProperties": 2},
        "else": {"maxProperties": 1},
    }


def input_field(position: int, shown: ModelDeployment | PipelineDeployment | None) -> Schema:
    """The parameter `input`, which is short for a model deployment's data.

    Args:
        position: in the form.
        shown: the deployment whose form it is.
    """
    if isinstance(shown, PipelineDeployment):
        about = f"Not for {shown.name}: what a model deployment is to score."
    else:
        about = (
            "The folder or file to score, as a path, a URL or a data asset like data:heart@latest; needed unless "
            "inputs names it. A relative path starts where the worker was started."
        )
    return {"title": "input", "description": about, "position": position, **_data()}


def _data() -> Schema:
    filtered = pointer(
        "path with filters",
        {**_ONE_OR_MORE, "description": "Folders, files or both."},
        _TYPES,
        ["ro_mount", "download", "direct"],
        {
            "include": {**_ONE_OR_MORE, "description": "Files to score, such as *.csv; by default all."},
            "exclude": {**_ONE_OR_MORE, "description": "Files to leave out, such as *_old.csv."},
        },
    )
    return {"anyOf": [{**PATH, "title": "path"}, {**_PATHS, "title": "several paths"}, filtered]}


_ITEM: Schema = {
    "anyOf": [{"title": "text", "type": "string"}, {"title": "number", "type": "number"}, {"title": "JSON"}]
}


def _param(name: str, param: Param) -> Schema:
    said = "No default: the model needs it." if param.required else default_text(param.default)
    spelled = "Written as JSON." if param.type in ("any", "object") else None  # a form has only an editor for it
    description = " ".join(filter(None, [param.description, spelled, said]))
    special: dict[str, Schema] = {"any": {}, "boolean": BOOLEAN_SCHEMA, "array": {"type": "array", "items": _ITEM}}
    kind = special.get(param.type, {"type": param.type})
    return {"title": name, **kind, **({"description": description} if description else {})}


def _outputs() -> Schema:
    one = output(_TYPES, ["rw_mount", "upload"], "A folder; with type uri_file also a file.")
    described = "Folder for the output, as a path or a URL; by default one of the job's own in the default datastore."
    return {
        "title": "score",
        "type": "object",
        "properties": {"score": {"title": "score", "description": described, **one}},
        "additionalProperties": one,
        "maxProperties": 1,
    }
