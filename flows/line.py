"""A job's place on a compute cluster: taking it, waiting for it without a process, giving it back.

A job that waits is a flow run in the state Queued, scheduled for later, and holds nothing. Who has a place looks after
the line meanwhile (see line_tending.py).
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Pause
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from ..blocks import ledger
from ..blocks.cluster_kind import Shape
from ..blocks.compute import ComputeCluster
from ..blocks.ledger import LEASE, Holder, KeptCluster, Ledger
from ..scoring.errors import InvalidDocument
from .line_tending import Look, capacity_of, look, message, queued_state

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
_TEND_SECONDS = 2.0
"""How often the line is looked after."""
_SLOWER, _SLOWEST = 3, 5
"""Of many jobs with places, the first three look so often, the next three half as often, and so on, to a fifth."""
_RENEW_SECONDS = LEASE.total_seconds() / 3
_TRY_SECONDS = 3.0
"""How long the first in the line waits in its process, as room may come at once."""
_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 15.0


class Place:
    """The instances that a job holds, until it is closed; a thread says that the job lives and looks after the line.

    Args:
        compute: the cluster.
        instances: that the job holds.
        say: receives what goes wrong.
        holder: the job's entry; None where a cluster has no bound, and a place is nothing.
        kept: the kept cluster that the job was given.
        waited: seconds in the line.
    """

    def __init__(
        self,
        compute: ComputeCluster,
        instances: int,
        say: Callable[[str], None],
        holder: Holder | None = None,
        kept: KeptCluster | None = None,
        waited: float = 0.0,
    ) -> None:
        self.instances, self.kept, self.waited = instances, kept, waited
        self._compute, self._say, self._holder = compute, say, holder
        self._renewed = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        if holder is not None:
            run = contextvars.copy_context().run  # which has Prefect's settings
            self._thread = threading.Thread(target=run, args=(self._look_after, holder), name="place", daemon=True)
            self._thread.start()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the instances back and start who is next. Never raises: what fails is made up for by others."""
        if self._thread is None or self._holder is None or self._ended.is_set():
            return
        self._ended.set()
        self._thread.join(_CLOSE_SECONDS)
        try:
            with get_client(sync_client=True) as client:
                self._give_back(client, self._holder.job)
        except Exception as error:
            LOGGER.warning("The place on compute %r lapses by itself: %s", self._compute.name, error)

    def _give_back(self, client: SyncPrefectClient, job: str) -> None:
        deadline = time.monotonic() + _CLOSE_SECONDS
        found = look(client, self._compute, lambda held, _: held.leave(job), job)
        # Somebody must be there until the next job is started.
        while found.unstarted and not found.ledger.claimed and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            found = look(client, self._compute, job=job)

    def _look_after(self, holder: Holder) -> None:
        pause, complained = _TEND_SECONDS, False
        # The client's own patience grows with each try, longer than a lease lasts.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}), get_client(sync_client=True) as client:
            while not self._ended.wait(pause):
                rank = 0
                try:
                    rank = self._round(client, holder.job)
                    complained = False
                except Exception as error:  # the server may be away for any time, and the job goes on
                    if not complained:
                        LOGGER.warning("The place on compute %r cannot be renewed now: %s", self._compute.name, error)
                    complained = True
                pause = _TEND_SECONDS * min(1 + rank // _SLOWER, _SLOWEST)

    def _round(self, client: SyncPrefectClient, job: str) -> int:
        """Look after the line, and say that the job lives; returns how many jobs with places came before it."""
        due = time.monotonic() - self._renewed > _RENEW_SECONDS
        found = look(client, self._compute, self._renew if due else None, job)
        if found.ledger.holder(job) is None and not self._ended.is_set():
            found = look(client, self._compute, self._renew, job)
            if (used := found.ledger.provisioned) > (capacity := capacity_of(client, self._compute)):
                self._say(
                    f"Compute {self._compute.name!r} was taken for free while its holders could not be heard: "
                    f"{used} of {capacity} instances are in use until a job ends"
                )
        self._holder = found.ledger.holder(job) or self._holder
        if due:
            self._renewed = time.monotonic()
        return found.ledger.rank(job)

    def _renew(self, held: Ledger, now: datetime) -> Ledger:
        mine = self._holder
        if mine is None or self._ended.is_set():
            return held
        if held.holder(mine.job) is not None:
            return held.renew(mine.job, now)
        return held.retaken(mine.model_copy(update={"until": now + LEASE}))


def take_place(
    client: SyncPrefectClient,
    compute: ComputeCluster,
    job_id: str,
    shape: Shape,
    flow_run: FlowRun,
    say: Callable[[str], None],
) -> Place:
    """A place for a job on a cluster.

    Args:
        client: of the Prefect server.
        compute: the cluster.
        job_id: of the job: that of its flow run.
        shape: what the job needs.
        flow_run: of the job.
        say: receives what the job waits for.

    Raises prefect.exceptions.Pause once the job is in the line, its flow run Queued: the flow must end at once, and is
    started again when there is room. A flow run that no worker would start again waits here instead. Raises
    InvalidDocument for a job that the cluster has become too small for.
    """
    if compute.capacity is None:
        return Place(compute, shape.instances, say)
    arrival = _Arrival(client, compute, job_id, shape, say)
    found, deadline = arrival.enter(), time.monotonic() + _TRY_SECONDS
    while (holder := found.ledger.holder(job_id)) is None:
        late = time.monotonic() > deadline
        if flow_run.deployment_id is None:
            arrival.tell(message(compute, found, job_id))
        elif late or found.ledger.position(job_id) != 1:
            arrival.queue(found, flow_run)
        time.sleep(_TEND_SECONDS if late else _POLL_SECONDS)
        found = arrival.wait()
    kept = found.ledger.kept_cluster(holder.cluster)
    return Place(compute, shape.instances, say, holder, kept, arrival.waited(holder))


class _Arrival:
    """A job that has come for its place."""

    def __init__(
        self, client: SyncPrefectClient, compute: ComputeCluster, job: str, shape: Shape, say: Callable[[str], None]
    ) -> None:
        self._client, self._compute, self._job, self._shape, self._say = client, compute, job, shape, say
        self._entered = 0.0
        self._told = ""
        self._queued = False

    def enter(self) -> Look:
        """Come into the line, or go on waiting in it, or claim a place. Raises InvalidDocument."""

        def ask() -> Look:
            capacity = capacity_of(self._client, self._compute)
            if self._shape.instances > capacity:
                raise InvalidDocument(
                    f"instance_count: {self._shape.instances} is more than compute {self._compute.name!r} has "
                    f"(max_instances: {capacity})"
                )
            return look(self._client, self._compute, lambda held, now: self._step(held, now, capacity), self._job)

        found, self._entered = self._patiently(ask), time.monotonic()
        return found

    def _step(self, held: Ledger, now: datetime, capacity: int) -> Ledger:
        mine = held.holder(self._job)
        self._queued = held.waiter(self._job) is not None or (mine is not None and not mine.claimed)
        return held.enter(self._job, self._shape.instances, self._shape.node_label, capacity, now)

    def wait(self) -> Look:
        """Look how it is by now; claims a place that the job was granted."""
        found = self._patiently(lambda: look(self._client, self._compute, job=self._job))
        if found.ledger.waiter(self._job) is None or time.monotonic() - self._entered > _RENEW_SECONDS:
            return self.enter()
        return found

    def waited(self, holder: Holder) -> float:
        """Seconds in the line; 0 for a job that had its place at once, or still from before it was started again."""
        if not self._queued:
            return 0.0
        return max(0.0, (ledger.server_now(self._client) - holder.since).total_seconds())

    def tell(self, text: str) -> None:
        """Say it unless it was said last."""
        if text != self._told:
            self._say(text)
        self._told = text

    def queue(self, found: Look, flow_run: FlowRun) -> None:
        """Leave the waiting to Prefect. Raises Pause, but for a job that is being cancelled: its process is ended."""
        self._patiently(lambda: self._queue(found, flow_run))

    def _queue(self, found: Look, flow_run: FlowRun) -> None:
        current = self._client.read_flow_run(flow_run.id).state
        if current is not None and current.type != StateType.RUNNING:
            return
        state = queued_state(self._compute, found, self._job, ledger.server_now(self._client))
        # A job without a process is cancelled by the server itself.
        self._client.request(
            "PATCH", "/flow_runs/{id}", path_params={"id": flow_run.id}, json={"infrastructure_pid": None}
        )
        self._client.set_flow_run_state(flow_run.id, state, force=True)
        self.tell(message(self._compute, found, self._job))
        raise Pause(state=state)

    def _patiently(self, call: Callable[[], T]) -> T:
        asks_again = f"Asks for a place on compute {self._compute.name!r} again: "
        return ledger.patiently(call, lambda why: self.tell(asks_again + why))
