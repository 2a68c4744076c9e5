"""A call that is repeated makes no second job: the server keeps the key of each job, and gives it out once."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun

from ..scoring.errors import InvalidDocument

HEADERS = ("idempotency-key", "repeatability_request-id", "repeatability-request-id")
"""The field's, and Azure ML's in both spellings: some proxies drop headers with an underscore."""
_SENT = ("inputs", "outputs", "settings", "deployment")


def key_of(request: Request) -> str | None:
    """The key that a call names. Raises InvalidDocument."""
    given = {value.strip() for name in HEADERS for value in request.headers.getlist(name)}
    if len(given) > 1:
        raise InvalidDocument(f"the headers {', '.join(HEADERS)} say different things: give one key")
    key = given.pop() if given else None
    if key is not None and not 1 <= len(key) <= 200:
        raise InvalidDocument("the idempotency key must have 1 to 200 letters, such as a UUID")
    return key


def scoped(key: str, principal: str, endpoint: str) -> str:
    """The key as the server keeps it: the same text of another caller, or to another endpoint, is another key."""
    return "prefect-batch-" + hashlib.sha256(json.dumps([principal, endpoint, key]).encode()).hexdigest()


_TURNS = [threading.Lock() for _ in range(64)]


def in_turn(key: str) -> threading.Lock:
    """Held around a call, lets calls of this gateway with one key come one after another.

    The server would give them one job, too, but while it holds each off for the others, none has an answer. Keys share
    a few locks: some wait for each other without need, and nothing is kept of any.
    """
    return _TURNS[hash(key) % len(_TURNS)]


def made_before(client: SyncPrefectClient, key: str) -> FlowRun | None:
    """The job that an earlier call with this key made."""
    only = FlowRunFilter.model_validate({"idempotency_key": {"any_": [key]}})
    return next(iter(client.read_flow_runs(flow_run_filter=only, limit=1)), None)


def check_same(run: FlowRun, parameters: Mapping[str, Any], name: str | None) -> None:
    """Refuse a key that comes back with another call.

    Args:
        run: the job that the key stands for.
        parameters: of the call now.
        name: that the call gives its job.

    Raises InvalidDocument.
    """
    if _sent(run.parameters) != _sent(parameters) or (name is not None and name != run.name):
        raise InvalidDocument(f"this idempotency key was used for another call, job {run.id}: take a new one")


def _sent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: parameters[key] for key in _SENT if parameters.get(key)}
