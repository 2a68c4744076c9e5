"""Many jobs at once: all accepted, queued, finished, none lost and none doubled, in bounded memory."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import os
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter

from prefect_batch.scoring.priority import BACKGROUND

from .cases import EXPECTED, FILES, LONG, deploy, files, local_output, trial
from .world import World

JOBS, CALLERS = (200, 10) if LONG else (12, 4)
INVOKED_WITHIN = 10.0
"""Seconds for all calls."""
JOB_SECONDS = 30.0
"""That one may take on average, the queue included: a bound against jobs that hang."""
LOOK_SECONDS = 3.0
"""Between two looks at what all processes hold, which costs the caller a tenth of a second."""
MOST_MB = 6000
"""Memory that all processes together may hold at any time, what they share counted once."""


@dataclass
class Peak:
    memory_mb: float = 0.0
    flows: int = 0


@contextlib.contextmanager
def peak(world: World) -> Generator[Peak]:
    """The most that the world's processes held together while the block ran, and the most jobs at once."""
    found, done = Peak(), threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            held, flows = 0.0, 0
            for process in world.processes():
                with contextlib.suppress(psutil.Error):
                    held += process.memory_full_info().pss / 1e6
                    flows += process.name() == "prefect.engine"
            found.memory_mb, found.flows = max(found.memory_mb, held), max(found.flows, flows)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def call(endpoint: str, data: str, times: int) -> list[str]:
    """Calls one after the other by Prefect's own client, as any program may make them; the jobs' ids."""
    parameters = {"endpoint": endpoint, "inputs": {"data": data}}
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"endpoint/{endpoint}").id
        made = (client.create_flow_run_from_deployment(deployment, parameters=parameters) for _ in range(times))
        return [str(run.id) for run in made]


@pytest.mark.timeout(3600)
def test_many_jobs_within_ten_seconds(world: World) -> None:
    endpoint, data = deploy(world, "loaded", seconds=0.0, mini_batch_size=FILES), str(files(world))
    with trial(world, "Load", f"{JOBS} jobs called within {INVOKED_WITHIN:g} s") as found, peak(world) as most:
        began = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            contexts = [contextvars.copy_context() for _ in range(CALLERS)]  # of settings: which server is meant
            each = JOBS // CALLERS
            ids = sum(pool.map(lambda context: context.run(call, endpoint, data, each), contexts), list[str]())
        called = time.monotonic() - began
        assert len(set(ids)) == JOBS
        states = collections.Counter[str]()
        deadline = began + JOBS * JOB_SECONDS
        while states["Completed"] < JOBS and time.monotonic() < deadline:
            time.sleep(1.0)
            with get_client(sync_client=True) as client:
                runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": ids}}))
            states = collections.Counter(run.state.name if run.state is not None else "" for run in runs)
        seconds = time.monotonic() - began
        assert states == {"Completed": JOBS}
        for job in ids:
            files_of = local_output(world.wait(job))
            found.lost += files_of != {"predictions.csv": EXPECTED}
        assert not found.lost
        found.told = (
            f"{JOBS} jobs: called in {called:.1f} s by {CALLERS} callers, all completed after {seconds:.0f} s "
            f"({seconds / JOBS:.2f} s each), at most {most.flows} at once, and {most.memory_mb:.0f} MB held by all "
            "processes together"
        )
        sys.stderr.write(f"{found.told}\n")
        assert most.memory_mb < MOST_MB
        assert called <= INVOKED_WITHIN


def test_jobs_yield_to_the_server(world: World) -> None:
    assert world.local.server is not None and world.local.worker is not None
    niceness = [psutil.Process(process.pid).nice() for process in (world.local.server, world.local.worker)]
    assert niceness == [os.nice(0), os.nice(0) + BACKGROUND]
