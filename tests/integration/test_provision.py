"""Clusters that are made for a job, kept for the next one, mended, and given back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from endpoints import Endpoints, until
from prefect.client.orchestration import SyncPrefectClient
from processes import is_running

from prefect_batch.blocks import ledger
from prefect_batch.blocks.compute import ComputeCluster, save_compute
from prefect_batch.flows import provision
from prefect_batch.flows.usage import Usage, read_usages
from prefect_batch.scoring.storage import Folder

Write = Callable[..., Path]
Files = Callable[[int], Path]
Make = Callable[..., str]


@pytest.fixture
def compute(client: SyncPrefectClient) -> Iterator[Make]:
    """Makes computes whose kept clusters end with the test."""
    made: list[str] = []

    def make(name: str, **keys: Any) -> str:
        made.append(name)
        return save_compute(client, ComputeCluster(name=name, **keys)).name

    yield make
    for name in made:
        provision.stop_kept(client, name)
    for name in made:
        until(f"the end of the clusters of {name}", lambda name=name: not ledger.read(client, name).kept)


@pytest.fixture
def pids(script_deployment: Write, endpoints: Endpoints) -> Callable[..., str]:
    """Makes an endpoint on a compute whose script gives the process of its Dask worker."""

    def make(name: str, compute: str, run: str = "return [worker_pid() for _ in mini_batch]", **settings: Any) -> str:
        endpoints.deploy(script_deployment(run, compute=f"azureml:{compute}", mini_batch_size=1, **settings), name)
        return name

    return make


def workers(predictions: bytes) -> set[int]:
    return {int(line) for line in predictions.split()[1:]}


def usages(folder: Path) -> list[Usage]:
    return read_usages(Folder(str(folder)))


def host_pid(client: SyncPrefectClient, compute: str) -> int:
    """Of the one kept cluster."""
    (kept,) = ledger.read(client, compute).kept
    return int(kept.id.rsplit("-", 2)[1])


def test_a_cluster_of_its_own(endpoints: Endpoints, compute: Make, pids: Callable[..., str], numbered_files: Files):
    compute("provision-own", max_instances=2, idle_time_before_scale_down=0, price_per_instance_hour=3600.0)
    ended = endpoints.run(pids("provision-own", "provision-own", instance_count=2), numbered_files(4))
    assert ended.state == "Completed", ended.message
    until("the end of the nodes", lambda: not any(map(is_running, workers(ended.predictions))))
    (usage,) = usages(ended.folder)
    assert (usage.asked, usage.processes, usage.nodes_lost, usage.warm) == (2, 1, 0, False)
    assert [count for _, count in usage.counts][-2:] == [2, 0]
    assert 0 < (usage.cost or 0) <= 2 * usage.seconds
    assert max(count for _, count in ended.summary["instances"]) == 2


@pytest.mark.parametrize("files", [1, 4])
def test_nobody_from_elsewhere_reaches_a_cluster_of_this_machine(
    endpoints: Endpoints, pids: Callable[..., str], numbered_files: Files, tmp_path: Path, files: int
):
    """Who reaches a Dask worker may run code in it. One file needs no worker process of its own."""
    here, go = tmp_path / "here", tmp_path / "go"
    run = f"""
    Path({str(here)!r}).write_text(str(worker_pid()))
    while not os.path.exists({str(go)!r}):
        time.sleep(0.05)
    return mini_batch
    """
    endpoint = pids(f"provision-loopback-{files}", "local", run, retry_settings="{timeout: 600}")
    job = endpoints.invoke(endpoint, numbered_files(files))
    node = int(endpoints.until(job, "its script", lambda _: here.exists() and here.read_text()))
    flow = endpoints.flow_pid(job)
    sockets = [one for pid in {node, flow} for one in psutil.Process(pid).net_connections() if one.status == "LISTEN"]
    go.touch()
    assert endpoints.wait(job).state == "Completed"
    assert (node == flow) == (files == 1)
    assert sockets or files == 1
    assert {one.laddr.ip for one in sockets} <= {"127.0.0.1"}


def test_the_next_job_has_the_kept_cluster(
    endpoints: Endpoints, compute: Make, pids: Callable[..., str], numbered_files: Files, client: SyncPrefectClient
):
    name = compute("provision-warm", max_instances=2)
    endpoint = pids("provision-warm", name, max_concurrency_per_instance=1)
    data = numbered_files(3)
    first = endpoints.run(endpoint, data)
    assert first.state == "Completed", first.message
    second = endpoints.run(endpoint, data)
    assert second.state == "Completed", second.message
    assert workers(first.predictions) == workers(second.predictions)
    assert [usage.warm for ended in (first, second) for usage in usages(ended.folder)] == [False, True]
    (kept,) = ledger.read(client, name).kept
    assert (kept.job, kept.instances) == (None, 1)
    wider = endpoints.run(endpoint, data, settings={"instance_count": 2})
    assert wider.state == "Completed", wider.message
    (usage,) = usages(wider.folder)
    assert usage.warm and max(count for _, count in usage.counts) == 2
    host = host_pid(client, name)
    assert provision.stop_kept(client, name) == 1
    until("the end of the host", lambda: not is_running(host))
    assert not any(map(is_running, workers(wider.predictions)))


def test_a_killed_host_is_made_up_for(
    endpoints: Endpoints, compute: Make, pids: Callable[..., str], numbered_files: Files, client: SyncPrefectClient
):
    name = compute("provision-killed", max_instances=1)
    endpoint, data = pids("provision-killed", name), numbered_files(2)
    assert endpoints.run(endpoint, data).state == "Completed"
    host = host_pid(client, name)
    os.kill(host, signal.SIGKILL)
    until("the death of the host", lambda: not is_running(host))
    ended = endpoints.run(endpoint, data)
    assert ended.state == "Completed", ended.message
    assert host_pid(client, name) != host


def test_an_idle_cluster_goes(
    endpoints: Endpoints, compute: Make, pids: Callable[..., str], numbered_files: Files, client: SyncPrefectClient
):
    name = compute("provision-idle", max_instances=1, idle_time_before_scale_down=1)
    ended = endpoints.run(pids("provision-idle", name), numbered_files(1))
    assert ended.state == "Completed", ended.message
    until("no kept cluster", lambda: not ledger.read(client, name).kept)
    until("the end of its nodes", lambda: not any(map(is_running, workers(ended.predictions))))


def test_no_node_for_too_long(endpoints: Endpoints, pids: Callable[..., str], numbered_files: Files, compute: Make):
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        compute("provision-empty", type="address", address=cluster.scheduler_address)
        ended = endpoints.run(pids("provision-empty", "provision-empty", node_wait_timeout=1), numbered_files(1))
    assert ended.state == "Failed"
    assert "had no node for 1 s (node_wait_timeout)" in ended.message
    assert f"prefect-batch job resume {ended.id}" in ended.message


def test_a_scheduler_that_is_not_there(
    endpoints: Endpoints, pids: Callable[..., str], numbered_files: Files, compute: Make
):
    compute("provision-nobody", type="address", address="tcp://127.0.0.1:1")
    import dask.config

    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        ended = endpoints.run(pids("provision-nobody", "provision-nobody"), numbered_files(1))
    assert ended.state == "Failed"
    assert "the Dask scheduler at tcp://127.0.0.1:1 does not answer" in ended.message
