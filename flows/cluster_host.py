"""The process of a kept cluster: it starts a Dask cluster for a job, keeps it for jobs that come later, and ends it.

python -P -m prefect_batch.flows.cluster_host

Takes what start() writes to its standard input, and answers with one line. From then on it goes by the ledger of the
compute: who has the cluster, of what size it is to be, and whether it is to make room.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import dask.config
import httpx
from distributed import Client
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from ..blocks import ledger
from ..blocks.cluster_kind import DASK_CONFIG, Shape
from ..blocks.compute import ComputeCluster, find_compute
from ..blocks.ledger import LEASE, KeptCluster, Ledger
from ..scoring import scratch
from ..scoring.errors import BatchError, JobFailed, NotFound
from .line_tending import tend
from .owned_cluster import OwnedCluster

LOOK_SECONDS, UNREACHABLE_SECONDS = 1.0, 15.0
_RENEW_SECONDS, _RECORD_SECONDS = LEASE.total_seconds() / 3, 10.0
_DOWN = (httpx.TransportError, PrefectHTTPStatusError, OSError)

logger = logging.getLogger(__name__)


def start(compute: ComputeCluster, shape: Shape, node_label: str, job: str) -> str:
    """Start a kept cluster, which the job has; returns its scheduler's address.

    Its log is in prefect-batch/clusters/ of Prefect's home while it lives, and stays there if it fails.
    Raises BatchError where it does not start.
    """
    settings = get_current_settings()
    folder = settings.home / "prefect-batch" / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{compute.name}-{uuid4().hex}.log"
    asked = {
        "compute": compute.model_dump(mode="json", context={"include_secrets": True}),
        "shape": dataclasses.asdict(shape),
        "node_label": node_label,
        "job": job,
        "log": str(log),
    }
    _processes[:] = [process for process in _processes if process.poll() is None]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    with log.open("wb") as errors:
        # A session of its own: who cancels the job ends all processes of the job's.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            cwd=folder,
            env=environment | settings.to_environment_variables(exclude_unset=True, include_secrets=True),
        )
    _processes.append(process)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        answer: dict[str, str] = json.loads(process.stdout.readline() or b"{}")
    if "address" in answer:
        return answer["address"]
    process.wait()
    raise JobFailed(answer.get("error") or f"compute {compute.name!r}: its cluster did not start: see {log}")


def may_live(kept: KeptCluster) -> bool:
    """Whether the host of a kept cluster may be there; nobody here knows of other machines."""
    return scratch.may_live(kept.id.rpartition("-")[0])


_processes: list[subprocess.Popen[bytes]] = []
"""Of the hosts that this process has started; they go on without it."""


class _Host:
    """A cluster, and its entry in the ledger."""

    def __init__(self, compute: ComputeCluster, shape: Shape, node_label: str, job: str) -> None:
        self._compute, self._shape, self._label, self._job = compute, shape, node_label, job
        self._id = f"{scratch.node()}-{uuid4().hex[:8]}"
        self._stop = threading.Event()
        self._idle_since = self._answered = self._renewed = self._recorded = time.monotonic()
        self._tend = True
        signal.signal(signal.SIGTERM, self._terminate)
        self.cluster = OwnedCluster(compute.kind(), shape)
        if self.cluster.security is not None:
            self.cluster.close()
            raise JobFailed(
                f"compute {compute.name!r}: a cluster that encrypts cannot be kept for other jobs: set "
                "idle_time_before_scale_down and min_instances to 0"
            )

    def register(self, client: SyncPrefectClient, job: str | None) -> None:
        """Enter the cluster into the ledger, as the job's. Raises InterruptedError once this process is to end."""
        if self._stop.is_set():  # nobody is to ask a server that is away for long after that
            raise InterruptedError("the process of the cluster was ended while it started")
        ledger.change(
            client,
            self._compute.name,
            lambda held, now: held.with_kept(
                KeptCluster(
                    id=self._id,
                    address=self.cluster.address,
                    instances=self._size,
                    node_label=self._label,
                    until=now + LEASE,
                    job=job,
                )
            ),
        )

    def _terminate(self, *_: object) -> None:
        self._stop.set()

    def run(self, client: SyncPrefectClient) -> None:
        """Until nobody needs the cluster any more."""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                if not self._look(client):
                    return
                self._answered = time.monotonic()
            except Exception as error:  # no reason to take the cluster from its job
                logger.warning("The ledger could not be looked at: %r", error)
                away = time.monotonic() - self._answered
                if away > UNREACHABLE_SECONDS and not self._in_use:
                    return

    def close(self, client: SyncPrefectClient) -> None:
        """End the cluster, then its entry. Nobody is given it meanwhile."""
        self._enter(client, lambda held, _: held.with_leaving([self._id]), seconds=0)
        self.cluster.close()
        lapses = self._renewed + LEASE.total_seconds()
        self._enter(client, lambda held, _: held.without_kept(self._id), seconds=lapses - time.monotonic())

    def _enter(self, client: SyncPrefectClient, step: ledger.Step, seconds: float) -> None:
        try:
            ledger.patiently(lambda: ledger.change(client, self._compute.name, step), logger.warning, seconds)
        except _DOWN as error:  # it is not renewed any more, and lapses
            logger.warning("The entry of this cluster could not be changed: %s", error)

    def _look(self, client: SyncPrefectClient) -> bool:
        """Do what the ledger says; returns whether to go on."""
        held = self._ledger(client)
        mine = held.kept_cluster(self._id)
        if mine is None:  # the server was away for so long that this process counted as gone
            holder = held.holder(self._job)
            holds = holder is not None and holder.cluster == self._id
            if holds:
                self.register(client, self._job)
            return holds
        if mine.job is not None and (holder := held.holder(mine.job)) is not None:
            self._job, self._idle_since = mine.job, time.monotonic()
            if self.cluster.wanted != holder.instances:
                self._scale(holder.instances)
        elif mine.job is not None:
            ledger.change(client, self._compute.name, lambda held, _: _without_job(held, self._id))
        elif mine.leaving or self._is_idle_for_long(held):
            return not self._may_leave(client)
        self._renew(client, mine)
        return True

    def _ledger(self, client: SyncPrefectClient) -> Ledger:
        if time.monotonic() - self._recorded > _RECORD_SECONDS:
            self._recorded = time.monotonic()
            try:
                self._compute = find_compute(client, self._compute.name)
            except NotFound:
                ledger.change(client, self._compute.name, lambda held, _: held.with_leaving([self._id]))
        self._tend = not self._tend
        return tend(client, self._compute) if self._tend else ledger.read(client, self._compute.name)

    def _is_idle_for_long(self, held: Ledger) -> bool:
        """Whether nobody has had the cluster for so long that it is to go; it may shrink to what is always kept."""
        if time.monotonic() - self._idle_since < self._compute.idle_time_before_scale_down:
            return False
        before = 0
        for kept in held.kept:
            if kept.id == self._id:
                break
            before += 0 if kept.leaving else kept.instances
        needed = self._compute.min_instances - before
        if 0 < needed < self.cluster.wanted:
            self._scale(needed)
        return needed <= 0

    def _may_leave(self, client: SyncPrefectClient) -> bool:
        """Let nobody have the cluster any more; False where a job was faster."""

        def step(held: Ledger, _: object) -> Ledger:
            mine = held.kept_cluster(self._id)
            return held.with_leaving([self._id]) if mine is not None and mine.job is None else held

        mine = ledger.change(client, self._compute.name, step).kept_cluster(self._id)
        return mine is None or mine.job is None

    def _scale(self, instances: int) -> None:
        logger.info("%d nodes instead of %d", instances, self.cluster.wanted)
        self.cluster.scale(instances)

    @property
    def _size(self) -> int:
        """Nodes that count as provisioned: those that are to go count until they have."""
        return max(self.cluster.wanted, self.cluster.present)

    def _renew(self, client: SyncPrefectClient, mine: KeptCluster) -> None:
        if mine.instances != self._size or time.monotonic() - self._renewed > _RENEW_SECONDS:
            size, self._renewed = self._size, time.monotonic()
            ledger.change(client, self._compute.name, lambda held, now: held.with_kept_seen(self._id, size, now))

    @property
    def _in_use(self) -> bool:
        """Whether a job is connected, as far as can be known without the Prefect server."""
        connected: Any
        try:
            with Client(self.cluster.address, set_as_default=False) as connected:
                return connected.run_on_scheduler(_others) > 0
        except Exception:
            return False


def _others(dask_scheduler: Any) -> int:
    """Clients of the scheduler besides the one that asks, and that of the scheduler itself."""
    return sum(name.startswith("Client-") for name in dask_scheduler.clients) - 1


def _without_job(held: Ledger, cluster: str) -> Ledger:
    """With the cluster idle, if the job that it was started for has given its place back meanwhile."""
    mine = held.kept_cluster(cluster)
    if mine is None or mine.job is None or held.holder(mine.job) is not None:
        return held
    return held.with_kept(mine.model_copy(update={"job": None}))


def main() -> None:
    # One line is for who has started this; all that is printed, also by workers, goes to the log.
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    compute, job = ComputeCluster.model_validate(asked["compute"]), asked["job"]
    # The client's own patience grows with each try, longer than a lease lasts.
    briefly = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1})
    with briefly, get_client(sync_client=True) as client, dask.config.set(DASK_CONFIG):
        try:
            host = _Host(compute, Shape(**asked["shape"]), asked["node_label"], job)
        except (BatchError, OSError) as error:
            _answer(reply, error=str(error))
            raise SystemExit(1) from None
        try:
            try:
                ledger.patiently(lambda: host.register(client, job), logger.warning)
            except _DOWN as error:
                _answer(reply, error=str(error))
                raise SystemExit(1) from None
            _answer(reply, address=host.cluster.address)
            host.run(client)
        finally:
            host.close(client)
    Path(asked["log"]).unlink(missing_ok=True)


def _answer(reply: IO[str], **said: str) -> None:
    """Tell who has started this, unless it was killed meanwhile: its job's place ends then, and the cluster is idle."""
    with contextlib.suppress(BrokenPipeError), reply:
        reply.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
