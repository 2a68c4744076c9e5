"""What `--set`, `--input` and `--output` say, as request values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from ..scoring.errors import InvalidDocument, NotFound


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


def local_path(given: str, option: str, must_exist: bool) -> str:
    """A path of the caller's, absolute: the worker that reads it has another working directory. Raises NotFound."""
    if "://" in given or given.startswith("azureml:"):
        return given
    path = Path(given).expanduser().absolute()
    if must_exist and not path.exists():
        raise NotFound(f"{option} {given}: does not exist (looked for {path})")
    return str(path)
