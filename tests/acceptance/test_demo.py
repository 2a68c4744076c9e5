"""`make demo`: what a person sees, and that nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "examples" / "demo.py")]
Demo = Callable[..., str]


def processes(folder: Path) -> list[psutil.Process]:
    """All that runs with this folder as the demo's."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_BATCH_DEMO_DIR") == str(folder):
                found.append(process)
        except psutil.Error:
            pass
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_in(printed: str) -> int:
    match = re.search(r"Web page: http://127\.0\.0\.1:(\d+)", printed)
    assert match, printed
    return int(match[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("demo") / "state"
    yield folder
    for process in processes(folder):  # a test that failed
        process.kill()


@pytest.fixture
def demo(folder: Path) -> Demo:
    def call(*arguments: str) -> str:
        environment = {**os.environ, "PREFECT_BATCH_DEMO_DIR": str(folder)}
        done = subprocess.run(
            [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return call


def check_result(printed: str) -> None:
    assert re.search(r"state +Completed\n", printed)
    assert "150 of 150 files scored, 300 rows" in printed
    assert re.search(r"row +prediction +file_name *\n +0 +benign +patients-000\.csv", printed)
    assert '$ prefect deployment run endpoint/default --param \'inputs={"data": ' in printed
    found = re.search(r"All of them: (.+)\n", printed)
    assert found
    lines = Path(found[1]).read_text().splitlines()
    assert len(lines) == 301 and lines[0] == "row,prediction,file_name"
    port = port_in(printed)
    assert re.search(rf"ui +http://127\.0\.0\.1:{port}/runs/flow-run/[0-9a-f-]{{36}}\n", printed)


def test_from_nothing_to_predictions_and_again(demo: Demo, folder: Path):
    first = demo()
    check_result(first)
    assert "The server is stopped." in first
    assert processes(folder) == [] and not listens(port_in(first))

    second = demo("--keep")
    check_result(second)
    assert "Trained on" not in second  # what is there already is taken
    port = port_in(second)
    assert httpx.get(f"http://127.0.0.1:{port}/api/health").status_code == 200
    assert f"export PREFECT_API_URL=http://127.0.0.1:{port}/api" in second

    third = demo()
    check_result(third)
    assert port_in(third) == port and "was still running" in third
    assert listens(port)

    assert "is stopped" in demo("--stop")
    assert processes(folder) == [] and not listens(port)
    assert "No server" in demo("--stop")


def test_ctrl_c_leaves_nothing(folder: Path):
    environment = {**os.environ, "PREFECT_BATCH_DEMO_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        COMMAND, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    assert process.stdout is not None
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith("Deployment "):  # in the middle of a job
            os.killpg(process.pid, signal.SIGINT)
            break
    printed += process.stdout.read()
    assert process.wait(timeout=60) == 130, printed
    assert "Interrupted. Nothing is left running." in printed
    assert processes(folder) == [] and not listens(port_in(printed))
