"""Clusters on hosts by ssh: a real sshd, of which each loopback address is a host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from endpoints import Endpoints, until
from ssh_server import HOSTS, Unavailable, ssh_server

from prefect_batch.blocks import store
from prefect_batch.blocks.compute import ComputeCluster
from prefect_batch.blocks.ssh_cluster import HostsCluster

PEER = "os.environ['SSH_CONNECTION'].split()[2]"
"""The address that a process's ssh connection came in at: its host."""


@pytest.fixture(scope="module")
def connect_options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    try:
        with ssh_server(tmp_path_factory.mktemp("sshd")) as options:
            yield options
    except Unavailable as error:
        pytest.skip(str(error))


def made(name: str, connect_options: dict[str, Any], **given: Any) -> ComputeCluster:
    kwargs = {"connect_options": connect_options}
    return ComputeCluster(name=name, type="ssh", hosts=list(HOSTS), cluster_kwargs=kwargs, **given)


def nodes(name: str) -> list[psutil.Process]:
    """Processes that are nodes of the compute."""

    def is_node(process: psutil.Process) -> bool:
        command: list[str] = process.info["cmdline"] or []  # pyright: ignore[reportAttributeAccessIssue]
        # Not the shell that ssh starts it with, which has it all as one argument.
        return "--as" in command and command[command.index("--as") + 1].startswith(f"{name}-")

    return [process for process in psutil.process_iter(["cmdline"]) if is_node(process)]


def host_of(client: Client) -> set[str]:
    # A node that has just been killed does not answer.
    return set(client.run(lambda: eval(PEER, {"os": os}), on_error="ignore").values())


def test_a_job_on_two_hosts(
    endpoints: Endpoints,
    script_deployment: Callable[..., Path],
    numbered_files: Callable[[int], Path],
    connect_options: dict[str, Any],
    tmp_path: Path,
):
    compute = made("ssh-pair", connect_options, idle_time_before_scale_down=0)
    with store.api() as client:
        store.create(compute, compute.name, client)
    # Each waits until the other is there: one host alone would never end.
    run = f"""
    me = {PEER}
    Path({str(tmp_path)!r}, me).touch()
    deadline = time.monotonic() + 120
    while not all(Path({str(tmp_path)!r}, host).exists() for host in {HOSTS!r}):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [me for _ in mini_batch]
    """
    settings = {"mini_batch_size": 1, "instance_count": 2, "max_concurrency_per_instance": 1}
    path = script_deployment(run, compute="ssh-pair", retry_settings="{timeout: 300}", **settings)
    endpoints.deploy(path, "ssh-pair")
    ended = endpoints.run("ssh-pair", numbered_files(6))
    assert ended.state == "Completed", ended.message
    assert set(ended.predictions.decode().splitlines()[1:]) == set(HOSTS)
    until("hosts without a node", lambda: not nodes("ssh-pair"))


def test_hosts_are_shared_lost_and_given_back(connect_options: dict[str, Any]):
    compute = made("ssh-shared", connect_options)
    _, arguments = compute.kind().cluster(compute.shape(_Settings()))
    with (
        HostsCluster(**arguments) as one,
        HostsCluster(**arguments) as other,
        Client(one) as client,
        Client(other) as another,
    ):
        client.wait_for_workers(1, timeout=120)
        another.wait_for_workers(1, timeout=120)
        assert host_of(client) | host_of(another) == set(HOSTS)
        other.scale(2)  # there is no third host: it waits for one, and goes on with what it has
        (held,) = host_of(client)
        one.close()
        until("the host that was given back", lambda: host_of(another) == set(HOSTS))
        assert held in host_of(another)
        lost = next(node for node in nodes("ssh-shared"))
        lost.kill()
        until("one host", lambda: len(host_of(another)) == 1)

        def is_mended() -> bool:
            other.scale(2)  # as whoever looks after a cluster does now and then
            return host_of(another) == set(HOSTS)

        until("another in its place", is_mended)
    until("hosts without a node", lambda: not nodes("ssh-shared"))


def test_nothing_stays_on_the_hosts_when_the_process_here_is_killed(connect_options: dict[str, Any], tmp_path: Path):
    compute = made("ssh-killed", connect_options)
    _, arguments = compute.kind().cluster(compute.shape(_Settings()))
    code = (
        "import sys; from distributed import Client; from prefect_batch.blocks.ssh_cluster import HostsCluster\n"
        f"cluster = HostsCluster(**{arguments!r})\n"
        "Client(cluster).wait_for_workers(1)\n"
        "print(cluster.scheduler_address, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        port = int(address.rpartition(":")[2])
        assert len(nodes("ssh-killed")) == 1
        process.send_signal(signal.SIGKILL)
    until("hosts without a node", lambda: not nodes("ssh-killed"))
    until("no scheduler", lambda: port not in {c.laddr.port for c in psutil.net_connections() if c.status == "LISTEN"})


class _Settings:
    instance_count = 1
    max_concurrency_per_instance = 1
