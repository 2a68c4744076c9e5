"""Nodes that are taken away while a job runs: what was in flight on them is done again, and nothing else."""

from __future__ import annotations

import collections
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from endpoints import Endpoints, until
from prefect.client.orchestration import SyncPrefectClient

from prefect_batch.blocks.compute import Chaos, ComputeCluster, builtin_local, save_compute
from prefect_batch.blocks.settings import ModelSettings
from prefect_batch.flows.owned_cluster import OwnedCluster

from .test_interruptions import committed_items, parts, scoring_worker_pids

Files = Callable[[int], Path]
FILES = 24
EXPECTED = "".join(["prediction\n", *(f"item-{n:05d}.txt\n" for n in range(FILES))]).encode()


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A log with a line for each item each time that it was scored."""
    return tmp_path / "scored.log"


@pytest.fixture
def deploy(endpoints: Endpoints, script_deployment: Callable[..., Path], scored: Path) -> Callable[..., str]:
    """Makes an endpoint whose script takes half a second a file, on two instances of a compute."""

    def make(name: str, compute: str, before: str = "time.sleep(0.5)", init: str = "pass") -> str:
        run = f"""
        {before}
        with open({str(scored)!r}, "a") as log:
            log.writelines(Path(p).name + "\\n" for p in mini_batch)
        return [Path(p).name for p in mini_batch]
        """
        settings = {"mini_batch_size": 1, "instance_count": 2, "retry_settings": "{timeout: 300}"}
        endpoints.deploy(script_deployment(run, init, compute=f"azureml:{compute}", **settings), name)
        return name

    return make


def test_chaos(
    endpoints: Endpoints,
    client: SyncPrefectClient,
    deploy: Callable[..., str],
    scored: Path,
    tmp_path: Path,
    numbered_files: Files,
):
    """The second half of the files waits until a third node has come."""
    chaos = Chaos(interval=10, away=0.5, seed=1)
    save_compute(
        client, ComputeCluster(name="preempted", tier="low_priority", idle_time_before_scale_down=0, chaos=chaos)
    )
    nodes = tmp_path / "nodes"
    nodes.mkdir()
    wait = (
        f"while Path(mini_batch[0]).name > 'item-{FILES // 2:05d}' and len(os.listdir({str(nodes)!r})) < 3: "
        "time.sleep(0.1)"
    )
    init = f"Path({str(nodes)!r}, str(worker_pid())).touch()"
    ended = endpoints.run(deploy("preempted", "preempted", wait, init), numbered_files(FILES))
    assert (ended.state, ended.predictions, ended.summary["failed"]) == ("Completed", EXPECTED, 0)
    lost = ended.summary["nodes_lost"]
    assert lost >= 1
    assert len(scored.read_text().split()) - FILES <= 2 * lost, "more was done again than was in flight"


def test_all_nodes_are_lost(endpoints: Endpoints, deploy: Callable[..., str], scored: Path, numbered_files: Files):
    job = endpoints.invoke(deploy("all-lost", "local"), numbered_files(FILES))
    folder = endpoints.folder(job)
    endpoints.until(job, "four parts", lambda _: parts(folder) >= 4)
    lost = scoring_worker_pids(folder)
    for pid in lost:
        os.kill(pid, signal.SIGKILL)
    before = committed_items(folder)
    ended = endpoints.wait(job)
    assert (ended.state, ended.predictions) == ("Completed", EXPECTED)
    assert ended.summary["nodes_lost"] == len(lost)
    times = collections.Counter(scored.read_text().split())
    assert {name: times[name] for name in before} == dict.fromkeys(before, 1)


def test_nodes_come_back_by_their_names():
    compute = ComputeCluster(name="chaos", chaos=Chaos(interval=3, nodes=2, away=1))
    cluster = OwnedCluster(compute.kind(), compute.shape(ModelSettings(instance_count=2)))
    try:
        first = _nodes(cluster)
        until("no nodes", lambda: cluster.present == 0)
        until("two others", lambda: len(now := _nodes(cluster)) == 2 and not now.keys() & first.keys())
        assert set(_nodes(cluster).values()) <= set(first.values()) == {0, 1}
    finally:
        cluster.close()


def test_a_cluster_is_scaled():
    cluster = OwnedCluster(builtin_local().kind(), builtin_local().shape(ModelSettings()))
    try:
        cluster.scale(2)
        until("two nodes", lambda: cluster.present == 2)
        cluster.scale(1)
        until("one node", lambda: cluster.present == 1)
    finally:
        cluster.close()


def _nodes(cluster: OwnedCluster) -> dict[str, int]:
    return {address: int(name) for address, name in cluster.nodes.items()}
