"""What `--set` says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from ..scoring.errors import InvalidDocument


def parse(assignments: Iterable[str]) -> dict[str, Any]:
    """`retry_settings.timeout=60` as {'retry_settings': {'timeout': 60}}. Raises InvalidDocument.

    A value is read as JSON where it is, else as text. A leading `settings.` may stand or not.
    """
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise InvalidDocument(f"--set {assignment!r}: write KEY=VALUE, as in --set mini_batch_size=2")
        *parents, last = key.removeprefix("settings.").split(".")
        level = parsed
        for parent in parents:
            below: Any = level.setdefault(parent, {})
            if not isinstance(below, dict):
                raise InvalidDocument(f"--set {assignment!r}: {parent} was given a value of its own")
            level = cast(dict[str, Any], below)
        level[last] = _value(text)
    return parsed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
