"""`prefect-batch server start`, as somebody else's process would start and stop it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from prefect_batch.interfaces.local_server import LocalServer, free_port

BIN = Path(sys.executable).parent


def processes_with(text: str) -> list[int]:
    """Processes whose environment holds a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_starts_answers_and_leaves_nothing(tmp_path: Path, end: signal.Signals):
    port, home = free_port(), f"PREFECT_HOME={tmp_path / 'home'}"
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home")}
    command = [str(BIN / "prefect-batch"), "server", "start", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        seen, deadline = b"", time.monotonic() + 120
        while b"started!" not in seen:  # the worker's own line
            assert select.select([process.stdout], [], [], deadline - time.monotonic())[0], seen.decode()
            chunk = os.read(process.stdout.fileno(), 65_536)
            assert chunk, seen.decode()
            seen += chunk
        assert f"prefect config set PREFECT_API_URL=http://127.0.0.1:{port}/api" in seen.decode()
        assert httpx.get(f"http://127.0.0.1:{port}/api/health").json() is True
        assert len(processes_with(home)) >= 3
    finally:
        process.send_signal(end)
        process.communicate(timeout=60)
    assert process.returncode == (0 if end == signal.SIGINT else 143)
    assert processes_with(home) == []


def test_a_taken_port_is_said(server: LocalServer, cli: Callable[..., subprocess.CompletedProcess[str]]):
    done = cli("server", "start", "--port", str(server.port), code=1)
    assert f"cannot listen on 127.0.0.1:{server.port}" in done.stderr
    assert "try another --port" in done.stderr
