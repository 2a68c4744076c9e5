"""The Prefect server that a Python client talks to."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import temporary_settings

from ..blocks import store
from ..scoring.errors import BatchError, NoServer
from .mistakes import explained


@dataclass(frozen=True)
class Connection:
    """Opens clients of one server, one for each operation: they may then be used from any thread."""

    settings: Mapping[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    """Prefect's, by their names: they take the place of those that are in force."""

    @contextmanager
    def open(self) -> Generator[SyncPrefectClient]:
        """A client of the server. What goes wrong with the server or a file is a BatchError of one line."""
        try:
            with temporary_settings(self.settings), store.api() as client:
                yield client
        except httpx.ConnectTimeout as error:
            raise NoServer from error
        except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise BatchError(explained(error)) from error
