"""The command of a component: what it refers to, and how it is run so that no value is ever read by a shell.

`$[[ ... ${{inputs.x}} ... ]]` is left out where the optional input has no value. What is left is split into words where
it is nothing but words, and each value is put into its word. A command that needs a shell gets one, and its values as
environment variables in quotes: it reads their text, and takes none of it for its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..scoring.errors import InvalidDocument
from . import shell_rules, shell_text
from .expressions import InputRef, OutputRef, parse
from .interface import Literals
from .shell_text import VALUE, Quotes, ShellText

VARIABLE = "PREFECT_BATCH_"
"""What the environment variables that carry values are called, with a number behind it."""

_BRACKETS = re.compile(r"\$\[\[|\]\]")
_BARE = re.compile(r"\s*inputs\.([A-Za-z_][A-Za-z0-9_]*)\s*")
_FLAG = re.compile(r"(?<!\S)--?[A-Za-z][\w-]*(=|[ \t]+)$")
_QUOTED: dict[Quotes, str] = {
    "none": '"${{{0}}}"',
    "double": "${{{0}}}",
    "single": "'\"${{{0}}}\"'",
    "ansi": "'\"${{{0}}}\"$'",
}
_LONGEST = 128 * 1024 - 1  # bytes of one argument or variable, on Linux

Reference = InputRef | OutputRef


@dataclass(frozen=True)
class Brackets:
    """What stands between `$[[` and `]]`."""

    parts: tuple[str | Reference, ...]


Piece = str | Reference | Brackets


@dataclass(frozen=True)
class Rendered:
    """How a command is started."""

    argv: list[str]
    environment: dict[str, str]
    """Variables that it needs besides those it is given anyway."""


@dataclass(frozen=True)
class Command:
    """A command as it was written, checked: no value in it can be read by a shell."""

    text: str
    pieces: tuple[Piece, ...]

    @property
    def expressions(self) -> list[Reference]:
        """What it refers to, in order, each once."""
        within = (piece.parts if isinstance(piece, Brackets) else (piece,) for piece in self.pieces)
        return list(dict.fromkeys(part for parts in within for part in parts if not isinstance(part, str)))

    @property
    def optional(self) -> set[str]:
        """Names of inputs that stand in brackets."""
        return _names(part for piece in self.pieces if isinstance(piece, Brackets) for part in piece.parts)

    @property
    def required(self) -> set[str]:
        """Names of inputs that stand outside brackets, too or only: the command cannot be run without them."""
        return _names(piece for piece in self.pieces if not isinstance(piece, Brackets))

    def render(self, values: Mapping[str, str]) -> Rendered:
        """What to start.

        Args:
            values: the text of each input and output by `inputs.x` and `outputs.y`; for an optional input that has no
                value there is none. Every text is passed on letter by letter, also an empty one.

        Raises InvalidDocument for an input without a value outside brackets, and for a value no program can be given.
        """
        parts = _kept(self.pieces, lambda piece: all(isinstance(p, str) or p.body in values for p in piece.parts))
        references = [part for part in parts if not isinstance(part, str)]
        for reference in references:
            _check_value(reference, values)
        template, found = _read(parts)
        if _is_words(found):
            texts = iter([values[reference.body] for reference in references])
            argv = [_filled(word.text, texts) for word in found.commands[0]]
            return Rendered(_of_a_length(argv), {})
        variables = {body: f"{VARIABLE}{n}" for n, body in enumerate(dict.fromkeys(r.body for r in references), 1)}
        in_quotes = zip(references, found.quotes, strict=True)
        script = _filled(template, iter([_QUOTED[quotes].format(variables[r.body]) for r, quotes in in_quotes]))
        environment = {variable: values[body] for body, variable in variables.items()}
        _of_a_length([f"{variable}={value}" for variable, value in environment.items()])
        return Rendered(_of_a_length([*shell(), script]), environment)


def parse_command(text: str) -> Command:
    """The command of a component.

    Raises InvalidDocument naming the expression for one that belongs into the inputs or outputs of a step, for brackets
    that are nested, not closed or hold no input, and for a value where a shell could take it for code.
    """
    parts: list[str | Reference] = []
    for part in parse(text):
        if not isinstance(part, (str, InputRef, OutputRef)):
            raise InvalidDocument(
                f"{part} stands in a command, which knows only its component's own: bind it to an input or output of "
                "the step and write ${{inputs.x}} or ${{outputs.y}} here"
            )
        parts.append(part)
    pieces = tuple(_with_brackets(parts))
    for dropped in (None, *(piece for piece in pieces if isinstance(piece, Brackets))):
        _read(_kept(pieces, lambda piece, dropped=dropped: piece is not dropped))
    return Command(text, pieces)


def as_argument(value: Literals) -> str:
    """A literal input's value as a command gets it."""
    return value if isinstance(value, str) else repr(value)


def shell() -> list[str]:
    """What is put in front of a script. It stops at the first command that fails."""
    if found := shutil.which("bash", path=os.defpath) or shutil.which("bash"):
        return [found, "-e", "-o", "pipefail", "-c"]
    return ["/bin/sh", "-e", "-c"]


def _kept(pieces: Sequence[Piece], keeps: Callable[[Brackets], bool]) -> list[str | Reference]:
    parts: list[str | Reference] = []
    for piece in pieces:
        if not isinstance(piece, Brackets):
            parts.append(piece)
        elif keeps(piece):
            parts.extend(piece.parts)
    return parts


def _names(parts: Iterable[object]) -> set[str]:
    return {part.name for part in parts if isinstance(part, InputRef)}


def _with_brackets(parts: Sequence[str | Reference]) -> list[Piece]:
    pieces: list[Piece] = []
    inside: list[str | Reference] | None = None  # what came since the last `$[[`
    for part in parts:
        if not isinstance(part, str):
            (pieces if inside is None else inside).append(part)
            continue
        position = 0
        for match in _BRACKETS.finditer(part):
            opens = match[0] != "]]"
            if inside is None and not opens:
                continue  # of [[ ... ]], which is the shell's
            if inside is not None and opens:
                raise InvalidDocument("$[[ stands within $[[ ]]: write one pair for each optional part")
            before, position = part[position : match.start()], match.end()
            if inside is None:
                pieces.append(before)
                inside = []
            else:
                pieces.append(_bracket([*inside, before], pieces))
                inside = None
        (pieces if inside is None else inside).append(part[position:])
    if inside is not None:
        raise InvalidDocument("$[[ is not closed: write ]] at its end")
    return [piece for piece in pieces if piece != ""]


def _bracket(inside: list[str | Reference], before: list[Piece]) -> Brackets:
    """A pair of brackets, with what it takes from the text before it.

    `--flag $[[inputs.x]]` means `$[[--flag ${{inputs.x}}]]`: without a value there is no flag either.
    """
    text = "".join(map(str, inside))
    if match := _BARE.fullmatch(text):
        reference = InputRef(match[1])
        last = before[-1]
        flag = _FLAG.search(last) if isinstance(last, str) else None
        if flag is None or not isinstance(last, str) or (flag.start() == 0 and len(before) > 1):
            return Brackets((reference,))
        before[-1] = last[: flag.start()]
        return Brackets((flag[0], reference))
    if not any(isinstance(part, InputRef) for part in inside):
        raise InvalidDocument(f"$[[{text}]] holds no input: write ${{{{inputs.x}}}} in it, or no brackets")
    return Brackets(tuple(part for part in inside if part != ""))


def _read(parts: Sequence[str | Reference]) -> tuple[str, ShellText]:
    """The parts as one text with VALUE for each reference, and what it means to a shell. Raises InvalidDocument."""
    references = [part for part in parts if not isinstance(part, str)]
    if any(VALUE in part for part in parts if isinstance(part, str)):
        raise InvalidDocument("a command cannot hold the character NUL")
    template = "".join(part if isinstance(part, str) else VALUE for part in parts)
    if not template.strip():
        raise InvalidDocument("the command is empty")
    try:
        found = shell_text.read(template)
        shell_rules.check(found)
    except shell_text.Refused as refused:
        raise InvalidDocument(f"{references[refused.value]} {refused.why}") from None
    except shell_text.Unclosed as error:
        raise InvalidDocument(f"a {error} is not closed") from None
    except shell_text.NotUnderstood as error:
        if references:
            raise InvalidDocument(
                f"{error} is not supported in a command with {references[0]}: put it into a script in the "
                "component's code, and pass the script its values as arguments"
            ) from None
        return template, ShellText(needs_shell=True)
    return template, found


def _is_words(found: ShellText) -> bool:
    return not found.needs_shell and len(found.commands) == 1 and not shell_rules.is_for_shell(found.commands[0])


def _filled(template: str, texts: Iterable[str]) -> str:
    """The template with the next text in the place of each VALUE; texts are not looked at."""
    remaining = iter(texts)
    return "".join(next(remaining) if char == VALUE else char for char in template)


def _check_value(reference: Reference, values: Mapping[str, str]) -> None:
    if reference.body not in values:
        raise InvalidDocument(f"{reference} has no value: give one, or write $[[ ]] around the part that needs it")
    value = values[reference.body]
    if "\0" in value:
        raise InvalidDocument(f"{reference.body} holds the character NUL, which no command can be given")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise InvalidDocument(f"{reference.body} is not valid text: {value[:40]!r}") from None


def _of_a_length(arguments: list[str]) -> list[str]:
    for argument in arguments:
        if len(os.fsencode(argument)) > _LONGEST:
            raise InvalidDocument("a value is too long for a command: write it into a file and give that as an input")
    return arguments
