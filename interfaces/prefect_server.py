"""Prefect's own command with its server mended for many callers at once.

python -m prefect_batch.interfaces.prefect_server server start [OPTION ...]

Without this each call takes twice as long, for Prefect checks at each that the schema of an endpoint's parameters
is one; here that is known from the first time on. And on SQLite ten calls at once may each take a minute or fail with
503, `database is locked`, for two reasons:

- Of two transactions that read first, one writes, and the other, which wants to write later, fails at once: SQLite's
  DEFERRED transactions. Here each that may write begins as IMMEDIATE, which waits for its turn.
- Python's cyclic garbage collector may find an abandoned cursor in the thread of the event loop, and waits for the
  cursor's connection, which waits in another thread for the lock, which a transaction has that goes on in the event
  loop: nothing moves until SQLite gives up after 60 s. Here the collector has a thread of its own.
"""

from __future__ import annotations

import functools
import gc
import itertools
import json
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.utilities.schema_tools import validation
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_SCHEMAS = 1000
"""That are known to be one: of an endpoint's parameters, or of a work pool's variables."""
_COLLECT_SECONDS = 5.0
_YOUNG, _ALL = 1, 2
_ALL_EVERY = 12


def check_schemas_once() -> None:
    """Remember which schemas were found to be in order."""
    validator: Any = validation._VALIDATOR  # pyright: ignore[reportPrivateUsage]
    check = validator.check_schema

    @functools.lru_cache(_SCHEMAS)
    def check_text(text: str, *options: tuple[str, Any]) -> None:
        check(json.loads(text), **dict(options))

    def check_once(schema: object, **options: Any) -> None:
        check_text(json.dumps(schema), *options.items())

    validator.check_schema = check_once


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
            if count == 1:
                gc.freeze()  # what the server is made of is never garbage: to look through it takes most of a second

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


if __name__ == "__main__":
    check_schemas_once()
    write_in_turn()
    collect_apart()
    app()
