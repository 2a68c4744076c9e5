"""The parameters of a model, beside its data: read from it when it is deployed, checked when a job gives them."""

from __future__ import annotations

import ast
import contextlib
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel

from ..scoring.errors import InvalidDocument

Kind = Literal["string", "boolean", "integer", "number", "array", "object", "any"]

ANY_NAME = "**"
"""Stands in a schema for all names that it does not list: a script's run(mini_batch, **params)."""

_MLFLOW: dict[str, Kind] = {
    "double": "number",
    "float": "number",
    "long": "integer",
    "integer": "integer",
    "boolean": "boolean",
    "string": "string",
    "datetime": "string",
    "object": "object",
    "map": "object",
}
_PYTHON: dict[str, Kind] = {
    "str": "string",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "list": "array",
    "dict": "object",
}
_A: dict[Kind, str] = {
    "string": "a text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping",
    "any": "a value",
}


class Param(BaseModel):
    """One parameter of a model."""

    type: Kind = "any"
    default: Any = None
    required: bool = False
    description: str | None = None


ParamsSchema = dict[str, Param]


def params_of(script: Path | None, mlflow_model: Path | None) -> ParamsSchema | None:
    """The parameters by name, or None where they cannot be known: then a job may give any.

    Args:
        script: the scoring script of a deployment that has one; its run() counts, not the model.
        mlflow_model: the folder with the file MLmodel of a deployment without a script.
    """
    if script is not None:
        return _of_script(script)
    return None if mlflow_model is None else _of_mlflow(mlflow_model)


def _of_mlflow(folder: Path) -> ParamsSchema | None:
    """From the signature, which stands as JSON in a YAML file: reading it needs no MLflow, which takes seconds."""
    try:
        document: Any = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        signature: Any = document.get("signature") or {}
        listed: Any = json.loads(signature.get("params") or "[]")
        return {param["name"]: _of_spec(param) for param in listed}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return None  # init() will say what is wrong with the model


def _of_spec(spec: dict[str, Any]) -> Param:
    kind = _MLFLOW.get(str(spec.get("type") or spec.get("dtype")), "any")
    return Param(type="array" if spec.get("shape") else kind, default=spec.get("default"))


def _of_script(script: Path) -> ParamsSchema | None:
    tree = ast.parse(script.read_bytes(), str(script))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "run"]
    if len(found) != 1:  # imported, assigned, or one of several
        return None
    run, text = found[0].args, ast.get_docstring(found[0]) or ""
    positional = [*run.posonlyargs, *run.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(run.defaults)), *run.defaults]
    pairs = [*zip(positional, defaults, strict=True)][max(1, len(run.posonlyargs)) :]
    pairs += zip(run.kwonlyargs, run.kw_defaults, strict=True)
    schema = {argument.arg: _of_argument(argument, default, text) for argument, default in pairs}
    return schema | ({ANY_NAME: Param()} if run.kwarg else {})


def _of_argument(argument: ast.arg, default: ast.expr | None, docstring: str) -> Param:
    value: Any = None
    if default is not None:
        with contextlib.suppress(ValueError):  # an expression: run() knows its value
            value = _plain(ast.literal_eval(default))
    kind = _annotated(argument.annotation) if argument.annotation else _PYTHON.get(type(value).__name__, "any")
    about = re.search(rf"^\s*{argument.arg}\s*(?:\([^)\n]*\))?:\s*(\S.*)$", docstring, re.MULTILINE)
    return Param(type=kind, default=value, required=default is None, description=about[1].strip() if about else None)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, (str, bool, int, float, list, tuple, dict)) else None


def _annotated(annotation: ast.expr) -> Kind:
    """The type that an annotation names: float, "float", float | None, Optional[float], list[str]."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        with contextlib.suppress(SyntaxError):
            return _annotated(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.BinOp):
        sides = [side for side in (annotation.left, annotation.right) if not _is_none(side)]
        return _annotated(sides[0]) if len(sides) == 1 else "any"
    if isinstance(annotation, ast.Subscript):
        optional = _name(annotation.value) == "Optional"
        return _annotated(annotation.slice if optional else annotation.value)
    return _PYTHON.get(_name(annotation).lower(), "any")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def check_params(
    schema: Mapping[str, Param] | None, given: Mapping[str, Any], where: str = "inputs.params"
) -> dict[str, Any]:
    """The given parameters in the types of the schema: '0.2' is 0.2, as a command line sends it.

    Args:
        schema: None takes anything.
        where: stands before the name in errors.

    Raises InvalidDocument for unknown names, wrong types and missing required ones.
    """
    if schema is None:
        return dict(given)
    listed = {name: param for name, param in schema.items() if name != ANY_NAME}
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name in listed:
            checked[name] = _checked(f"{where}.{name}", listed[name], value)
        elif ANY_NAME in schema:
            checked[name] = value
        else:
            raise InvalidDocument(f"{where}.{name} is not known: {_hint(name, listed)}")
    for name, param in listed.items():
        if param.required and name not in given:
            raise InvalidDocument(f"{where}.{name} is missing: give {_A[param.type]}")
    return checked


def _hint(name: str, listed: dict[str, Param]) -> str:
    if close := difflib.get_close_matches(name, listed, n=1):
        return f"did you mean {close[0]}?"
    if not listed:
        return "the model takes no parameters: leave it out"
    return f"the model takes {', '.join(f'{known} ({param.type})' for known, param in listed.items())}"


def _checked(where: str, param: Param, value: Any) -> Any:
    if value is None and param.default is None and not param.required:
        return None
    converted = _converted(param.type, value)
    if converted is None:
        raise InvalidDocument(f"{where}: {value!r} must be {_A[param.type]}")
    return converted


def _converted(kind: Kind, value: Any) -> Any:
    """The value in that type, or None where it is none of it."""
    if kind == "any":
        return value
    if kind == "string":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return value if isinstance(value, str) else str(value) if number else None
    if isinstance(value, str):
        value = _parsed(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind in ("integer", "number"):
        return _number(kind, value)
    return cast("Any", value) if isinstance(value, list if kind == "array" else dict) else None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.strip().lower() if text.strip().lower() in ("true", "false") else text)
    except ValueError:
        return None


def _number(kind: Kind, value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind == "number":
        return float(value)
    return int(value) if value == value // 1 else None
