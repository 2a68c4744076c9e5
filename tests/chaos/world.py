"""A Prefect server and a worker that a test may break, and all that runs and lies around for them."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from endpoints import Endpoints
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from processes import is_running, worker_pid
from telling import say_all

from prefect_batch.flows import catalog
from prefect_batch.interfaces.local_server import LocalServer

BIN = Path(sys.executable).parent
ROLES = {
    "scoring process": "scoring.process",
    "Dask worker": "cli.dask_spec",
    "flow": "prefect.engine",
    "scheduler": "prefect_batch.flows.cluster_host",
}
"""What a job's processes are called by the system, or the last of their arguments, by what they are to us."""
SQLITE = "SQLite"
SECONDS = 180.0


class World(Endpoints):
    """Endpoints on a server of its own, whose processes have all their folders below one.

    Args:
        folder: for the log of its processes, which stays.
        environment: variables for its processes.
        database: the server's: SQLite in a file, or the URL of another.
        root: of all its folders, which goes when it ends.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        database: str = SQLITE,
        root: Path | None = None,
    ) -> None:
        self.database = database
        self.root = root = root or Path(tempfile.mkdtemp(prefix="world-"))  # short, for it holds sockets
        self.home, self.temporary = root / "prefect", root / "tmp"
        for path in (self.home, self.temporary):
            path.mkdir(parents=True)
        own = {"PREFECT_HOME": str(self.home), "TMPDIR": str(self.temporary)} | dict(environment or {})
        if database != SQLITE:
            own["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        self._log = (folder / "log").open("wb")
        self._folders = dict[UUID, Path]()
        self.local = LocalServer(environment=own, log=self._log, working_directory=root)
        self.environment = {**os.environ, **own, "PREFECT_API_URL": self.local.api_url}

    @contextlib.contextmanager
    def running(self) -> Generator[World]:
        """The server and the worker while the block runs; clients of this process mean that server."""
        settings = {PREFECT_API_URL: self.local.api_url, PREFECT_HOME: self.home}
        with temporary_settings(settings), self._log:
            try:
                self.local.start()
                yield self
            finally:
                say_all()
                self.local.stop()
                for process in self.processes():
                    process.kill()
                shutil.rmtree(self.root, ignore_errors=True)

    def processes(self, role: str | None = None) -> list[psutil.Process]:
        """All that were started in this world, or those of one of ROLES."""
        home, found = str(self.home), list[psutil.Process]()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if role is not None and ROLES[role] not in (process.name(), *process.cmdline()[-1:]):
                    continue
                if process.environ().get("PREFECT_HOME") == home and is_running(process.pid):
                    found.append(process)
        return found

    def until_some(self, role: str) -> list[psutil.Process]:
        """The processes of a role as soon as there are any. Raises TimeoutError."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if found := self.processes(role):
                return found
            time.sleep(0.02)
        raise TimeoutError(f"no {role} came")

    def start_worker(self) -> None:
        """After it was killed; waits until it has the port on which it hears of what it runs."""
        self.local.start_worker()
        assert self.local.worker is not None
        worker, deadline = psutil.Process(self.local.worker.pid), time.monotonic() + SECONDS
        while not any(one.status == "LISTEN" for one in worker.net_connections()):
            assert time.monotonic() < deadline, "no worker came"
            time.sleep(0.05)

    def deploy_script(self, endpoint: str, run: str, init: str = "pass", **settings: Any) -> None:
        """An endpoint with a scoring script, as tests/conftest.py's `script_deployment` has it."""
        folder = self.root / "deployments" / endpoint
        (folder / "code").mkdir(parents=True)
        body, start = (textwrap.indent(textwrap.dedent(code).strip(), "    ") for code in (run, init))
        (folder / "code" / "score.py").write_text(
            f"import os, sys, time\nfrom pathlib import Path\n\n\n{inspect.getsource(worker_pid)}\n\n"
            f"def init():\n{start}\n\n\ndef run(mini_batch):\n{body}\n"
        )
        lines = [f"name: only\nendpoint_name: {endpoint}\ntype: model"]
        if "compute" in settings:
            lines.append(f"compute: {settings.pop('compute')}")
        lines.append("code_configuration:\n  code: code\n  scoring_script: score.py\nsettings:")
        lines += [f"  {key}: {value}" for key, value in settings.items()] or ["  {}"]
        (folder / "deployment.yml").write_text("\n".join(lines) + "\n")
        self.make(endpoint)
        with get_client(sync_client=True) as client:
            catalog.create_deployment(client, folder / "deployment.yml", endpoint=endpoint, set_default=True)

    def command(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """`prefect-batch` with arguments, running."""
        return subprocess.Popen(
            [str(BIN / "prefect-batch"), *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def parts(self, job: UUID) -> int:
        """How many a job has committed; only at the first time the server is asked where."""
        folder = self._folders[job] = self._folders.get(job) or self.folder(job)
        return len(list((folder / "parts").rglob("*.part")))

    def any_of(self, role: str, dice: random.Random) -> psutil.Process:
        """One of those that are there when there are any."""
        return dice.choice(self.until_some(role))


def kill(process: subprocess.Popen[bytes] | None) -> None:
    assert process is not None
    process.kill()
    process.wait()
