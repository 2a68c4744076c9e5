"""The Run form of a pipeline deployment: a field of its own for each input and each output."""

from __future__ import annotations

from ..blocks.interface import MODELS, InputSpec, OutputSpec
from ..blocks.pipeline_deployment import PipelineDeployment
from ..blocks.pipeline_settings import JobPipelineSettings
from .form import PATH, Form, Schema, default_text, output, pointer, settings_schema, switch_or_choice

REQUIRED = "Required."
"""How the description of an input begins that must be given."""

_REST = {
    "uri_folder": ["UriFolder"],
    "uri_file": ["UriFile"],
    **{model: ["uri_folder", "UriFolder"] for model in MODELS},
}
"""What a caller may call a type beside its own name."""


def pipeline_form(deployment: PipelineDeployment) -> Form:
    """The form of a deployment."""
    interface = deployment.interface
    return Form(
        inputs={
            "title": "inputs",
            "type": "object",
            "properties": {
                name: {**_input(name, spec), "position": at} for at, (name, spec) in enumerate(interface.inputs.items())
            },
            "additionalProperties": False,
            "required": interface.required,
        },
        outputs={
            "title": "outputs",
            "type": "object",
            "properties": {
                name: {**_output(name, spec), "position": at}
                for at, (name, spec) in enumerate(interface.outputs.items())
            },
            "additionalProperties": False,
        },
        settings=settings_schema(JobPipelineSettings, deployment.settings.model_dump()),
        required=["inputs"] if interface.required else [],
    )


def _input(name: str, spec: InputSpec) -> Schema:
    said = [default_text(spec.default)] if spec.default is not None else []
    if not spec.is_literal:
        said.append(f"A {_what(spec.type)}, as a path, a URL or a data asset like data:heart@latest.")
    elif spec.min is not None or spec.max is not None:
        said.append(f"{spec.expected.capitalize()}.")
    description = " ".join(filter(None, [REQUIRED if spec.required else None, spec.description, *said]))
    kind = _literal(spec) if spec.is_literal else _data(spec)
    return {"title": spec.title or name, **kind, **({"description": description} if description else {})}


def _what(kind: str) -> str:
    return "model" if kind in MODELS else "file" if kind == "uri_file" else "folder"


def _literal(spec: InputSpec) -> Schema:
    if spec.type == "boolean":
        return switch_or_choice(spec.default)
    bounds = {"minimum": spec.min, "maximum": spec.max}
    kind: Schema = {"type": spec.type}
    kind |= {word: int(bound) if bound.is_integer() else bound for word, bound in bounds.items() if bound is not None}
    return kind | ({"enum": spec.enum} if spec.enum is not None else {})


def _data(spec: InputSpec) -> Schema:
    types = [spec.type, *_REST[spec.type]]
    typed = pointer("path with type", PATH, types, ["ro_mount", "download", "direct"])
    return {"anyOf": [{**PATH, "title": "path"}, typed]}


def _output(name: str, spec: OutputSpec) -> Schema:
    what = "file" if spec.is_file else "folder"
    own = default_text(spec.path) or "By default a place of the job's own."
    described = f"A {what} that is not there yet, as a path or a URL. {own}"
    one = output([spec.type, *_REST[spec.type]], ["rw_mount", "upload", "direct"], f"A {what}.")
    return {"title": name, **one, "description": " ".join(filter(None, [spec.description, described]))}
