"""Steps that hold their command themselves, as jobs do, instead of a component: the component is made of them.

What the command takes and gives follows from what the step's inputs and outputs are bound to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .component import CommandComponent
from .expressions import ParentInput, ParentOutput, StepInput, StepOutput, single
from .interface import LITERAL_TYPES, InputSpec, Interface

_MOVED = ("command", "code", "environment", "distribution", "is_deterministic")
Steps = Mapping[str, Mapping[str, Any]]


def command_of(name: str, steps: Steps, interface: Interface) -> tuple[dict[str, Any], dict[str, Any]]:
    """The component that a step's command makes, and what else the step says. Raises InvalidDocument.

    Args:
        name: of the step.
        steps: all of the pipeline as they were written, components of the others read.
        interface: of the pipeline.
    """
    step = steps[name]
    definition = {key: step[key] for key in _MOVED if key in step}
    definition["inputs"] = {key: _input(name, key, steps, interface) for key in _part(step, "inputs")}
    definition["outputs"] = {
        key: {"type": _output_type(value, interface)} for key, value in _part(step, "outputs").items()
    }
    return definition, {key: value for key, value in step.items() if key not in _MOVED}


def _part(step: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value: Any = step.get(key)
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _input(step: str, name: str, steps: Steps, interface: Interface, depth: int = 0) -> dict[str, Any]:
    value = _part(steps[step], "inputs").get(name)
    given: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
    text: object = cast("object", value) if not given else given.get("path")
    expression = single(text) if isinstance(text, str) else None
    if isinstance(expression, ParentInput):
        return _like(interface.inputs.get(expression.name))
    if isinstance(expression, StepOutput):
        return {"type": _type_of_output(expression, steps, interface)}
    if isinstance(expression, StepInput) and expression.step in steps and depth < len(steps):
        component = steps[expression.step].get("component")
        if isinstance(component, CommandComponent):
            return _like(component.inputs.get(expression.name))
        return _input(expression.step, expression.name, steps, interface, depth + 1)
    if given:
        return {"type": given["type"]} if "type" in given else _literal(given["value"]) if "value" in given else {}
    return _literal(value)


def _like(spec: InputSpec | None) -> dict[str, Any]:
    return {"type": spec.type, "optional": not spec.required and spec.default is None} if spec else {}


def _literal(value: Any) -> dict[str, Any]:
    return {"type": LITERAL_TYPES.get(cast("type[Any]", type(value)), "string")}


def _type_of_output(expression: StepOutput, steps: Steps, interface: Interface) -> str:
    step = steps.get(expression.step, {})
    component = step.get("component")
    if isinstance(component, CommandComponent):
        spec = component.outputs.get(expression.output)
        return spec.type if spec else "uri_folder"
    return _output_type(_part(step, "outputs").get(expression.output), interface)


def _output_type(value: Any, interface: Interface) -> str:
    given: Mapping[str, Any] = cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {"path": value}
    if isinstance(kind := given.get("type"), str):
        return kind
    path: Any = given.get("path")
    expression = single(path) if isinstance(path, str) else None
    if isinstance(expression, ParentOutput) and expression.name in interface.outputs:
        return interface.outputs[expression.name].type
    return "uri_folder"
