"""Small jobs one after the other, for an hour in the long form: memory stays flat, and nothing piles up."""

from __future__ import annotations

import statistics
import sys
import time

import psutil
import pytest

from .cases import FILES, LONG, check, deploy, files, trial
from .world import SQLITE, World

LONGEST, SHORTEST = 3600.0, 30.0
GROWTH_MB = 60.0
"""That a process may have grown from the second third of the time to the last."""


def lasting(world: World) -> dict[str, psutil.Process]:
    """Those that outlive jobs: the server, the worker, and the two that fork for it. To be called between jobs."""
    assert world.local.server is not None and world.local.worker is not None
    worker = psutil.Process(world.local.worker.pid)
    forking = [child for child in worker.children() if "prefect_batch.scoring.fork_server" in child.cmdline()]
    assert len(forking) == 2
    named = {f"fork server {number}": child for number, child in enumerate(forking)}
    return {"server": psutil.Process(world.local.server.pid), "worker": worker} | named


@pytest.mark.timeout(5400)
def test_small_jobs_for_long(world: World) -> None:
    endpoint = deploy(world, "soaked", seconds=0.0, mini_batch_size=FILES)
    seconds = LONGEST if LONG and world.database == SQLITE else SHORTEST
    processes = lasting(world)
    until, samples = time.monotonic() + seconds, list[dict[str, float]]()
    with trial(world, "Soak", f"jobs one after the other for {seconds / 60:g} minutes") as found:
        while time.monotonic() < until or len(samples) < 3:
            check(world, world.invoke(endpoint, files(world)), found)
            assert not found.resumed
            samples.append({name: one.memory_full_info().uss / 1e6 for name, one in processes.items()})
        third = len(samples) // 3
        grown = {
            name: statistics.median(one[name] for one in samples[-third:])
            - statistics.median(one[name] for one in samples[third : 2 * third])
            for name in processes
        }
        by = ", ".join(f"{name} {mb:+.1f} MB" for name, mb in grown.items())
        found.told = f"{len(samples)} jobs; from the second third of the time to the last: {by}"
        sys.stderr.write(f"{found.told}\n")
        assert max(grown.values()) < GROWTH_MB, grown
