"""A Prefect server and a worker on this machine, as child processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from ..flows.locations import WORKING_DIRECTORY
from ..flows.publication import ensure_work_pool
from ..scoring import priority
from ..scoring.errors import BatchError

WORKER = "prefect_batch.interfaces.worker"
"""The module that runs as a worker."""
START_SECONDS, STOP_SECONDS = 120.0, 20.0
# Recorded one by one, task runs cost the server 20 ms each, and it drops what it cannot keep up with.
SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
# SQLite waits 60 s for a lock. Who gives up and asks again before that is over makes it worse.
WORKER_SETTINGS = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_API_REQUEST_TIMEOUT": "120"}


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def worker_options(limit: int | None) -> list[str]:
    """Arguments of a Prefect worker that runs at most so many jobs at the same time, by default as many as its machine
    can well take: each has processes of its own, and a worker without a limit starts whatever is due."""
    return ["--limit", str(limit or max(4, 2 * (os.cpu_count() or 1)))]


class LocalServer:
    """`prefect server start` and `prefect worker start`.

    With the settings that batch endpoints need, unless the environment has others.

    Args:
        host: address to listen on.
        port: to listen on; any free one by default.
        environment: variables for both processes, on top of this process's.
        log: where both print to; this process's own streams by default.
        working_directory: what relative paths in requests mean; the current folder by default.
        limit: jobs that the worker runs at the same time; see worker_options().
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
        working_directory: Path | None = None,
        limit: int | None = None,
    ) -> None:
        self.host, self.port = host, port or free_port(host)
        self.api_url = f"http://{host}:{self.port}/api"
        self.ui_url = f"http://{host}:{self.port}"
        self._environment = {**SERVER_SETTINGS, **WORKER_SETTINGS, **os.environ, **(environment or {})}
        self._environment["PREFECT_API_URL"] = self.api_url
        self._environment[WORKING_DIRECTORY] = str((working_directory or Path.cwd()).resolve())
        self._log, self._limit = log, limit
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Those that were started, the server first."""
        return [process for process in (self.server, self.worker) if process is not None]

    def start(self, worker: bool = True) -> None:
        """Start both and wait until the server answers. Raises BatchError when it does not, or the port is taken."""
        self.start_server()
        with temporary_settings({PREFECT_API_URL: self.api_url}), get_client(sync_client=True) as client:
            ensure_work_pool(client)
        if worker:
            self.start_worker()

    def start_server(self) -> None:
        """The first time, or after it was killed. Raises BatchError as start() does."""
        self._check_port()
        where = ("--host", self.host, "--port", str(self.port))
        self.server = self._spawn("prefect_batch.interfaces.prefect_server", "server", "start", *where)
        self._wait_until_healthy(self.server)

    def start_worker(self) -> None:
        """The first time, or after it was killed."""
        options = worker_options(self._limit)
        self.worker = self._spawn(WORKER, *options, niceness=priority.BACKGROUND)

    def _check_port(self) -> None:
        """Whoever listens there already might answer in our server's place."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise BatchError(
                    f"cannot listen on {self.host}:{self.port} ({error.strerror}): try another --port"
                ) from None

    def _spawn(self, *arguments: str, niceness: int = 0) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=partial(_begin, niceness),
        )

    def _wait_until_healthy(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise BatchError(f"the Prefect server ended at once, with exit code {server.returncode}")
            try:
                if httpx.get(f"{self.api_url}/health", timeout=2.0).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        self.stop()
        raise BatchError(f"the Prefect server did not answer at {self.api_url} within {START_SECONDS:g} s")

    def wait(self) -> None:
        """Until one of the processes ends."""
        while all(process.poll() is None for process in self.processes):
            time.sleep(0.5)

    def stop(self) -> None:
        """End what was started, the worker first; what does not end in time is killed."""
        for process in reversed(self.processes):
            stop_process(process)
        self.server = self.worker = None


def _begin(niceness: int) -> None:
    """In a new process. A script's background jobs ignore SIGINT, and what they start inherits that; a Prefect worker
    ends by it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.nice(niceness)
    priority.lead_session()


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ask a process that leads its own session to end, then make its whole group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
