"""Expressions in pipelines and commands: `${{inputs.x}}`, `${{parent.jobs.s.outputs.o}}`.

A text with expressions is a template: literal text and expressions in turn. White space may stand inside the braces at
both ends, nowhere else; nothing escapes `${{`. Whether an expression may stand where it does, and whether it names
something that is there, is for who knows that place to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..scoring.errors import InvalidDocument

_OPEN, _CLOSE = "${{", "}}"
_SHOWN = 60


class _Braced:
    """How an expression is written."""

    @property
    def body(self) -> str:
        """What stands between the braces."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{_OPEN}{self.body}{_CLOSE}"


@dataclass(frozen=True)
class InputRef(_Braced):
    """`${{inputs.x}}`: in a command, an input of its component."""

    name: str

    @property
    def body(self) -> str:
        return f"inputs.{self.name}"


@dataclass(frozen=True)
class OutputRef(_Braced):
    """`${{outputs.y}}`: in a command, an output of its component."""

    name: str

    @property
    def body(self) -> str:
        return f"outputs.{self.name}"


@dataclass(frozen=True)
class ParentInput(_Braced):
    """`${{parent.inputs.x}}`: in a step's inputs, an input of the pipeline."""

    name: str

    @property
    def body(self) -> str:
        return f"parent.inputs.{self.name}"


@dataclass(frozen=True)
class ParentOutput(_Braced):
    """`${{parent.outputs.y}}`: in a step's outputs, an output of the pipeline."""

    name: str

    @property
    def body(self) -> str:
        return f"parent.outputs.{self.name}"


@dataclass(frozen=True)
class StepOutput(_Braced):
    """`${{parent.jobs.s.outputs.o}}`: in a step's inputs, an output of another step, which therefore runs before."""

    step: str
    output: str

    @property
    def body(self) -> str:
        return f"parent.jobs.{self.step}.outputs.{self.output}"


@dataclass(frozen=True)
class StepInput(_Braced):
    """`${{parent.jobs.s.inputs.i}}`: in a step's inputs, what that input of another step is bound to."""

    step: str
    name: str

    @property
    def body(self) -> str:
        return f"parent.jobs.{self.step}.inputs.{self.name}"


@dataclass(frozen=True)
class Keyword(_Braced):
    """`${{default_datastore}}`, `${{name}}`, `${{output_name}}`: in the path of an output."""

    word: str

    @property
    def body(self) -> str:
        return self.word


Expression = InputRef | OutputRef | ParentInput | ParentOutput | StepOutput | StepInput | Keyword
Template = list[str | Expression]

_NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
_FORMS: list[tuple[re.Pattern[str], Callable[..., Expression]]] = [
    (re.compile(rf"inputs\.{_NAME}"), InputRef),
    (re.compile(rf"outputs\.{_NAME}"), OutputRef),
    (re.compile(rf"parent\.inputs\.{_NAME}"), ParentInput),
    (re.compile(rf"parent\.outputs\.{_NAME}"), ParentOutput),
    (re.compile(rf"parent\.jobs\.{_NAME}\.outputs\.{_NAME}"), StepOutput),
    (re.compile(rf"parent\.jobs\.{_NAME}\.inputs\.{_NAME}"), StepInput),
    (re.compile(r"(default_datastore|name|output_name)"), Keyword),
]
FORMS = (
    "${{inputs.x}}, ${{outputs.y}}, ${{parent.inputs.x}}, ${{parent.outputs.y}}, ${{parent.jobs.s.outputs.o}}, "
    "${{parent.jobs.s.inputs.i}}, ${{default_datastore}}, ${{name}}, ${{output_name}}"
)
"""How expressions are written, for error messages."""


def parse(text: str) -> Template:
    """A text's literal parts, none of them empty, and its expressions, in order. Raises InvalidDocument."""
    parts: Template = []
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        inside = start + len(_OPEN)
        end = text.find(_CLOSE, inside)
        if end < 0:
            raise InvalidDocument(f"{_shown(text[start:])} is not closed: write {_CLOSE} at its end")
        if start > position:
            parts.append(text[position:start])
        position = end + len(_CLOSE)
        parts.append(_expression(text[start:position], text[inside:end].strip()))
    if position < len(text):
        parts.append(text[position:])
    return parts


def _expression(written: str, body: str) -> Expression:
    for pattern, kind in _FORMS:
        if match := pattern.fullmatch(body):
            return kind(*match.groups())
    raise InvalidDocument(f"{_shown(written)} is not an expression: write one of {FORMS}")


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def single(text: str) -> Expression | None:
    """The expression that is the whole text, or None where there is more or less than one. Raises InvalidDocument."""
    parts = parse(text.strip())
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], str) else None


def expressions(parts: Iterable[str | Expression]) -> list[Expression]:
    """A template's expressions, in order, as often as they stand there."""
    return [part for part in parts if not isinstance(part, str)]


def render(parts: Sequence[str | Expression]) -> str:
    """The text that parse() makes these parts of."""
    return "".join(map(str, parts))


def resolve(parts: Sequence[str | Expression], lookup: Callable[[Expression], str]) -> str:
    """The text with each expression's value in its place; a value is not looked at for expressions.

    Args:
        parts: what parse() gave.
        lookup: gives an expression's value, or raises KeyError where it names nothing.

    Raises InvalidDocument naming an expression that names nothing.
    """
    return "".join(part if isinstance(part, str) else _value(part, lookup) for part in parts)


def _value(expression: Expression, lookup: Callable[[Expression], str]) -> str:
    try:
        return lookup(expression)
    except KeyError:
        raise InvalidDocument(f"{expression} names nothing that is defined here") from None
