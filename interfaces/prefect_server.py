"""Prefect's own command with its server mended for many writers at once on SQLite.

python -m prefect_batch.interfaces.prefect_server server start [OPTION ...]

Without this, ten calls at once may each take a minute or fail with 503, `database is locked`, for two reasons:

- Of two transactions that read first, one writes, and the other, which wants to write later, fails at once: SQLite's
  DEFERRED transactions. Here each that may write begins as IMMEDIATE, which waits for its turn.
- Python's cyclic garbage collector may find an abandoned cursor in the thread of the event loop, and waits for the
  cursor's connection, which waits in another thread for the lock, which a transaction has that goes on in the event
  loop: nothing moves until SQLite gives up after 60 s. Here the collector has a thread of its own.
"""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_COLLECT_SECONDS = 1.0
_YOUNG, _ALL = 1, 2
_ALL_EVERY = 30


def write_in_turn() -> None:
    """Have SQLite transactions wait for each other from their beginning."""
    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_as_writer(
        self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction]:
        async with begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_as_writer


def collect_apart() -> None:
    """Collect garbage in a thread of its own, for as long as this process lives."""

    def collect() -> None:
        for count in itertools.count(1):
            time.sleep(_COLLECT_SECONDS)
            gc.collect(_YOUNG if count % _ALL_EVERY else _ALL)

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


if __name__ == "__main__":
    write_in_turn()
    collect_apart()
    app()
