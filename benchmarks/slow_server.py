"""What a slow server costs a job, and one that dies under it: nothing, as scoring never waits for the API."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import httpx
import mini_batches
from bench import HERE, Bench, Result
from measuring import LIMIT_SECONDS, BenchmarkFailed, Taken, processor_seconds
from ours import Ours
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_batch.interfaces.local_server import WORKER_SETTINGS, LocalServer, free_port, stop_process

FILES, LEAST_FILES, SLEEP_SECONDS = 400, 40, 0.1
DELAY_SECONDS, AWAY_SECONDS = 0.3, 10.0
KILLED_AFTER = 1.0
"""Seconds of scoring: it is well on its way, and ends after the server is back."""
UNDISTURBED, DELAYED, RESTARTED = "undisturbed", "delayed", "restarted"
SCRIPT = """
import time
from pathlib import Path


def init():
    pass


def run(mini_batch):
    Path({mark!r}).touch()
    time.sleep({seconds})
    return [1] * len(mini_batch)
"""


def measure(bench: Bench) -> Result:
    """The same job: undisturbed, with each request DELAY_SECONDS later, and with the server killed in mid-scoring.

    On a server of the part's own, with a new worker for each job.
    """
    folder = bench.work / "slow"
    folder.mkdir()
    mark, count = folder / "scoring", bench.scaled(FILES, LEAST_FILES)
    files = mini_batches.empty_files(bench.cache, count)
    found: Result = {name: [] for name in (UNDISTURBED, DELAYED, RESTARTED)}
    with (folder / "server.log").open("wb") as log:
        home = {"PREFECT_HOME": str(folder / "prefect")}
        server = LocalServer(environment=home, log=log, working_directory=folder)
        ours = Ours(server, folder)
        try:
            server.start(worker=False)
            script = SCRIPT.format(mark=str(mark), seconds=SLEEP_SECONDS).lstrip()
            mini_batches.deploy(dataclasses.replace(bench, ours=ours), "asleep", script)
            for number in range(bench.repeat):
                for name, runs in found.items():
                    mark.unlink(missing_ok=True)
                    with _worker(server, home, DELAY_SECONDS if name == DELAYED else 0.0, log):
                        taken, summary = _run(ours, files, folder / f"{name}-{number}", mark, name == RESTARTED)
                    if summary["succeeded"] != count:
                        raise BenchmarkFailed(f"{name}: {summary}")
                    runs.append(taken.plain())
                    bench.say(f"{name} {number + 1}/{bench.repeat}: {taken.wall:.1f} s, scoring {taken.scoring:.1f} s")
        finally:
            server.stop()
    return found


@contextlib.contextmanager
def _worker(server: LocalServer, home: dict[str, str], delay: float, log: IO[bytes]) -> Generator[None]:
    """A worker while the block runs, each of whose requests, and of its jobs', reaches the server that much later."""
    with _delayed(server.port, delay) if delay else contextlib.nullcontext(server.port) as port:
        env = WORKER_SETTINGS | os.environ | home | {"PREFECT_API_URL": f"http://{server.host}:{port}/api"}
        command = [sys.executable, "-m", "prefect_batch.interfaces.worker"]
        worker = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield
        finally:
            stop_process(worker)


@contextlib.contextmanager
def _delayed(port: int, delay: float) -> Generator[int]:
    """A process of its own, as this one may be busy."""
    listen = free_port()
    command = [sys.executable, HERE / "delay_line.py", str(listen), str(port), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as line:
        assert line.stdout is not None
        line.stdout.readline()
        try:
            yield listen
        finally:
            line.kill()


def _run(ours: Ours, files: Path, out: Path, mark: Path, restarted: bool) -> tuple[Taken, dict[str, Any]]:
    """One job, which is not followed: who follows may not survive the server."""
    busy, began = processor_seconds(), time.time()
    job = ours.call("invoke", "asleep", "--input", files, "--output-path", out).split()[0]
    if restarted:
        _restart(ours.server, mark)
    ended = _end(ours.server, job)
    busy = processor_seconds() - busy
    summary = json.loads(ours.call("job", "show", job, "-o", "json"))["summary"]
    return Taken(ended.timestamp() - began, busy, summary["seconds"]["scoring"]), summary


def _restart(server: LocalServer, mark: Path) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not mark.exists():
        if time.monotonic() > deadline:
            raise BenchmarkFailed("nothing is scored")
        time.sleep(0.05)
    time.sleep(KILLED_AFTER)
    server.processes[0].kill()
    server.processes[0].wait()
    server.stop()
    time.sleep(AWAY_SECONDS)
    server.start(worker=False)


def _end(server: LocalServer, job: str) -> datetime:
    """When it has ended, asked again and again."""
    deadline = time.monotonic() + LIMIT_SECONDS
    with temporary_settings({PREFECT_API_URL: server.api_url}), get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                run = client.read_flow_run(job)
                if run.state is not None and run.state.is_final():
                    assert run.end_time is not None
                    return run.end_time
            time.sleep(0.5)
    raise BenchmarkFailed(f"job {job} does not end")
