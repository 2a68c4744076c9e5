"""The life of kept clusters: of what they end, and what jobs that end in any way leave for the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from endpoints import Ended, Endpoints, until
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from processes import below, is_running

from prefect_batch.blocks import ledger, store
from prefect_batch.blocks.compute import ComputeCluster, save_compute
from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.flows import cluster_host, jobs, provision
from prefect_batch.flows.line_tending import tend
from prefect_batch.interfaces.local_server import LocalServer

from .test_provision import host_pid, usages, workers

Files = Callable[[int], Path]
ONE = ModelSettings()


@pytest.fixture
def make(client: SyncPrefectClient) -> Iterator[Callable[..., ComputeCluster]]:
    """Makes computes of one instance whose kept clusters end with the test."""
    made: list[ComputeCluster] = []

    def save(name: str, **keys: Any) -> ComputeCluster:
        made.append(save_compute(client, ComputeCluster(name=name, **{"max_instances": 1, **keys})))
        return made[-1]

    yield save
    for compute in made:
        until("no job", lambda compute=compute: not tend(client, compute).jobs)
        provision.stop_kept(client, compute.name)
        until("no kept cluster", lambda compute=compute: not ledger.read(client, compute.name).kept)


@pytest.fixture
def patient(endpoints: Endpoints, script_deployment: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """Makes an endpoint whose script waits for the file `release`, and gives the process of its Dask worker."""

    def deploy(compute: str, **settings: Any) -> str:
        run = f"""
        Path({str(tmp_path)!r}, f"began-{{worker_pid()}}").touch()
        while not os.path.exists({str(tmp_path / "release")!r}):
            time.sleep(0.05)
        return [worker_pid() for _ in mini_batch]
        """
        settings = {"mini_batch_size": 1, "retry_settings": "{timeout: 600}", **settings}
        endpoints.deploy(script_deployment(run, compute=f"azureml:{compute}", **settings), compute)
        return compute

    return deploy


def began(folder: Path) -> list[int]:
    """The Dask workers on which a script has begun."""
    return [int(path.name.removeprefix("began-")) for path in folder.glob("began-*")]


def begin(compute: ComputeCluster, client: SyncPrefectClient) -> set[int]:
    """An idle kept cluster, whose job has ended before it began; returns its processes."""
    shape = compute.shape(ONE)
    cluster_host.start(compute, shape, shape.node_label, str(uuid4()))
    return of_host(compute, client)


def of_host(compute: ComputeCluster, client: SyncPrefectClient) -> set[int]:
    until("an idle cluster", lambda: [kept for kept in ledger.read(client, compute.name).kept if kept.job is None])
    host = host_pid(client, compute.name)
    return {host, *below(host)}


def all_ended(pids: set[int]) -> bool:
    return not any(map(is_running, pids))


def test_a_deleted_compute_takes_its_idle_cluster_with_it(
    client: SyncPrefectClient, make: Callable[..., ComputeCluster]
):
    compute = make("kept-deleted")
    pids = begin(compute, client)
    store.delete(ComputeCluster, compute.name, client)
    until("the end of the host", lambda: all_ended(pids))
    assert not ledger.read(client, compute.name).kept
    assert not logs(compute)


def logs(compute: ComputeCluster) -> list[Path]:
    return list((get_current_settings().home / "prefect-batch" / "clusters").glob(f"{compute.name}-*"))


def test_a_host_whose_job_died_while_it_started_is_there_for_others_and_ends_as_asked(
    client: SyncPrefectClient, make: Callable[..., ComputeCluster]
):
    compute = make("kept-asked")
    code = (
        "from prefect_batch.blocks.compute import ComputeCluster\n"
        "from prefect_batch.blocks.settings import ModelSettings\n"
        "from prefect_batch.flows import cluster_host\n"
        f"compute = ComputeCluster(name={compute.name!r}, max_instances=1)\n"
        "shape = compute.shape(ModelSettings())\n"
        f"cluster_host.start(compute, shape, shape.node_label, {str(uuid4())!r})\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code]) as starting:
        until("a host", lambda: logs(compute))
        until("its process", lambda: below(starting.pid))
        starting.kill()
    pids = of_host(compute, client)
    os.kill(host_pid(client, compute.name), signal.SIGTERM)
    until("the end of the host", lambda: all_ended(pids))
    assert not ledger.read(client, compute.name).kept
    assert not logs(compute)


def test_an_idle_cluster_does_not_outlive_the_server(
    client: SyncPrefectClient, make: Callable[..., ComputeCluster], proxied: Callable[..., Any], server: LocalServer
):
    compute, proxy = make("kept-alone"), proxied(server.ui_url)
    with temporary_settings({PREFECT_API_URL: f"{proxy.url}/api"}):
        pids = begin(compute, client)
    proxy.every["failed"] = 1
    until("the end of the host", lambda: all_ended(pids))
    (kept,) = ledger.read(client, compute.name).kept
    ledger.change(client, compute.name, lambda held, _: held.without_kept(kept.id))  # or wait until it lapses


def test_a_cluster_that_ends_while_the_server_is_busy_leaves_no_entry(
    client: SyncPrefectClient, make: Callable[..., ComputeCluster], proxied: Callable[..., Any], server: LocalServer
):
    compute = make("kept-busy")
    proxy = proxied(server.ui_url, match=lambda method, path: method == "POST" and path == "/api/block_documents/")
    with temporary_settings({PREFECT_API_URL: f"{proxy.url}/api"}):
        pids = begin(compute, client)
    proxy.every["failed"] = 1
    provision.stop_kept(client, compute.name)
    until("more tries than Prefect's client makes", lambda: proxy.faults["failed"] > 2)
    proxy.every["failed"] = 0
    until("the end of the host", lambda: all_ended(pids))
    assert not ledger.read(client, compute.name).kept
    assert not logs(compute)


def test_what_is_always_kept(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    make: Callable[..., ComputeCluster],
    patient: Callable[..., str],
    numbered_files: Files,
    tmp_path: Path,
):
    compute = make("kept-always", max_instances=2, min_instances=1, idle_time_before_scale_down=1)
    (tmp_path / "release").touch()
    endpoint, data = patient(compute.name), numbered_files(2)
    first = endpoints.run(endpoint, data, settings={"instance_count": 2})
    assert first.state == "Completed", first.message
    host = host_pid(client, compute.name)
    until("one instance", lambda: [kept.instances for kept in ledger.read(client, compute.name).kept] == [1])
    second = endpoints.run(endpoint, data)
    assert second.state == "Completed", second.message
    assert [usage.warm for usage in usages(second.folder)] == [True]
    assert host_pid(client, compute.name) == host


def test_jobs_that_are_killed_and_cancelled_on_a_kept_cluster(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    make: Callable[..., ComputeCluster],
    patient: Callable[..., str],
    numbered_files: Files,
    tmp_path: Path,
):
    compute = make("kept-dirty")
    endpoint, data = patient(compute.name), numbered_files(2)
    killed = endpoints.invoke(endpoint, data)
    (dirty,) = until("the script", lambda: began(tmp_path))
    host = host_pid(client, compute.name)
    os.kill(endpoints.flow_pid(killed), signal.SIGKILL)
    cancelled = endpoints.invoke(endpoint, data)
    until("the script of the next", lambda: [pid for pid in began(tmp_path) if pid != dirty])
    assert not is_running(dirty)
    jobs.cancel(client, endpoints.read(cancelled))
    last = endpoints.invoke(endpoint, data)
    endpoints.until(last, "its cluster", lambda _: usages(endpoints.folder(last)))
    (tmp_path / "release").touch()
    ended = endpoints.wait(last)
    assert ended.state == "Completed", ended.message
    assert dirty not in workers(ended.predictions)
    assert len(ended.predictions.split()) == 3
    assert ended.summary["warm"] and host_pid(client, compute.name) == host
    assert endpoints.wait(killed).state == "Crashed" and endpoints.wait(cancelled).state == "Cancelled"


def test_a_job_that_is_cancelled_gives_back_a_cluster_of_its_own(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    make: Callable[..., ComputeCluster],
    patient: Callable[..., str],
    numbered_files: Files,
    tmp_path: Path,
):
    compute = make("kept-none", idle_time_before_scale_down=0)
    endpoint, data = patient(compute.name), numbered_files(2)
    cancelled = endpoints.invoke(endpoint, data)
    (worker,) = until("the script", lambda: began(tmp_path))
    following = endpoints.invoke(endpoint, data)
    jobs.cancel(client, endpoints.read(cancelled))
    until("the end of its node", lambda: not is_running(worker))
    (tmp_path / "release").touch()
    ended = endpoints.wait(following)
    assert ended.state == "Completed", ended.message
    assert endpoints.wait(cancelled).state == "Cancelled"
    until("nobody in the ledger", lambda: not ledger.read(client, compute.name).jobs)


def test_a_line_before_a_kept_cluster(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    make: Callable[..., ComputeCluster],
    patient: Callable[..., str],
    numbered_files: Files,
    tmp_path: Path,
    cli: Callable[..., Any],
):
    compute = make("kept-line")
    endpoint, data = patient(compute.name), numbered_files(2)
    called = [endpoints.invoke(endpoint, data) for _ in range(4)]
    until("three in the line", lambda: len(ledger.read(client, compute.name).line) == 3)
    (tmp_path / "release").touch()
    ended: list[Ended] = [endpoints.wait(job) for job in called]
    assert [one.state for one in ended] == ["Completed"] * 4, [one.message for one in ended]
    assert len(set.union(*(workers(one.predictions) for one in ended))) == 1, "another node"
    assert sorted(one.summary["warm"] for one in ended) == [False, True, True, True]
    for one in ended:
        assert max(count for _, count in one.summary["instances"]) == 1 and one.summary["instances"][-1][0] > 0
    pids = of_host(compute, client)
    cli("compute", "stop", compute.name)
    until("the end of the host", lambda: all_ended(pids))
    assert ledger.read(client, compute.name).model_dump(exclude={"at"}) == {"holders": [], "line": [], "kept": []}
    assert not logs(compute)


def test_a_job_whose_host_is_killed_says_how_to_go_on(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    make: Callable[..., ComputeCluster],
    patient: Callable[..., str],
    numbered_files: Files,
    tmp_path: Path,
):
    compute = make("kept-lost")
    job = endpoints.invoke(patient(compute.name), numbered_files(2))
    until("the script", lambda: began(tmp_path))
    os.kill(host_pid(client, compute.name), signal.SIGKILL)
    ended = endpoints.wait(job)
    assert ended.state == "Failed"
    assert "compute 'kept-lost' lost its Dask scheduler" in ended.message
    assert f"`prefect-batch job resume {job}`" in ended.message
    (tmp_path / "release").touch()
    jobs.resume(client, endpoints.read(UUID(ended.id)))
    again = endpoints.until(job, "its end", lambda run: run.run_count > 1 and run.state.is_final() and run)
    assert again.state.name == "Completed", again.state.message


def test_pipelines_on_one_kept_instance(
    endpoints: Endpoints,
    make: Callable[..., ComputeCluster],
    script_deployment: Callable[..., Path],
    numbered_files: Files,
    tmp_path: Path,
):
    """Neither a flow nor its step with a model stands in the other's way, nor what the job before has left there."""
    compute = make("kept-pipelines", tier="low_priority")
    pipeline = f"type: pipeline\nendpoint_name: unused\nsettings: {{default_compute: {compute.name}}}\n"
    (tmp_path / "graph.yml").write_text(
        f"name: graph\n{pipeline}component:\n  type: pipeline\n  jobs:\n    one:\n      type: command\n"
        "      component: {type: command, command: echo one}\n"
    )
    endpoints.deploy(tmp_path / "graph.yml", compute.name)
    graph = endpoints.call(compute.name)
    assert graph.state == "Completed", graph.message
    flow = tmp_path / "flow"
    flow.mkdir()
    (flow / "deployment.yml").write_text(f"name: python\n{pipeline}flow: pipelines.py:main\n")
    (flow / "pipelines.py").write_text(PIPELINE)
    endpoints.deploy(flow / "deployment.yml", compute.name)
    endpoints.deploy(script_deployment("return [Path(p).name for p in mini_batch]"), compute.name, set_default=False)
    called = endpoints.call(compute.name, inputs={"data": str(numbered_files(3))})
    assert called.state == "Completed", called.message
    scores = called.output.with_name("scores") / "predictions.csv"
    assert len(scores.read_text().split()) == 1 + 3
    for ended, warm in ((graph, False), (called, True)):
        assert ended.summary["warm"] is warm
        assert max(count for _, count in ended.summary["instances"]) == 1
        assert ended.summary["instance_seconds"] > 0


PIPELINE = """
from prefect import flow, task

from prefect_batch.flows.data import InputFolder, OutputFolder, folder
from prefect_batch.flows.score import score


@task
def prepare(data: InputFolder, prepared: OutputFolder) -> InputFolder:
    for path in data.iterdir():
        (prepared / path.name).write_text(path.read_text())
    return prepared.input


@flow
def main(data: InputFolder, scores: OutputFolder):
    score("scripted", prepare.submit(data, folder("prepared")), output=scores)
"""
