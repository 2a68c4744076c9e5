"""Block documents: create once, load, list, patch, delete. Blocks refer to each other by name, never by nesting."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import httpx
import tenacity
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import BlockDocumentCreate, BlockDocumentUpdate
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from pydantic import ValidationError

from ..scoring.errors import AlreadyExists, BatchError, NoServer, NotFound
from .documents import explain

B = TypeVar("B", bound=Block)
_PAGE = 200
"""Documents: the server gives no more of a search at once."""


@contextmanager
def api() -> Generator[SyncPrefectClient]:
    """A client of the configured Prefect server. Raises NoServer when it does not answer."""
    if get_current_settings().api.url is None:  # Prefect would start a server for this one call
        raise NoServer
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.ConnectError as error:
        raise NoServer from error


def create(block: Block, name: str, client: SyncPrefectClient) -> None:
    """Save a document that must not exist yet. Raises AlreadyExists: exactly one of two callers at once gets it."""
    type_id, schema_id = registered(type(block), client)
    document = BlockDocumentCreate(name=name, data=dump(block), block_schema_id=schema_id, block_type_id=type_id)
    try:
        client.create_block_document(document)
    except ObjectAlreadyExists:
        raise AlreadyExists(f"{_kind(type(block))} {name!r} exists already") from None


def dump(block: Block, keys: set[str] | None = None) -> dict[str, Any]:
    """A block's data, or that of some keys, as it is sent to the server: with its secrets, which the server hides."""
    data = block.model_dump(mode="json", context={"include_secrets": True})  # which makes Prefect ignore include=
    return data if keys is None else {key: data[key] for key in keys}


def load(kind: type[B], name: str, client: SyncPrefectClient) -> B:
    """The document of that name. Raises NotFound, or BatchError if what is stored is not valid."""
    return _parse(kind, _read(kind, name, client))


def list_all(kind: type[B], client: SyncPrefectClient, within: str | None = None, **equal: Any) -> list[B]:
    """The documents of a kind whose top-level keys have these values, by name; others are not even parsed.

    Args:
        kind: of block.
        client: of the server.
        within: a text in the names of all that are wanted, if there is one: see `documents`.
        equal: the values.
    """
    return [block for block, _ in list_dated(kind, client, within, **equal)]


def list_dated(
    kind: type[B], client: SyncPrefectClient, within: str | None = None, **equal: Any
) -> list[tuple[B, datetime]]:
    """What list_all gives, each with the time at which the server saved it first, by the server's clock."""
    wanted = [found for found in documents(kind, client, within) if equal.items() <= found.data.items()]
    wanted.sort(key=lambda document: document.name or "")
    return [(_parse(kind, document), document.created or datetime.now(UTC)) for document in wanted]


def documents(kind: type[Block], client: SyncPrefectClient, within: str | None = None) -> list[BlockDocument]:
    """All of a kind as they are stored, in any order; or those whose names have a text of `[a-z0-9-]` in them.

    Reading all takes the longer the more there are, whoever made them: 2 ms and 14 kB for each version of a deployment.
    """
    if within is None:
        try:
            return client.read_block_documents_by_type(kind.get_block_type_slug())  # the route knows no pages
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            return []  # no block of this kind has ever been saved
    wanted = {
        "block_types": {"slug": {"any_": [kind.get_block_type_slug()]}},
        "block_documents": {"name": {"like_": within}},
        "include_secrets": True,
        "limit": _PAGE,
    }
    found = list[BlockDocument]()
    while True:
        page = client.request("POST", "/block_documents/filter", json={**wanted, "offset": len(found)}).json()
        found += map(BlockDocument.model_validate, page)
        if len(page) < _PAGE:
            return found


def patch(kind: type[Block], name: str, data: dict[str, Any], client: SyncPrefectClient) -> None:
    """Set top-level keys of a document on the server, leaving the others to whoever changes them at the same time."""
    document = _read(kind, name, client)
    # The schema says which fields are secret: a document of an older one would show those that are new.
    _, schema_id = registered(kind, client)
    client.update_block_document(
        document.id, BlockDocumentUpdate(data=data, merge_existing_data=True, block_schema_id=schema_id)
    )


def delete(kind: type[Block], name: str, client: SyncPrefectClient) -> None:
    """Delete a document. Raises NotFound."""
    client.delete_block_document(_read(kind, name, client).id)


def registered(kind: type[Block], client: SyncPrefectClient) -> tuple[UUID, UUID]:
    """Ids of the kind and of its schema, made known to the server if need be."""
    # Somebody else may be making known the kind, then its schema, at this moment.
    again = tenacity.retry_if_exception(_is_conflict)
    attempts = tenacity.Retrying(retry=again, stop=tenacity.stop_after_attempt(3), reraise=True)
    attempts(kind.register_type_and_schema, client=client)  # pyright: ignore[reportArgumentType]
    type_id, schema_id = kind._block_type_id, kind._block_schema_id  # pyright: ignore[reportPrivateUsage]
    assert type_id is not None and schema_id is not None  # registering sets both
    return type_id, schema_id


def _is_conflict(error: BaseException) -> bool:
    conflict = isinstance(error, PrefectHTTPStatusError) and error.response.status_code == 409
    return conflict or isinstance(error, ObjectAlreadyExists)


def _read(kind: type[Block], name: str, client: SyncPrefectClient) -> BlockDocument:
    try:
        return client.read_block_document_by_name(name, kind.get_block_type_slug())
    except ObjectNotFound:
        raise NotFound(f"{_kind(kind)} {name!r} does not exist") from None


def _parse(kind: type[B], document: BlockDocument) -> B:
    named = {"name": document.name} if "name" in kind.model_fields else {}  # documents of before it was a field
    try:
        return kind.model_validate(named | document.data)
    except ValidationError as error:
        raise BatchError(f"{_kind(kind)} {document.name!r} as stored is not valid: {explain(error, kind)}") from None


def _kind(kind: type[Block]) -> str:
    return str(kind.get_block_type_name())
