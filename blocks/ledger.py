"""The ledger of a compute cluster: what holds it and what waits for it, changed by one writer at a time.

It is a block document of which each change makes the next number. A number exists once, so of two writers at once one
wins; the other reads again. What a change does is a pure function (see places.py).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar
from uuid import UUID, uuid4

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from pydantic import Field

from . import store
from .places import LEASE, Holder, KeptCluster, Ledger, Waiter

__all__ = ["LEASE", "Holder", "KeptCluster", "Ledger", "Step", "Waiter", "change", "patiently", "read", "server_now"]

_WRITERS = 100
"""Changes that an entry remembers the writers of."""
_SAME_CLOCK = timedelta(seconds=1.5)
"""The server tells its time in whole seconds."""
_PAUSE = 0.05
_PATIENCE = 600.0
_ids: dict[str, tuple[UUID, UUID]] = {}
_offsets: dict[str, timedelta] = {}


class ComputeLedger(Block):
    """One state of the ledger of a compute cluster."""

    _block_type_name = "Compute Ledger"
    _block_type_slug = "compute-ledger"

    compute: str
    number: int
    writers: list[str] = Field(description="Of this change and of those before it, newest last.")
    ledger: Ledger


T = TypeVar("T")
Step = Callable[[Ledger, datetime], Ledger]
"""From what is there and the server's time to what shall be there; may be called more than once."""


def read(client: SyncPrefectClient, compute: str) -> Ledger:
    """The ledger of a compute cluster; empty when nobody has written it."""
    return _newest(_entries(client, compute))[0]


def change(client: SyncPrefectClient, compute: str, step: Step) -> Ledger:
    """Apply a step to what is there, whoever else does so at the same time; returns what became of it.

    A step that changes nothing writes nothing. An error of the connection leaves open whether it was written.
    """
    writer, attempt = uuid4().hex, 0
    while True:
        entries = _entries(client, compute)
        held, number, writers = _newest(entries)
        if writer in writers:
            return held
        now = server_now(client)
        wanted = step(held, now)
        if wanted == held:
            return held
        entry = ComputeLedger(
            compute=compute,
            number=number + 1,
            writers=[*writers, writer][-_WRITERS:],
            ledger=wanted.model_copy(update={"at": now}),
        )
        if _is_written(client, entry, entries):
            return entry.ledger
        attempt = min(attempt + 1, 8)
        time.sleep(random.uniform(0, _PAUSE * attempt))  # nosec B311 # so that writers part, whoever foresees it


def patiently(call: Callable[[], T], say: Callable[[str], None], seconds: float = _PATIENCE) -> T:
    """What the call gives, as soon as the server answers; after that time, raises what it raises.

    Args:
        call: reads or changes a ledger; may be called more than once.
        say: receives why it is called again.
        seconds: that the server may be away.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            answered = isinstance(error, PrefectHTTPStatusError) and error.response.status_code < 500
            if answered or time.monotonic() > deadline:
                raise
            say(str(error))
            time.sleep(1)


def server_now(client: SyncPrefectClient) -> datetime:
    """The time by the server's clock, which all writers share; to half a second where clocks differ."""
    url = str(client.api_url)
    if url not in _offsets:
        before = datetime.now(UTC)
        told = client.hello().headers.get("Date")
        local = before + (datetime.now(UTC) - before) / 2
        offset = parsedate_to_datetime(told) + timedelta(seconds=0.5) - local if told else timedelta()
        _offsets[url] = offset if abs(offset) > _SAME_CLOCK else timedelta()
    return datetime.now(UTC) + _offsets[url]


def _entries(client: SyncPrefectClient, compute: str) -> list[BlockDocument]:
    """The states of a ledger that are stored, oldest first: one, or a few while somebody writes."""
    found = store.documents(ComputeLedger, client, within=_prefix(compute))
    held = [document for document in found if document.data.get("compute") == compute]
    return sorted(held, key=lambda document: document.data["number"])


def _prefix(compute: str) -> str:
    """What the names of the documents of all its states begin with; their numbers follow."""
    return f"{compute}-"


def _newest(entries: list[BlockDocument]) -> tuple[Ledger, int, list[str]]:
    if not entries:
        return Ledger(), 0, []
    data = entries[-1].data
    return Ledger.model_validate(data["ledger"]), data["number"], data["writers"]


def _is_written(client: SyncPrefectClient, entry: ComputeLedger, older: list[BlockDocument]) -> bool:
    """Store a state as the newest, and remove those before it; False when somebody was faster.

    States are removed oldest first, and only below one that is there for good. So whoever still finds the state that
    it started from knows that its own number was never taken before.
    """
    type_id, schema_id = _registered(client)
    document = BlockDocumentCreate.model_validate(
        {
            "name": f"{_prefix(entry.compute)}{entry.number}",
            "data": entry.model_dump(mode="json"),
            "block_type_id": type_id,
            "block_schema_id": schema_id,
        }
    )
    try:
        created = client.create_block_document(document)
    except ObjectAlreadyExists:
        return False  # or the answer was lost, and it is our own: seen by its writer when it is read again
    removed = [_is_removed(client, old) for old in older]  # all, also those after one that somebody was faster with
    if not older or not all(removed):
        entries = _entries(client, entry.compute)
        higher = [other for other in entries if other.data["number"] > entry.number]
        if higher and entry.writers[-1] not in higher[-1].data["writers"]:
            _is_removed(client, created)
            return False
    return True


def _is_removed(client: SyncPrefectClient, document: BlockDocument) -> bool:
    """Remove a state; False when somebody has done so before."""
    try:
        client.delete_block_document(document.id)
    except ObjectNotFound:
        return False
    return True


def _registered(client: SyncPrefectClient) -> tuple[UUID, UUID]:
    """Ids of the block type and schema: registering them takes longer than all the rest of a change."""
    url = str(client.api_url)
    if url not in _ids:
        _ids[url] = store.registered(ComputeLedger, client)
    return _ids[url]
