"""Debian's PostgreSQL, on a port of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from storage_servers import Unavailable

from prefect_batch.interfaces.local_server import free_port

PROGRAMS = Path("/usr/lib/postgresql")
INSTALL_SECONDS = 300.0


@contextlib.contextmanager
def running() -> Generator[str]:
    """A server while the block runs; the URL of an empty database, for Prefect. Raises Unavailable."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        data, port = Path(folder) / "data", free_port()
        subprocess.run(["chown", "nobody", folder], check=True)
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=200"
        made = [str(programs / "initdb"), "-D", str(data), "-U", "prefect", "--auth=trust"]
        subprocess.run([*as_nobody, *made], check=True, capture_output=True, cwd=folder)
        ctl = [*as_nobody, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        with (Path(folder) / "log").open("wb") as log:
            subprocess.run([*ctl, "-o", options, "start"], check=True, stdout=log, stderr=log, cwd=folder)
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)


def _programs() -> Path:
    """Their folder, installed on the first call."""
    if os.geteuid() != 0:
        raise Unavailable("PostgreSQL is started as another user, which only root may")
    for attempt in range(2):
        if found := sorted(PROGRAMS.glob("*/bin/initdb")):
            return found[-1].parent
        if attempt == 0:
            command = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql"]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS, check=False)
    raise Unavailable("there is no PostgreSQL here, and apt-get cannot install it")
