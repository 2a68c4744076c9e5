"""A world that the tests of one process break in turn, each leaving it as it was."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

import pytest
from storage_servers import Unavailable

from . import postgres
from .cases import LONG, ready_world
from .world import SQLITE, World

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))


@pytest.fixture(scope="package", params=[SQLITE, "PostgreSQL"] if LONG else [SQLITE])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        try:
            database = SQLITE if request.param == SQLITE else stack.enter_context(postgres.running())
        except Unavailable as error:
            pytest.skip(str(error))
        yield stack.enter_context(ready_world(tmp_path_factory.mktemp("world"), database=database))


@pytest.fixture
def rounds(world: World) -> range:
    """Seeds of as many rounds as are asked for: one, or CHAOS_ROUNDS; one on another database."""
    return range(SEED, SEED + (ROUNDS if world.database == SQLITE else 1))


@pytest.fixture
def few(rounds: range) -> range:
    """A quarter of the rounds, for what takes a minute or goes little by chance."""
    return rounds[: max(1, len(rounds) // 4)]


@pytest.fixture
def dice() -> random.Random:
    return random.Random(SEED)
