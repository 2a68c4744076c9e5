"""What `--set` says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from ..scoring.errors import InvalidDocument

_OPTION = "--set"
_SETTINGS = "settings."

Read = Callable[[Sequence[str], str], Any]
"""Makes the value of an assignment. Takes the parts of its key, and its text."""


def spread(arguments: Sequence[str]) -> list[str]:
    """A command line in which each assignment has its own `--set`.

    As Azure's, ours takes several after one, `--set a=1 b=2`, and keys with a dot without the equals sign,
    `--set inputs.data.type uri_file inputs.data.path x.csv`.
    """
    given, result = list(arguments), list[str]()
    while given:
        result.append(given.pop(0))
        if result[-1] != _OPTION:
            continue
        first = True
        while assignment := _next_assignment(given):
            result += [assignment] if first else [_OPTION, assignment]
            first = False
    return result


def _next_assignment(given: list[str]) -> str | None:
    """Take one from the front, if one stands there."""
    if given and re.match(r"[A-Za-z_][\w.-]*=", given[0]):
        return given.pop(0)
    if len(given) > 1 and re.fullmatch(r"[A-Za-z_]\w*([.][\w-]+)+", given[0]) and not given[1].startswith("--"):
        return f"{given.pop(0)}={given.pop(0)}"
    return None


def value_of(key: Sequence[str], text: str) -> Any:
    """A value read as JSON where it is, else as text; a path only where it is a list."""
    return _path(text) if key[-1] == "path" else _value(text)


def document(assignments: Iterable[str], /, **options: Any) -> dict[str, Any]:
    """What `--set` and options of their own change in a document. Raises InvalidDocument.

    Args:
        assignments: KEY=VALUE each, all keys as they are written.
        options: keys that have an option, which wins; None where it was not given.
    """
    return parse(assignments, within="") | {key: value for key, value in options.items() if value is not None}


def secrets(assignments: Iterable[str], within: str = "") -> dict[str, str]:
    """Credentials, each value the text itself, which no error repeats. Raises InvalidDocument.

    Args:
        assignments: KEY=VALUE each.
        within: what stands in front of each key.
    """
    parsed: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        name = key.removeprefix(within)
        if not equals or not name or "." in name or not key.startswith(within):
            raise InvalidDocument(f"--set: write {within}KEY=VALUE, as in {within}account_key=...")
        parsed[name] = value
    return parsed


def parse(
    assignments: Iterable[str], onto: dict[str, Any] | None = None, read: Read = value_of, within: str = _SETTINGS
) -> dict[str, Any]:
    """`retry_settings.timeout=60` as {'retry_settings': {'timeout': 60}}. Raises InvalidDocument.

    Args:
        assignments: KEY=VALUE each.
        onto: what they change; it stays as it is itself.
        read: makes a value of its text.
        within: what may stand in front of a key, or not.
    """
    parsed: dict[str, Any] = copy.deepcopy(onto or {})
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise InvalidDocument(f"--set {assignment!r}: write KEY=VALUE, as in --set mini_batch_size=2")
        *parents, last = keys = key.removeprefix(within).split(".")
        level = parsed
        for parent in parents:
            below: Any = level.setdefault(parent, {})
            if not isinstance(below, dict):
                raise InvalidDocument(f"--set {assignment!r}: {parent} was given a value of its own")
            level = cast(dict[str, Any], below)
        level[last] = read(keys, text)
    return parsed


def _path(text: str) -> Any:
    value: Any = _value(text)
    return cast("Any", value) if isinstance(value, list) else text  # a folder may be called 2024


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
