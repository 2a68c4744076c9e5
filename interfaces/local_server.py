"""A Prefect server and a worker on this machine, as child processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from ..flows.locations import WORKING_DIRECTORY
from ..flows.publication import ensure_work_pool
from ..scoring.errors import BatchError

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


class LocalServer:
    """`prefect server start` and `prefect worker start`.

    With the settings that batch endpoints need, unless the environment has others.

    Args:
        host: address to listen on.
        port: to listen on; any free one by default.
        environment: variables for both processes, on top of this process's.
        log: where both print to; this process's own streams by default.
        working_directory: what relative paths in requests mean; the current folder by default.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
        working_directory: Path | None = None,
    ) -> None:
        self.host, self.port = host, port or free_port(host)
        self.api_url = f"http://{host}:{self.port}/api"
        self.ui_url = f"http://{host}:{self.port}"
        self._environment = {**SERVER_SETTINGS, **WORKER_SETTINGS, **os.environ, **(environment or {})}
        self._environment["PREFECT_API_URL"] = self.api_url
        self._environment[WORKING_DIRECTORY] = str((working_directory or Path.cwd()).resolve())
        self._log = log
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, worker: bool = True) -> None:
        """Start both and wait until the server answers. Raises BatchError when it does not, or the port is taken."""
        self._check_port()
        where = ("--host", self.host, "--port", str(self.port))
        self._spawn("prefect_batch.interfaces.prefect_server", "server", "start", *where)
        self._wait_until_healthy()
        with temporary_settings({PREFECT_API_URL: self.api_url}), get_client(sync_client=True) as client:
            ensure_work_pool(client)
        if worker:
            self._spawn("prefect_batch.interfaces.worker")

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

    def _spawn(self, *arguments: str) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        self.processes.append(process)

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.processes[0].poll() is not None:
                raise BatchError(f"the Prefect server ended at once, with exit code {self.processes[0].returncode}")
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
        self.processes.clear()


def _heed_interrupts() -> None:
    """A script's background jobs ignore SIGINT, and what they start inherits that; a Prefect worker ends by it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
