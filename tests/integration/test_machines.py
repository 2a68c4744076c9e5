"""A cluster beyond one machine: a Dask scheduler and three workers on machines of their own, which share no folder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import storage_servers
from distributed import Client
from endpoints import JOB_SECONDS, Endpoints, until
from machines import Forwarder, Gate, Machine, Network, NotPermitted, left_over
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from telling import say_all

from prefect_batch.blocks.compute import parse_compute, save_compute
from prefect_batch.blocks.datastore import default_datastore
from prefect_batch.interfaces.local_server import LocalServer

from .test_data import as_default, content, register, upload

FILES = 24
SCHEDULER_PORT = 8786  # of a machine that has no other
# A machine that falls silent is given up after 11 s, for tcp Dask takes no less. One that is merely slow may take 30 s.
SILENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s"}
GIVEN_UP_SECONDS = 60.0


class Machines:
    """Three machines with a worker each, one with the scheduler, and what they reach of this one."""

    def __init__(self, network: Network, gate: Gate, api_url: str, s3: storage_servers.S3Bucket, logs: Path) -> None:
        self.network, self.gate, self.api_url, self.s3 = network, gate, api_url, s3
        host, *self.workers = [network.machine() for _ in range(4)]
        self.scheduler = f"tcp://{host.address}:{SCHEDULER_PORT}"
        host.start(
            ["dask", "scheduler", "--host", host.address, "--port", str(SCHEDULER_PORT), "--no-dashboard"],
            logs / "scheduler.log",
            **SILENCE,
        )
        for number, machine in enumerate(self.workers):
            self._start_worker(machine, logs / f"worker{number}.log")

    def _start_worker(self, machine: Machine, log: Path) -> None:
        machine.start(
            ["dask", "worker", self.scheduler, "--host", machine.address, "--nthreads", "2", "--no-dashboard"],
            log,
            **SILENCE,
        )


@pytest.fixture
def machines(server: LocalServer, tmp_path: Path) -> Iterator[Machines]:
    network = Network()
    try:
        with (
            network,
            Gate(network.address) as gate,
            Forwarder(network.address, server.port) as forwarder,
            storage_servers.s3_server(tmp_path, network.address) as s3_url,
        ):
            api_url = f"http://{network.address}:{forwarder.port}/api"
            yield Machines(network, gate, api_url, storage_servers.new_bucket(s3_url), tmp_path)
            say_all()
    except NotPermitted as error:
        pytest.skip(f"no network namespaces here: {error}")
    assert left_over(network.name) == []


def hosts(client: Client) -> set[str]:
    return {str(worker["host"]) for worker in client.scheduler_info(n_workers=-1)["workers"].values()}


def test_a_machine_that_falls_silent_costs_nothing_but_time(
    endpoints: Endpoints,
    machines: Machines,
    numbered_files: Callable[[int], Path],
    script_deployment: Callable[..., Path],
):
    register("machines", machines.s3)
    upload(machines.s3, numbered_files(FILES))
    path = script_deployment(
        f"""
        urllib.request.urlopen({machines.gate.url!r}, timeout=300).read()
        return [Path(p).name + "=" + Path(p).read_text() for p in mini_batch]
        """,
        init="global urllib; import urllib.request",
        endpoint="machines",
        compute="machines",
        mini_batch_size=1,
        instance_count=3,
    )
    with get_client(sync_client=True) as client:
        default_datastore(client)  # that there is one to go back to
    with temporary_settings({PREFECT_API_URL: machines.api_url}), as_default("machines"):
        with get_client(sync_client=True) as client:
            compute = {"name": "machines", "type": "address", "address": machines.scheduler}
            save_compute(client, parse_compute(compute, "machines"))
        endpoints.deploy(path, "machines")
        with Client(machines.scheduler, timeout=JOB_SECONDS, set_as_default=False) as dask:
            dask.wait_for_workers(3, timeout=JOB_SECONDS)
            machines.gate.open()
            undisturbed, _ = _run(endpoints, machines)
            machines.gate.shut()
            cutter = Cutter(machines, dask)
            cutter.start()
            disturbed, summary = _run(endpoints, machines)
            cutter.join()
    assert cutter.seconds is not None and cutter.seconds < GIVEN_UP_SECONDS, cutter.error
    assert undisturbed.count(b"\n") == FILES + 1
    assert disturbed == undisturbed
    counts = [count for _, count in summary["instances"]]
    assert (max(counts), counts[-2:], summary["nodes_lost"]) == (3, [2, 0], 1)


def _run(endpoints: Endpoints, machines: Machines) -> tuple[bytes, dict[str, Any]]:
    """A job's predictions and summary."""
    ended = endpoints.run("machines", "azureml://datastores/machines/paths/in/")
    assert ended.state == "Completed", ended.message
    summary = json.loads(content(machines.s3, f"jobs/{ended.id}/summary.json"))
    return content(machines.s3, f"azureml/{ended.id}/score/predictions.csv"), summary


class Cutter(threading.Thread):
    """Waits until each machine scores a file, pulls the plug of one, and lets the others go on."""

    def __init__(self, machines: Machines, dask: Client) -> None:
        super().__init__(daemon=True)
        self._machines, self._dask = machines, dask
        self.seconds: float | None = None
        self.error = "not all machines came to score"

    def run(self) -> None:
        addresses = {machine.address for machine in self._machines.workers}
        try:
            until("a file on each machine", lambda: self._machines.gate.waiting >= addresses)
            lost = self._machines.workers[0]
            lost.cut_off()
            began = time.monotonic()
            self._machines.gate.open()
            self.error = "the machine was never given up"
            until("the end of a machine", lambda: lost.address not in hosts(self._dask))
            self.seconds = round(time.monotonic() - began, 1)
        finally:
            self._machines.gate.open()
