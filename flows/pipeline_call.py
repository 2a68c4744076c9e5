"""A call to a pipeline deployment as its interface has it: names, literal values and pointers, nothing looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import Field

from ..blocks.documents import did_you_mean, validate
from ..blocks.interface import MODELS, InputSpec, Interface, Literals, ModelType, check_literal
from ..blocks.settings import Document
from ..scoring.errors import InvalidDocument
from .locations import UriType

_REST_DATA = {"CustomModel": "custom_model", "MLFlowModel": "mlflow_model", "TritonModel": "triton_model"}


class DataPointer(Document):
    """A pointer to data: one place."""

    path: str = Field(min_length=1)
    type: UriType | ModelType | None = None
    mode: str | None = None


class OutputPointer(Document):
    """A pointer to where an output goes."""

    path: str | None = None
    type: UriType | ModelType | None = None
    mode: str | None = Field(default=None, description="Taken for compatibility; what is written appears whole.")


P = TypeVar("P", DataPointer, OutputPointer)


def check_inputs(interface: Interface, given: Mapping[str, Any]) -> dict[str, DataPointer | Literals]:
    """Every input that has a value: literals as they will be used, defaults too, and pointers to data, not looked up.

    A literal may come as the value itself, or as {type, default}, {type, value} or Azure's {JobInputType, Value};
    None is as good as not given.

    Raises InvalidDocument naming each unknown name, each missing input, and each value that does not fit.
    """
    wrong = _unknown("inputs", given, interface.inputs)
    values: dict[str, DataPointer | Literals] = {}
    for name, spec in interface.inputs.items():
        try:
            value = _input(name, spec, given.get(name))
        except InvalidDocument as error:
            wrong.append(str(error))
            continue
        if value is not None:
            values[name] = value
    if wrong:
        raise InvalidDocument("; ".join(wrong))
    return values


def _input(name: str, spec: InputSpec, value: Any) -> DataPointer | Literals | None:
    """One input; None where it is left out and may be. Raises InvalidDocument."""
    if value is None:
        if spec.required:
            raise InvalidDocument(f"inputs.{name} is missing: give {_expected(spec)}")
        return spec.default
    if spec.is_literal:
        return check_literal(name, spec, plain_literal(name, spec, value))
    pointer = _pointer(DataPointer, f"inputs.{name}", value, "JobInputType")
    _check_type(f"inputs.{name}", pointer.type, spec.type)
    return pointer


def check_outputs(interface: Interface, given: Mapping[str, Any]) -> dict[str, OutputPointer]:
    """Pointers to the outputs that the call names. Raises InvalidDocument for an unknown name or type."""
    if wrong := _unknown("outputs", given, interface.outputs):
        raise InvalidDocument("; ".join(wrong))
    pointers: dict[str, OutputPointer] = {}
    for name, value in given.items():
        if value is None:
            continue
        pointers[name] = _pointer(OutputPointer, f"outputs.{name}", value, "JobOutputType")
        _check_type(f"outputs.{name}", pointers[name].type, interface.outputs[name].type)
    return pointers


def _unknown(group: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """What there is to say of each name that is given and not known."""
    has = f"it has {', '.join(known)}" if known else "it has none"
    return [
        f"{group}.{name} is no {group.removesuffix('s')} of this deployment: {did_you_mean(name, known) or has}"
        for name in given
        if name not in known
    ]


def _expected(spec: InputSpec) -> str:
    if spec.is_literal:
        return spec.expected
    if spec.type in MODELS:
        return "the path or name of a model"
    return f"the path of a {'file' if spec.type == 'uri_file' else 'folder'}"


def plain_literal(name: str, spec: InputSpec, value: Any) -> Any:
    """The value of a literal that came as a mapping; others stay. Raises InvalidDocument for a mapping without one."""
    if not isinstance(value, Mapping):
        return value
    keys = {str(key).lower(): held for key, held in cast("Mapping[Any, Any]", value).items()}
    if "jobinputtype" in keys and set(keys) == {"jobinputtype", "value"}:
        return from_text(spec, keys["value"]) if isinstance(keys["value"], str) else keys["value"]
    held = [keys[key] for key in ("default", "value") if key in keys]
    if len(held) != 1 or set(keys) - {"type", "default", "value"}:
        raise InvalidDocument(f"inputs.{name}: {value!r} is not understood: give {spec.expected}")
    if (kind := keys.get("type")) is not None and {"float": "number"}.get(kind, kind) != spec.type:
        raise InvalidDocument(f"inputs.{name}: type {kind!r} was given, and this input is of type {spec.type}")
    return held[0]


def from_text(spec: InputSpec, text: str) -> Any:
    """A text as a value of the input's type; as it is where it is none, for the check to refuse."""
    if spec.type == "string":
        return text
    try:
        value: Any = json.loads(text.strip().lower() if spec.type == "boolean" else text)
    except ValueError:
        return text
    return cast("Any", value) if isinstance(value, (bool, int, float)) else text


def _pointer(kind: type[P], where: str, value: Any, rest_type: str) -> P:
    """A pointer given as a path, as a mapping, or as Azure's REST API has it. Raises InvalidDocument."""
    spec: Any = {"path": value} if isinstance(value, str) else value
    if not isinstance(spec, Mapping):
        raise InvalidDocument(f"{where}: {value!r} is not understood: give one path, or a mapping with one")
    given = cast("Mapping[str, Any]", spec)
    if rest_type.lower() in (lowered := {key.lower(): held for key, held in given.items()}):
        kept = {key: held for key, held in lowered.items() if key not in (rest_type.lower(), "uri")}
        said = lowered[rest_type.lower()]
        given = {**kept, "type": _REST_DATA.get(said, said), "path": lowered.get("uri")}
    return validate(kind, given, where)


def _check_type(where: str, given: str | None, declared: str) -> None:
    """A model is a folder to a caller who says uri_folder, as Azure takes it."""
    if given is None or given == declared or (declared in MODELS and given == "uri_folder"):
        return
    raise InvalidDocument(f"{where}: type {given!r} was given, and the deployment has {declared}")
