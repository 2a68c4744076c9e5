"""`prefect-batch server` and `prefect-batch worker`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..blocks import store
from ..flows.locations import WORKING_DIRECTORY
from ..flows.publication import ensure_work_pool
from . import terminal
from .local_server import WORKER, WORKER_SETTINGS, LocalServer, worker_options

Limit = Annotated[
    int | None,
    Parameter(help="Jobs that run at the same time; others wait. Default: twice the processors, at least 4."),
]

app = App(name="server")
worker_app = App(name="worker")


@app.command(name="start")
def server_start(
    *,
    host: str = "127.0.0.1",
    port: int = 4200,
    worker: Annotated[bool, Parameter(help="Also run jobs on this machine.")] = True,
    limit: Limit = None,
) -> None:
    """Start a Prefect server with its UI, and a worker; both end with Ctrl-C.

    Example: prefect-batch server start --port 4200
    """
    signal.signal(signal.SIGTERM, _exit)
    server = LocalServer(host, port, limit=limit)
    try:
        server.start(worker)
        terminal.note(f"UI: {server.ui_url}\nIn other terminals: prefect config set PREFECT_API_URL={server.api_url}")
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def _exit(number: int, frame: object) -> None:
    """End in the ordinary way, so that what was started is stopped."""
    sys.exit(128 + number)


@worker_app.command(name="start")
def worker_start(*, limit: Limit = None) -> None:
    """Run jobs on this machine; relative paths in requests mean the current folder. Ends with Ctrl-C.

    Example: PREFECT_API_URL=http://host:4200/api prefect-batch worker start
    """
    with store.api() as client:
        ensure_work_pool(client)
    environment = {**WORKER_SETTINGS, **os.environ, WORKING_DIRECTORY: str(Path.cwd())}
    command = [sys.executable, "-m", WORKER, *worker_options(limit)]
    os.execve(sys.executable, command, environment)  # nosec B606 # this very program goes on as another
