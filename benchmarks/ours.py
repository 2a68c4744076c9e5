"""A server, a worker and endpoints of the benchmark's own, called as a user calls them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import measuring
from measuring import BenchmarkFailed, Taken
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_batch.interfaces.local_server import LocalServer
from prefect_batch.scoring.supervisor import ONE_THREAD

BIN = Path(sys.executable).parent


def plain_environment(home: Path) -> dict[str, str]:
    """This process's variables without a developer's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    own = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    found = {"PYTHONPATH": str(Path(__file__).parent / "synthetic"), "MLFLOW_DISABLE_TELEMETRY": "true"}
    # For all contenders: two processes of one thread each on two processors.
    return kept | own | ONE_THREAD | found


class Ours:
    """A running server with a worker.

    Attributes:
        server: that was started.
        env: variables for commands.
        folder: for files of deployments.
    """

    def __init__(self, server: LocalServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.env = dict(os.environ) | {"PREFECT_API_URL": server.api_url}

    def call(self, *arguments: str | Path) -> str:
        """What our command prints. Raises BenchmarkFailed."""
        return measuring.run([BIN / "prefect-batch", *arguments], self.env, self.folder)[1]

    def deploy(self, endpoint: str, document: Mapping[str, Any], **files: str) -> None:
        """An endpoint with one deployment. Files are written beside its document."""
        folder = self.folder / endpoint
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        path = folder / "deployment.yml"
        path.write_text(json.dumps({"name": "only", "endpoint_name": endpoint, "type": "model", **document}))
        self.call("endpoint", "create", endpoint)
        self.call("deployment", "create", "-f", path, "--set-default")

    def run(self, endpoint: str, data: Path | str, out: Path) -> tuple[Taken, dict[str, Any]]:
        """One job by `prefect deployment run … --watch`; what it took until its outputs were in place, and its summary.

        The command itself takes up to five seconds more to see that the job has ended.
        """
        measuring.at_rest()
        began = time.time()
        given = ["--param", f"input={data}", "--param", f"outputs={json.dumps({'score': {'path': str(out)}})}"]
        command = [BIN / "prefect", "deployment", "run", f"endpoint/{endpoint}", *given, "--watch"]
        followed, told = measuring.run(command, self.env, self.folder)
        found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told)
        if found is None:
            raise BenchmarkFailed(f"no job's id in: {told}")
        summary = json.loads(self.call("job", "show", found[0], "-o", "json"))["summary"]
        with get_client(sync_client=True) as client:
            ended = client.read_flow_run(found[0]).end_time
        assert ended is not None
        return Taken(ended.timestamp() - began, followed.busy, summary["seconds"]["scoring"]), summary


@contextlib.contextmanager
def served(folder: Path) -> Generator[Ours]:
    """A server and a worker while the block runs; the environment of this process points at it."""
    os.environ.clear()
    os.environ.update(plain_environment(folder / "prefect"))
    with (folder / "server.log").open("wb") as log:
        server = LocalServer(log=log, working_directory=folder)
        try:
            server.start()
            os.environ["PREFECT_API_URL"] = server.api_url
            # Prefect, long imported, heeds no variable: its clients would start a server beside ours.
            with temporary_settings({PREFECT_API_URL: server.api_url}):
                yield Ours(server, folder)
        finally:
            server.stop()
