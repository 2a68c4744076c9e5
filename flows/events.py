"""Events for Prefect's automations. Sent with an answer awaited: what is marked as told has arrived."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.filters import EventFilter, EventIDFilter
from prefect.events.schemas.events import Event, RelatedResource, Resource


def send(
    client: SyncPrefectClient,
    event: str,
    resource: Mapping[str, str],
    payload: Mapping[str, Any],
    related: Mapping[str, str] | None = None,
    event_id: UUID | None = None,
) -> None:
    """Send an event.

    Args:
        client: of the Prefect server.
        event: its name.
        resource: labels of what it is about, `prefect.resource.id` among them.
        payload: what templates of triggers find in `event.payload`.
        related: ids of what else has to do with it, by role.
        event_id: of its own, where it must be known again.
    """
    others = [
        RelatedResource.model_validate({"prefect.resource.id": about, "prefect.resource.role": role})
        for role, about in (related or {}).items()
    ]
    made = Event(
        event=event,
        resource=Resource.model_validate(dict(resource)),
        related=others,
        payload=dict(payload),
        id=event_id or uuid4(),
    )
    client.request("POST", "/events", json=[made.model_dump(mode="json")])


def was_sent(client: SyncPrefectClient, event_id: UUID) -> bool:
    """Whether the server has stored an event; it takes a second or two to."""
    return bool(client.read_events(EventFilter(id=EventIDFilter(id=[event_id])), limit=1).events)
