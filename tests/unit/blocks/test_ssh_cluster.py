"""Hosts by ssh as nodes, and what ties processes there to whoever started them. Whole jobs: tests/integration."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect_batch.blocks.ssh_cluster import HostsCluster

TETHER = [sys.executable, "-P", "-m", "prefect_batch.scoring.tether"]
SLEEPER = "import time\nprint('runs', flush=True)\ntime.sleep(3600)\n"


def test_nodes_try_the_hosts_from_their_own_on():
    async def make() -> Any:
        options: dict[str, Any] = {"connect_options": {"username": "x"}, "remote_python": "python"}
        options |= {"worker_options": {"nthreads": 2}, "scheduler_options": {"port": 0}, "lock_name": "c"}
        return HostsCluster(["a", "b", "a"], 2, **options, asynchronous=True)  # which does not start it

    cluster = asyncio.run(make())
    assert cluster.worker_spec[1]["options"]["kwargs"] == {"nthreads": 2, "name": 1}
    assert set(cluster.new_worker_spec()) == {2}

    async def node(spec: dict[str, Any]) -> Any:
        return spec["cls"]("tcp://scheduler", **spec["options"], name=1)

    places: list[tuple[str, str]] = asyncio.run(node(cluster.worker_spec[1]))._places
    assert [(host, command.split()[-1]) for host, command in places] == [("b", "c-b-0"), ("a", "c-a-1"), ("a", "c-a-0")]


def tethered(folder: Path, *options: str) -> subprocess.Popen[str]:
    (folder / "sleeper.py").write_text(SLEEPER)
    environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "TMPDIR": str(folder)}
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*TETHER, *options, "-m", "sleeper"], env=environment, text=True, **pipes)


def test_a_tethered_process_ends_with_its_stdin(tmp_path: Path):
    with tethered(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "runs\n"
        process.stdin.close()
        assert process.wait(120) < 0


def test_one_of_a_name_runs_at_a_time(tmp_path: Path):
    with tethered(tmp_path, "--as", "c-0") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "runs\n"
        with tethered(tmp_path, "--as", "c-0") as second:
            assert second.wait(120) == 1
            assert second.stderr is not None
            assert second.stderr.read() == "c-0 runs on this machine already\n"
        with tethered(tmp_path, "--as", "c-1") as third:
            assert third.stdout is not None
            assert third.stdout.readline() == "runs\n"
            third.kill()
        first.kill()
    with tethered(tmp_path, "--as", "c-0") as again:
        assert again.stdout is not None
        assert again.stdout.readline() == "runs\n"
        again.kill()
