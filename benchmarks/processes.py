"""What the processes of a job use: memory and processors, by their roles."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from prefect_batch.interfaces.local_server import LocalServer

SAMPLE_SECONDS = 0.25
FORK_SERVER = "prefect_batch.scoring.fork_server"
FORKS = {
    "prefect.engine": "flow",
    "cli.dask_spec": "Dask worker",
    "scoring.process": "scoring process",
}
"""Roles of forks by their names: their command lines are that of their fork server."""
ROLES = {
    "prefect_batch.scoring.process": "scoring process",
    "scoring/forked.py": "stand-in for a fork",
    "prefect.flow_engine": "flow",
    "prefect.engine": "flow",
    "distributed.cli.dask_spec": "Dask worker",
    "multiprocessing": "Dask worker or helper",
}
"""Roles of the others, by a text of their command lines; the first that fits."""


@dataclass
class Used:
    """What the processes of one role used in one job."""

    resident: float = 0.0
    """MB, the most that any one of them held."""
    own: float = 0.0
    """The same without what it shares with others (USS)."""
    seconds: float = 0.0
    """Of processors, all of them together."""


@dataclass
class Sampled:
    """What the processes below a worker used in one job."""

    roles: dict[str, Used] = field(default_factory=dict[str, Used])
    own: float = 0.0
    """MB, the most that all of them held together, what they share with others left out."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@contextlib.contextmanager
def sampled(server: LocalServer) -> Generator[Sampled]:
    """What the descendants of a server's worker use while the block runs; filled in at its end."""
    worker = psutil.Process(server.processes[1].pid)
    found = Sampled()
    last: dict[tuple[int, float], tuple[str, float]] = {}
    before = {(one.pid, one.create_time()): _seconds(one) for one in worker.children(recursive=True)}
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            own = 0.0
            for process in worker.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    memory, role = process.memory_full_info(), role_of(process)
                    last[process.pid, process.create_time()] = role, _seconds(process)
                    used = found.roles.setdefault(role, Used())
                    used.resident = max(used.resident, memory.rss / 1e6)
                    used.own = max(used.own, memory.uss / 1e6)
                    own += memory.uss / 1e6
            found.own = max(found.own, own)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        for one, (role, seconds) in last.items():
            found.roles[role].seconds += seconds - before.get(one, 0.0)


def _seconds(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def role_of(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    if FORK_SERVER in command:
        return FORKS.get(process.name(), "fork server")
    return next((role for text, role in ROLES.items() if text in command), command[:60] or "?")
