"""Triggers of an endpoint: which events call it, with which parameters. In the shape of prefect.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

import jinja2
from prefect.events.schemas.deployment_triggers import DeploymentTriggerTypes
from pydantic import AfterValidator, BaseModel, TypeAdapter

from .documents import did_you_mean

_ADAPTER: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
_NOT_WRITTEN = {"id", "trigger_type"}


def _check(given: dict[str, Any]) -> dict[str, Any]:
    parsed = parse_trigger(given)
    _check_keys(given, parsed)
    for text in templates(given.get("parameters")):
        try:
            jinja2.Environment().parse(text)  # nosec B701 # nothing is rendered
        except jinja2.TemplateError as error:
            raise ValueError(f"parameters: {text!r} is not a template: {error}") from None
    return given


def parse_trigger(given: Mapping[str, Any]) -> Any:
    """A trigger as Prefect's own class. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(dict(given))


def _check_keys(given: Mapping[str, Any], parsed: Any) -> None:
    """Prefect ignores a key that it does not know, and so would call for every event where `expect` is misspelt."""
    known = set(cast("type[BaseModel]", type(parsed)).model_fields) - _NOT_WRITTEN
    for key in given:
        if key not in known:
            raise ValueError(f"{key} is not a known key: {did_you_mean(key, known) or ', '.join(sorted(known))}")
    for inner, part in zip(given.get("triggers") or [], getattr(parsed, "triggers", []), strict=False):
        _check_keys(inner, part)


def templates(value: Any) -> Iterator[str]:
    """Every text in parameters that is filled in from the event."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from templates(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from templates(inner)


Trigger = Annotated[dict[str, Any], AfterValidator(_check)]
"""One of `triggers:` of an endpoint, as it was written."""
