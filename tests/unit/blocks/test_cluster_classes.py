"""Dask clusters whose nodes have numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from distributed import Client

from prefect_batch.blocks.local_cluster import NumberedCluster
from prefect_batch.blocks.ssh_cluster import HostsCluster


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def test_a_local_node_keeps_its_number():
    with (
        NumberedCluster(
            numbers=(2, 5), n_workers=2, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as made,
        Client(made) as client,
    ):

        def names() -> set[int]:
            return {worker["name"] for worker in client.scheduler_info()["workers"].values()}

        assert names() == {2, 5}
        made.scale(3)
        until(lambda: names() == {2, 5, 6})
        made.scale(1)
        until(lambda: len(names()) == 1)
        made.scale(2)
        until(lambda: len(names()) == 2 and names() < {2, 5, 6})


def test_hosts_are_taken_by_their_numbers():
    async def make() -> Any:
        options: dict[str, Any] = {"connect_options": {"username": "x"}, "remote_python": "python"}
        options |= {"worker_options": {"nthreads": 2}, "scheduler_options": {"port": 0}}
        return HostsCluster(["a", "b", "c"], (1, 2), **options, asynchronous=True)  # which does not start it

    cluster = asyncio.run(make())
    assert cluster.scheduler_spec["options"]["address"] == "b"
    assert {name: spec["options"]["address"] for name, spec in cluster.worker_spec.items()} == {1: "b", 2: "c"}
    assert cluster.worker_spec[1]["options"]["kwargs"] == {"nthreads": 2, "name": 1}
    ((number, spec),) = cluster.new_worker_spec().items()
    assert (number, spec["options"]["address"]) == (0, "a")
