"""The graph of a pipeline: what its steps wait for, and whether all that its expressions name is there.

Pure: a component and the places of its keys go in, an order or an error comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..scoring.errors import InvalidDocument
from .command_line import parse_command
from .component import Asset, CommandComponent, OutputBinding, PipelineComponent, Step
from .documents import Where, did_you_mean
from .expressions import (
    Expression,
    InputRef,
    Keyword,
    OutputRef,
    ParentInput,
    ParentOutput,
    StepInput,
    StepOutput,
    expressions,
    parse,
    single,
)
from .interface import DATA, LITERALS, InputSpec, Literals

Value = Asset | Literals | None
_IS_FILE = {"uri_file": True, "uri_folder": False, "mlflow_model": False, "triton_model": False}
"""What lies there; a custom_model may be either."""


def bound(value: Value) -> Expression | None:
    """What a step's input is bound to: the expression that it is, or that is the path of its data."""
    text = value.path if isinstance(value, Asset) else value
    return single(text) if isinstance(text, str) else None


def origin(jobs: Mapping[str, Step], step: str, name: str) -> Expression | Value:
    """What an input of a step is in the end, however many steps' inputs it is bound to in turn.

    Args:
        jobs: of a pipeline whose expressions all name something.
        step: name of the step.
        name: of its input; one that is left out is its component's default.

    Raises InvalidDocument for inputs that are bound to each other in a circle.
    """
    seen: list[str] = []
    while True:
        value = jobs[step].inputs.get(name)
        expression = bound(value)
        if not isinstance(expression, StepInput):
            return expression or (jobs[step].component.inputs[name].default if value is None else value)
        if str(expression) in seen:
            raise InvalidDocument(f"{' -> '.join([*seen, seen[0]])} are bound to each other in a circle")
        seen.append(str(expression))
        step, name = expression.step, expression.name


def upstream(jobs: Mapping[str, Step], step: str) -> list[str]:
    """The steps whose outputs a step takes. Raises InvalidDocument as origin() does."""
    found = [origin(jobs, step, name) for name in jobs[step].inputs]
    return list(dict.fromkeys(value.step for value in found if isinstance(value, StepOutput)))


def order(jobs: Mapping[str, Step]) -> list[str]:
    """The steps' names, each after those that it waits for, else as they stand. Raises InvalidDocument for a circle."""
    placed, left = _placed(jobs)
    if left:
        raise InvalidDocument(_in_a_circle(_circle(left)))
    return placed


def _placed(jobs: Mapping[str, Step]) -> tuple[list[str], dict[str, set[str]]]:
    """The steps in order, and those that cannot be placed with what they wait for."""
    waits = {name: set(upstream(jobs, name)) for name in jobs}
    placed: list[str] = []
    while ready := next((name for name, before in waits.items() if before.isdisjoint(waits)), None):
        placed.append(ready)
        del waits[ready]
    return placed, waits


def _in_a_circle(steps: Sequence[str]) -> str:
    return f"steps wait for each other in a circle: {' -> '.join(steps)}"


def _circle(waits: Mapping[str, set[str]]) -> list[str]:
    """Steps that wait for each other, in the order in which they would run; the first is the last, too."""
    path = [next(iter(waits))]
    while path[-1] not in path[:-1]:
        path.append(min(waits[path[-1]] & waits.keys()))
    return path[path.index(path[-1]) :][::-1]


def check_command(component: CommandComponent, where: Where) -> None:
    """Refuse a command that names what is not there, or would lack an optional input's value. Raises InvalidDocument.

    Args:
        component: to be checked.
        where: its place.
    """
    where = where.at("command")
    try:
        command = parse_command(component.command)
    except InvalidDocument as error:
        raise where.error(str(error)) from None
    for expression in command.expressions:
        if isinstance(expression, OutputRef):
            _known(expression, "output", expression.name, component.outputs, where, "the component")
            continue
        _known(expression, "input", expression.name, component.inputs, where, "the component")
        spec = component.inputs[expression.name]
        if expression.name in command.optional and spec.required:
            raise where.error(f"{expression} stands in $[[ ]] and is required: write optional: true at the input")
        if expression.name in command.required and spec.optional and spec.default is None:
            raise where.error(f"{expression} is optional: write $[[... {expression} ...]], or give it a default")


def check_pipeline(component: PipelineComponent, where: Where) -> None:
    """Refuse a pipeline whose parts do not fit together. Raises InvalidDocument with file, line and expression.

    Args:
        component: to be checked; the commands of its steps have been.
        where: its place.
    """
    if not component.jobs:
        raise where.at("jobs").error("has no step")
    check = _Check(component, where)
    for name, step in component.jobs.items():
        check.inputs(name, step, where.at("jobs", name))
        check.outputs(name, step, where.at("jobs", name))
    check.whole()


class _Check:
    """A pipeline on its way through the checks."""

    def __init__(self, component: PipelineComponent, where: Where) -> None:
        self._component, self._where = component, where
        self._used: set[str] = set()
        self._written: dict[str, str] = {}

    def inputs(self, name: str, step: Step, where: Where) -> None:
        """Of one step."""
        specs = step.component.inputs
        for key, value in step.inputs.items():
            here = where.at("inputs", key)
            if key not in specs:
                raise here.error(_lacks(f"step {name}'s component", "input", key, specs))
            if value is not None:
                self._input(value, specs[key], here)
        for key, spec in specs.items():
            if spec.required and step.inputs.get(key) is None:
                raise where.at("inputs", key).error(f"Required input '{key}' for step '{name}' not provided")

    def _input(self, value: Asset | Literals, spec: InputSpec, where: Where) -> None:
        text = value.path if isinstance(value, Asset) else value
        template = _parsed(text, where) if isinstance(text, str) else []
        if isinstance(value, Asset) and (not value.path or value.type not in (None, *DATA)):
            raise where.error(
                "path is missing"
                if not value.path
                else f"type: {value.type} is not data: write one of {', '.join(DATA)}"
            )
        if not template:
            self._fixed(value, spec, where)
        elif (expression := bound(value)) is None:
            raise where.error(f"{template[0]}: {text!r}: an expression must be the whole value")
        else:
            self._bound(expression, spec, where)

    def _fixed(self, value: Asset | Literals, spec: InputSpec, where: Where) -> None:
        if isinstance(value, Asset):
            if value.type and _clash(value.type, spec.type):
                raise where.error(f"is of type {value.type}, and type {spec.type} is expected")
            if spec.is_literal:
                raise where.error(f"is data, and {spec.expected} is expected")
        elif not spec.is_literal:
            raise where.error(f"{value!r} is a value, and data is expected: write {{type: {spec.type}, path: {value}}}")
        else:
            try:
                spec.check(value)
            except ValueError as error:
                raise where.error(str(error)) from None

    def _bound(self, expression: Expression, spec: InputSpec, where: Where) -> None:
        if isinstance(expression, ParentInput):
            _known(expression, "input", expression.name, self._component.inputs, where, "the pipeline")
            self._used.add(expression.name)
            source = self._component.inputs[expression.name]
            if spec.required and not source.required and source.default is None:
                raise where.error(f"{expression} is optional, and this input is required: give one of them a default")
            kind = source.type
        elif isinstance(expression, (StepOutput, StepInput)):
            _known(expression, "step", expression.step, self._component.jobs, where, "the pipeline")
            other = self._component.jobs[expression.step]
            whose = f"step {expression.step}"
            if isinstance(expression, StepOutput):
                _known(expression, "output", expression.output, other.component.outputs, where, whose)
                kind = other.component.outputs[expression.output].type
            else:
                _known(expression, "input", expression.name, other.component.inputs, where, whose)
                source = other.component.inputs[expression.name]
                if spec.required and not source.required and other.inputs.get(expression.name, source.default) is None:
                    raise where.error(f"{expression} is left out, and this input is required")
                kind = source.type
        else:
            raise where.error(f"{expression} {_ELSEWHERE[type(expression)]}")
        if _clash(kind, spec.type):
            raise where.error(f"{expression} is of type {kind}, and type {spec.type} is expected")

    def outputs(self, name: str, step: Step, where: Where) -> None:
        """Of one step."""
        for key, binding in step.outputs.items():
            here = where.at("outputs", key)
            specs = step.component.outputs
            if key not in specs:
                raise here.error(_lacks(f"step {name}'s component", "output", key, specs))
            if binding.type and _clash(binding.type, specs[key].type):
                raise here.error(f"is of type {specs[key].type}, not {binding.type}")
            self._output(f"{name}.{key}", binding, specs[key].type, here)

    def _output(self, name: str, binding: OutputBinding, kind: str, where: Where) -> None:
        for expression in _parsed(binding.path or "", where):
            if isinstance(expression, ParentOutput):
                known = self._component.outputs
                _known(expression, "output", expression.name, known, where, "the pipeline")
                if parent_output(binding) is None:
                    raise where.error(f"{expression}: {binding.path!r}: must be the whole path")
                if expression.name in self._written:
                    raise where.error(f"{expression} is written by {self._written[expression.name]}, too")
                self._written[expression.name] = name
                if _clash(kind, known[expression.name].type):
                    raise where.error(f"{expression} is of type {known[expression.name].type}, and this is a {kind}")
            elif not isinstance(expression, Keyword):
                raise where.error(f"{expression} does not stand for a place: bind outputs to ${{{{parent.outputs.x}}}}")

    def whole(self) -> None:
        """What shows when all steps have been seen."""
        for name, spec in self._component.inputs.items():
            if spec.required and name not in self._used:
                raise self._where.at("inputs", name).error(
                    f"no step uses it: bind a step's input to {ParentInput(name)}, or leave it out"
                )
        for name, spec in self._component.outputs.items():
            for expression in _parsed(spec.path or "", self._where.at("outputs", name, "path")):
                if not isinstance(expression, Keyword):
                    raise self._where.at("outputs", name, "path").error(f"{expression} does not stand for a place")
            if name not in self._written:
                raise self._where.at("outputs", name).error(
                    f"no step writes it: bind a step's output to {ParentOutput(name)}, or leave it out"
                )
        self._no_circle(self._component.jobs)

    def _no_circle(self, jobs: Mapping[str, Step]) -> None:
        bindings = [(name, key, bound(value)) for name, step in jobs.items() for key, value in step.inputs.items()]
        ends: dict[tuple[str, str], Expression | Value] = {}
        for name, key, expression in bindings:
            try:
                ends[name, key] = origin(jobs, name, key)
            except InvalidDocument as error:
                raise self._where.at("jobs", name, "inputs", key).error(f"{expression}: {error}") from None
        _, left = _placed(jobs)
        if not left:
            return
        first, then, *_ = circle = _circle(left)
        for name, key, expression in bindings:
            end = ends[name, key]
            if name == then and isinstance(end, StepOutput) and end.step == first:
                raise self._where.at("jobs", name, "inputs", key).error(f"{expression}: {_in_a_circle(circle)}")


_ELSEWHERE: dict[type, str] = {
    InputRef: "stands for an input in a command: write ${{parent.inputs.x}} for an input of the pipeline",
    OutputRef: "stands for an output in a command: write ${{parent.jobs.s.outputs.o}} for one of another step",
    ParentOutput: "goes with outputs: write ${{parent.jobs.s.outputs.o}} for an output of another step",
    Keyword: "goes with the path of an output",
}


def parent_output(binding: OutputBinding) -> str | None:
    """The pipeline's output that a step's output is bound to."""
    expression = single(binding.path) if binding.path else None
    return expression.name if isinstance(expression, ParentOutput) else None


def _parsed(text: str, where: Where) -> list[Expression]:
    try:
        return expressions(parse(text))
    except InvalidDocument as error:
        raise where.error(str(error)) from None


def _known(expression: Expression, what: str, name: str, known: Mapping[str, object], where: Where, whose: str) -> None:
    if name not in known:
        raise where.error(f"{expression}: {_lacks(whose, what, name, known)}")


def _lacks(whose: str, what: str, name: str, known: Collection[str]) -> str:
    there = f"it has {', '.join(known)}" if known else "it has none"
    return f"{whose} has no {what} {name!r}: {did_you_mean(name, known) or there}"


def _clash(given: str, wanted: str) -> bool:
    """Whether what is of one type cannot be used as another."""
    if given in LITERALS or wanted in LITERALS:
        same = given == wanted or (given, wanted) == ("integer", "number")
        return not (same or (given in LITERALS and wanted == "string"))
    return None not in (files := (_IS_FILE.get(given), _IS_FILE.get(wanted))) and files[0] != files[1]
