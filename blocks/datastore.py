"""Where jobs, snapshots and outputs lie."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import get_current_settings
from pydantic import Field

from ..scoring.errors import AlreadyExists, NotFound
from ..scoring.storage import Folder
from . import store

DEFAULT = "default"
SETTING = "PREFECT_BATCH_DATASTORE"


class Datastore(Block):
    """A folder that jobs read from and write to."""

    _block_type_name = "Batch Datastore"
    _block_type_slug = "batch-datastore"

    url: str = Field(description="An absolute local folder, or an fsspec URL.")

    @property
    def folder(self) -> Folder:
        return Folder(self.url)


def default_url() -> str:
    """Where the default datastore is made: PREFECT_BATCH_DATASTORE, or `prefect-batch` in Prefect's home folder."""
    url = os.environ.get(SETTING) or str(get_current_settings().home / "prefect-batch")
    return url if "://" in url else str(Path(url).expanduser().absolute())


def default_datastore(client: SyncPrefectClient) -> Datastore:
    """The server's default datastore. The first caller makes it, so that everyone after means the same folder."""
    try:
        return store.load(Datastore, DEFAULT, client)
    except NotFound:
        try:
            store.create(Datastore(url=default_url()), DEFAULT, client)
        except AlreadyExists:
            pass  # somebody was faster: theirs counts
        return store.load(Datastore, DEFAULT, client)
