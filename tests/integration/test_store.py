"""Block documents on a real server, by many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from pydantic import SecretStr

from prefect_batch.blocks import store


def test_a_kind_that_many_make_known_at_once(client: SyncPrefectClient):
    """As the first jobs on a new server do."""
    name, together = f"Kind {uuid4().hex[:8]}", threading.Barrier(8, timeout=60)
    # Each a class of its own, as each process has; made one by one, for two threads of Python 3.11 cannot both parse.
    kinds = [type("Kind", (Block,), {"_block_type_name": name, "__annotations__": {"key": str}}) for _ in range(8)]

    def one(kind: type[Block]) -> tuple[Any, Any]:
        with get_client(sync_client=True) as mine:
            mine.hello()
            together.wait()
            return store.registered(kind, mine)

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(one, kinds))
    assert len(ids) == 1
    ((type_id, _),) = ids
    client.delete_block_type(type_id)


class Kept(Block):
    _block_type_name = "Kept for a test"
    _block_type_slug = "kept-for-a-test"

    number: int
    even: bool
    secret: SecretStr = SecretStr("of a test")


def test_documents_by_a_text_in_their_names(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch):
    """The server gives what is wanted and no more, in as many pages as it takes."""
    assert store.documents(Kept, client, within="a-b") == store.documents(Kept, client) == []
    for number in range(5):
        store.create(Kept(number=number, even=number % 2 == 0), f"a-b--{number}", client)
    store.create(Kept(number=9, even=False), "a-c--9", client)
    monkeypatch.setattr(store, "_PAGE", 2)
    try:
        found = store.documents(Kept, client, within="a-b--")
        assert sorted(document.data["number"] for document in found) == [0, 1, 2, 3, 4]
        assert {document.data["secret"] for document in found} == {"of a test"}
        assert [one.number for one in store.list_all(Kept, client, "a-b--", even=True)] == [0, 2, 4]
        assert [one.number for one in store.list_all(Kept, client, even=False)] == [1, 3, 9]
        assert store.documents(Kept, client, within="a-d") == []
    finally:
        client.delete_block_type(store.registered(Kept, client)[0])
