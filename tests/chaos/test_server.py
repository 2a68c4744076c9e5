"""The Prefect server away in mid-job, and its database locked."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter

from prefect_batch.blocks.ledger import patiently

from .cases import FILES, LONG, check, deploy, files, trial
from .world import SQLITE, World

AWAY = 60.0 if LONG else 10.0
JOBS = 20 if LONG else 3


def completed(world: World, job: object) -> int:
    """Task runs of a job that the server knows as completed."""
    with get_client(sync_client=True) as client:
        below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [str(job)]}})
        flows = [str(run.id) for run in client.read_flow_runs(flow_run_filter=below)]
        of_flows = FlowRunFilter.model_validate({"id": {"any_": flows}})
        done = TaskRunFilter.model_validate({"state": {"type": {"any_": ["COMPLETED"]}}})
        return len(client.read_task_runs(flow_run_filter=of_flows, task_run_filter=done, limit=200))


def test_scoring_goes_on_without_the_server(world: World) -> None:
    """States catch up afterwards."""
    endpoint = deploy(world, "unheard")
    with trial(world, "Server", f"unreachable for {AWAY:g} s in mid-job") as found:
        job = world.invoke(endpoint, files(world))
        world.until(job, "a part", lambda _: world.parts(job) or None)
        assert world.local.server is not None
        server = psutil.Process(world.local.server.pid)
        server.suspend()
        try:
            time.sleep(AWAY)
            assert world.parts(job) == FILES, "scoring has waited for the server"
        finally:
            server.resume()
        check(world, job, found)
        assert found.resumed == 0
        world.until(job, "all task runs completed", lambda _: completed(world, job) == FILES or None)


@contextlib.contextmanager
def locked(database: Path, dice: random.Random) -> Generator[None]:
    """Somebody else has the database for up to a second, again and again."""
    done = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
            while not done.wait(dice.uniform(0.5, 1.5)):
                with contextlib.suppress(sqlite3.OperationalError):
                    connection.execute("BEGIN EXCLUSIVE")
                    done.wait(dice.uniform(0.2, 1.0))
                    connection.execute("COMMIT")

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_the_database_is_locked_under_many_jobs(world: World, dice: random.Random) -> None:
    if world.database != SQLITE:
        pytest.skip("only SQLite has one lock for all")
    endpoint = deploy(world, "locked", mini_batch_size=6)
    with trial(world, "Server", f"SQLite locked again and again under {JOBS} jobs at once") as found:
        with locked(world.home / "prefect.db", dice):
            jobs = [patiently(lambda: world.invoke(endpoint, files(world)), print) for _ in range(JOBS)]
            for job in jobs:
                patiently(partial(world.wait, job), print)
        for job in jobs:
            check(world, job, found)
