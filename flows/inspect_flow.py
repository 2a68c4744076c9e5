"""Prints the interface of a flow as JSON, or {"error": ...}. Run by flow_interface.py in a process of its own.

python -m prefect_batch.flows.inspect_flow FOLDER pipelines.py:score
"""

from __future__ import annotations

import enum
import inspect
import json
import math
import os
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import Flow
from prefect.utilities.callables import parameter_docstrings
from pydantic.fields import FieldInfo

from ..blocks.documents import validate
from ..blocks.interface import LITERAL_TYPES, MODELS, Interface
from ..scoring.errors import BatchError, InvalidDocument
from ..scoring.traces import describe as describe_error
from .data import InputFile, InputFolder, OutputFile, OutputFolder, Pointer
from .flow_source import line_of, load_flow, split

TYPES = "InputFolder, InputFile, OutputFolder, OutputFile, str, bool, int, float, Literal[...], an Enum"
_DATA = {InputFolder: "uri_folder", InputFile: "uri_file", OutputFolder: "uri_folder", OutputFile: "uri_file"}


def interface(flow: Flow[Any, Any], entrypoint: str) -> Interface:
    """The interface that a flow's signature declares. Raises InvalidDocument."""
    function: Callable[..., Any] = flow.fn
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InvalidDocument(f"{entrypoint}: {error}: import it, also where only a type needs it") from None
    told = parameter_docstrings(inspect.getdoc(function))
    ports: dict[str, dict[str, Any]] = {"inputs": {}, "outputs": {}}
    for name, parameter in inspect.signature(function).parameters.items():
        try:
            is_output, spec = _port(parameter, hints.get(name))
        except ValueError as error:
            raise InvalidDocument(f"{entrypoint}: parameter {name}: {error}") from None
        spec.setdefault("description", told.get(name))
        ports["outputs" if is_output else "inputs"][name] = spec
    return validate(Interface, ports, entrypoint)


def _port(parameter: inspect.Parameter, hint: Any) -> tuple[bool, dict[str, Any]]:
    """Whether it is an output, and what its annotation, its Field and its default say of it. Raises ValueError."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ValueError("a flow's inputs and outputs have names: take no *args, no **kwargs, and nothing before a /")
    if hint is None:
        raise ValueError(f"has no type: use one of {TYPES}")
    default = None if parameter.default is parameter.empty else parameter.default
    kind, about = _without_annotated(hint)
    if isinstance(default, FieldInfo):
        about = [*about, default]
        default = default.get_default(call_default_factory=True)
        default = None if default is ... or repr(default) == "PydanticUndefined" else default
    kind, optional = _without_none(kind)
    inner, more = _without_annotated(kind)
    spec = _fields([*more, *about])
    if isinstance(inner, type) and issubclass(inner, Pointer):
        return inner.is_output, _data(inner, spec, default, optional or parameter.default is None)
    return False, _literal(inner, spec, default, optional or parameter.default is None)


def _without_annotated(hint: Any) -> tuple[Any, list[Any]]:
    if typing.get_origin(hint) is Annotated:
        inner, *about = typing.get_args(hint)
        return inner, about
    return hint, []


def _without_none(hint: Any) -> tuple[Any, bool]:
    """`X | None` as X, and `int | float` as float; other unions as they are."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    optional = len(kinds) < len(typing.get_args(hint))
    if set(kinds) == {int, float}:
        return float, optional
    return (kinds[0], optional) if len(kinds) == 1 else (hint, optional)


def _fields(about: list[Any]) -> dict[str, Any]:
    """What Field() and annotated_types say; gt and lt under their own names."""
    spec: dict[str, Any] = {}
    for one in about:
        if isinstance(one, FieldInfo):
            given = {"description": one.description, "title": one.title, "type": _schema_type(one)}
            spec |= {key: value for key, value in given.items() if value is not None} | _fields(one.metadata)
        for word, key in (("ge", "min"), ("le", "max"), ("gt", "gt"), ("lt", "lt")):
            if (bound := getattr(one, word, None)) is not None:
                spec[key] = bound
    return spec


def _schema_type(field: FieldInfo) -> Any:
    """Field(json_schema_extra={"type": "mlflow_model"}): the kind of data, where the class does not say it."""
    extra: Any = field.json_schema_extra
    return cast("dict[str, Any]", extra).get("type") if isinstance(extra, dict) else None


def _data(kind: type[Pointer], spec: dict[str, Any], default: Any, optional: bool) -> dict[str, Any]:
    if default is not None:
        raise ValueError("data has no default: make it optional with `| None = None`, or leave the default away")
    own = {key: spec[key] for key in ("description",) if key in spec}
    declared = _DATA[kind]  # pyright: ignore[reportArgumentType]
    if kind.is_folder and spec.get("type") in MODELS:
        declared = spec["type"]
    if kind.is_output:
        return {"type": declared, **own}
    return {"type": declared, "optional": optional, **own, **({"title": spec["title"]} if "title" in spec else {})}


def _literal(kind: Any, spec: dict[str, Any], default: Any, optional: bool) -> dict[str, Any]:
    choices: list[Any] | None = None
    if typing.get_origin(kind) is Literal:
        choices = list(typing.get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        choices = [member.value for member in kind]
        default = default.value if isinstance(default, enum.Enum) else default
    if choices is not None:
        kinds: set[Any] = {type(choice) for choice in choices}
        kind = kinds.pop() if len(kinds) == 1 else None
    if kind not in LITERAL_TYPES:
        shown = "choices of several types are" if choices else f"{_type_name(kind)} is"
        raise ValueError(f"{shown} not supported: use one of {TYPES}")
    spec = {key: value for key, value in spec.items() if key != "type"}
    for word, bound, to in (("gt", "min", math.inf), ("lt", "max", -math.inf)):
        if word in spec:
            value = spec.pop(word)
            spec[bound] = value + math.copysign(1, to) if kind is int else math.nextafter(value, to)
    return {"type": LITERAL_TYPES[kind], "default": default, "optional": optional, "enum": choices, **spec}


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def main(folder: Path, entrypoint: str) -> dict[str, Any]:
    try:
        split(entrypoint)
        return interface(load_flow(folder, entrypoint), entrypoint).model_dump(mode="json", exclude_defaults=True)
    except BatchError as error:
        return {"error": str(error)}
    except (Exception, SystemExit) as error:
        return {"error": "flow: " + line_of(error, folder) + ": ".join(describe_error(error))}


if __name__ == "__main__":
    answer_to = os.dup(1)
    os.dup2(2, 1)  # what the user's file prints is no answer
    with os.fdopen(answer_to, "w") as stream:
        json.dump(main(Path(sys.argv[1]), sys.argv[2]), stream)
